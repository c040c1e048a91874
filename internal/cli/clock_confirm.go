// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) clockConfirmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "confirm that the time of this machine is right",
		Long: `Allows timed runs to start again after the clock of this machine jumped. Check the time first: Custody computes from it when each
secret is due.`,
		Example: `  date -u && custody clock confirm`,
		Args:    takes(),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				if err := platform.ConfirmClock(ctx); err != nil {
					return err
				}
				p := a.printer(a.out)
				p.linef("confirmed: it is %s", wire.Now().UTC().Format(time.RFC3339))
				return p.failed
			})
		}),
	}
}
