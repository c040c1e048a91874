// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/wire"
)

func (a *app) auditLogCommand() *cobra.Command {
	secretName, run := "", ""
	cmd := &cobra.Command{
		Use:   "log",
		Short: "print the record, oldest first",
		Long: `Prints the events in the record, oldest first: of all secrets, of one secret, or of one run. It does not check signatures; run
custody audit verify for that.`,
		Example: `  custody audit log
  custody audit log --secret db-password -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				events, err := platform.Audit(ctx, secretName, authority.RunID(run))
				if err != nil {
					return err
				}
				if len(events) == 0 {
					if err := errors.Join(knownSecret(ctx, platform, secretName), knownRun(ctx, platform, authority.RunID(run))); err != nil {
						return err
					}
					events = []audit.Event{}
				}
				return a.answer(events, func(p *printer) { p.events(events, true) })
			})
		}),
	}
	cmd.Flags().StringVar(&secretName, "secret", "", "events of this `secret` only")
	cmd.Flags().StringVar(&run, "run", "", "events of this `run` only")
	return cmd
}
