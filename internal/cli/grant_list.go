// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) grantListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list what is granted, by whom and why, and which grants are missing",
		Long: `Lists what is granted, who granted it, when and why, and which grants the estate in force asks for and does not have. To revoke a
grant that comes from the grants file, remove it from that file.`,
		Example:     "  custody grant list\n  custody grant list -o json",
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				grants, err := platform.Granted(ctx)
				if err != nil {
					return err
				}
				if grants.Granted == nil {
					grants.Granted = []grant.Entry{}
				}
				return a.answer(grants, func(p *printer) { p.grants(grants) })
			})
		}),
	}
}

func (p *printer) grants(grants server.Grants) {
	rows := make([][]string, 0, len(grants.Granted))
	for _, entry := range grants.Granted {
		rows = append(rows, []string{string(entry.Kind), entry.Of, entry.To, entry.By, p.when(entry.At), entry.Reason})
	}
	if len(rows) == 0 {
		p.linef("nothing is granted")
	} else {
		p.table("", []string{"KIND", "OF", "TO", "BY", "WHEN", "WHY"}, rows)
	}
	var missing []string
	for _, need := range grants.Missing {
		missing = append(missing, need.Finding().Text())
	}
	p.list("missing:", missing)
	if grants.Fault != "" {
		p.linef("wrong: %s", visible(grants.Fault))
	}
}
