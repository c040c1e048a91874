// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/wire"
)

func (a *app) runAbortCommand() *cobra.Command {
	return a.reasoned(&cobra.Command{
		Use:   "abort RUN --reason TEXT",
		Short: "take a run back",
		Long: `Asks for a live run to be taken back: what it applied is undone as the upstream allows, and the current version stays.
Once its candidate was verified a run only goes forward, and this is refused. The requests that the run took are
closed with it; only a new request starts another.`,
		Example: `  custody run abort 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "wrong database"`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) error {
		return platform.Abort(ctx, id, reason)
	}, "it is being taken back")
}
