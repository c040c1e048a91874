// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) serveCommand() *cobra.Command {
	options := wire.ServeOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the platform of this host",
		Long: `Runs the platform: takes the estate in force, hands secrets over, rotates what is due, delivers, and answers the other
commands on a socket in the state folder. Health, readiness and metrics are on the address in the host file (/healthz,
/readyz, /metrics). The first run makes the authority.

SIGTERM and SIGINT let the step in hand finish. One process at a time serves a state folder.`,
		Example: `  custody serve
  custody serve --host /etc/custody/custody.yaml
  custody serve --once`,
		Args: takes(),
		// No interrupt ends the context: serving has its own way to stop.
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return wire.Serve(ctx, a.options(slog.LevelInfo), options)
		}),
	}
	cmd.Flags().BoolVar(&options.Once, "once", false, "take everything as far as it will go now, then end")
	return cmd
}
