// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) runListCommand() *cobra.Command {
	secretName := ""
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list runs",
		Long:  `Lists the runs of all secrets or of one, both under way and ended.`,
		Example: `  custody run list
  custody run list --secret db-password -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				runs, err := platform.Runs(ctx, secretName)
				if err != nil {
					return err
				}
				if len(runs) == 0 {
					if err := knownSecret(ctx, platform, secretName); err != nil {
						return err
					}
					runs = []server.Run{}
				}
				return a.answer(runs, func(p *printer) {
					rows := make([][]string, 0, len(runs))
					for _, run := range runs {
						rows = append(rows, p.runRow(run))
					}
					p.table("RESULT", []string{"RUN", "SECRET", "WORKFLOW", "RESULT", "STEP", "BEGAN", "WHY"}, rows)
				})
			})
		}),
	}
	cmd.Flags().StringVar(&secretName, "secret", "", "runs of this `secret` only")
	return cmd
}
