// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "check the running platform for broken guarantees",
		Long: `Checks every secret at its upstream and its consumers, and reports each guarantee that is broken. Examples of guarantees: a working
credential exists; the upstream accepts the current value; no consumer runs on a value that is refused. It lists what it checked.
Exit code 3 means that a guarantee is broken (a violation). Other findings, which a person should look at, do not change the exit
code.`,
		Example: `  custody doctor
  custody doctor -o json | jq .violations`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				d, err := platform.Doctor(ctx)
				if err != nil {
					return err
				}
				err = a.answer(d, func(p *printer) {
					p.list("checked:", d.Checked)
					p.list("findings:", lines(d.Findings))
					violations := make([]string, 0, len(d.Violations))
					for _, violation := range d.Violations {
						violations = append(violations, violation.String()+"; "+violation.Next)
					}
					p.list("broken:", violations)
					p.linef("%s, %s", plural(len(d.Violations), "violation"), plural(len(d.Findings), "finding"))
				})
				if err == nil && len(d.Violations) > 0 {
					return &server.Problem{Class: server.Found, Text: plural(len(d.Violations), "violation"), Hint: d.Violations[0].Next}
				}
				return err
			})
		}),
	}
}
