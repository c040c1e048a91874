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
		Short: "run the server of this host",
		Long: `Runs the platform: puts the estate into force, hands over (imports) first values, rotates secrets that are due, delivers them, and
answers the other commands on a socket in the state folder. It serves /healthz, /readyz and /metrics on the address in the host file.
The first run makes the authority (secrets store).

On SIGTERM or SIGINT it finishes the current step and exits. On SIGHUP it checks the estate at once, and logs which settings of the
host file have changed since the start: those need a restart. Under systemd it reports when it is ready, reloading and stopping
(Type=notify). Only one process can serve a state folder at a time.`,
		Example: `  custody serve
  custody serve --host /etc/custody/custody.yaml
  custody serve --once`,
		Args: takes(),
		// No interrupt ends the context: serving has its own way to stop.
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return wire.Serve(ctx, a.options(slog.LevelInfo), options)
		}),
	}
	cmd.Flags().BoolVar(&options.Once, "once", false, "do everything that can be done now, then exit")
	return cmd
}
