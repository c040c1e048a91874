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
		Short: "check on the live platform what must always hold",
		Long: `Looks at every secret, asks its upstream and its consumers, and checks what must hold at every moment: that some working
credential exists, that the value of record is honoured, that nobody runs on a refused one, and so on. What it looked at
is listed. Exit code 3 means that something is broken; findings that only want a person's eye do not change it.`,
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
