// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) planCommand() *cobra.Command {
	choice := filterOptions{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "show what would happen next, without doing it",
		Long:  `Shows what Custody would do next with each secret: what, why, when, and what it waits for. Nothing is changed.`,
		Example: `  custody plan
  custody plan --owner shop
  custody plan -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			filter, err := choice.filter()
			if err != nil {
				return err
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				steps, err := platform.Plan(ctx, filter)
				if err != nil {
					return err
				}
				if steps == nil {
					steps = []server.Step{}
				}
				return a.answer(steps, func(p *printer) { p.plan(steps) })
			})
		}),
	}
	choice.add(cmd)
	return cmd
}

func (p *printer) plan(steps []server.Step) {
	if len(steps) == 0 {
		p.linef("nothing: no secret waits for anything, and none is rotated by time")
		return
	}
	rows := make([][]string, 0, len(steps))
	for _, step := range steps {
		rows = append(rows, []string{or(p.when(step.When), "now"), step.Secret, step.What, step.Why, or(step.Held.Said(), "-")})
	}
	p.table("", []string{"WHEN", "SECRET", "WHAT", "WHY", "HELD BY"}, rows)
}
