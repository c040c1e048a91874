// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) planCommand() *cobra.Command {
	choice, wanted := filterOptions{}, proposal{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "show what would happen next, or what a change would do, without doing it",
		Long: `Shows what Custody would do next with each secret: what, why, when, and what it waits for. Nothing is changed.

For a timed rotation, WHEN is the earliest time: after this secret's share of the jitter, inside a maintenance window if the
policy has any, and once the cap on timed rotations allows it. WHY says which of these decided.

With --estate DIR it shows what the estate in DIR, such as the checkout of a merge request, would change compared with the estate in
force: which secrets and consumers are added, changed and removed, what would be rotated and revoked because of that, and which grants
are missing. With --against DIR it compares with the estate in another folder, such as a checkout of the target branch, and needs no
platform and no host file.

Exit codes with --estate: 0, nothing is removed or revoked; 7, something is; 3, the estate in DIR has faults. Any other exit code means
that it could not be compared. A removed secret or consumer keeps its value, its credential and its file; the output says what stays.`,
		Example: `  custody plan
  custody plan --estate checkout/estate
  custody plan --estate merge-request/estate --against main/estate --environment prod
  custody plan --owner shop
  custody plan -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			switch {
			case wanted.estate != "":
				return a.propose(ctx, wanted)
			case wanted.against != "" || wanted.environment != "":
				return usage("--against and --environment belong to --estate", "name the estate that would change: custody plan --estate DIR --against DIR")
			}
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
	cmd.Flags().StringVar(&wanted.estate, "estate", "", "show what the estate in this `folder` would change")
	cmd.Flags().StringVar(&wanted.against, "against", "", "compare it with the estate in this `folder`, not with the one in force")
	cmd.Flags().StringVar(&wanted.environment, "environment", "", "with --against: compare what holds in this `environment`")
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
