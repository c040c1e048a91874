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
		Use:     "confirm",
		Short:   "say that the time shown now is right",
		Long:    `Lets timed runs start again after the machine's clock jumped. Look at the clock first: every lifetime is counted by it.`,
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
