// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) upstreamExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain KIND",
		Short: "show the page of one kind of upstream",
		Long: `Prints the page of one kind of upstream, as in docs/upstreams: what it can do in each mode, the documents to write, the least
permissions, what happens when something fails, and what is not guaranteed.`,
		Example: `  custody upstream explain postgres
  custody upstream explain exec -o json`,
		Args:        takes("KIND"),
		Annotations: map[string]string{answers: "yes"},
		RunE:        a.run(func(_ context.Context, args []string) error { return a.upstreamExplain(args[0]) }),
	}
}

func (a *app) upstreamExplain(name string) error {
	d, err := describedAs(name)
	if err != nil {
		return err
	}
	whole := describe(d)
	whole.Page = d.Page
	return a.answer(whole, func(p *printer) { p.linef("%s", strings.TrimSuffix(d.Markdown(), "\n")) })
}
