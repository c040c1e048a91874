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
The requests that the run took are closed with it; only a new request starts another.

It is refused where a run only goes forward: once its candidate was verified; where the upstream cannot undo, as soon as
a call may have landed there; and for a member of a group that counts on it, of which the run that leads is aborted.`,
		Example: `  custody run abort 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "wrong database"`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) ([]string, error) {
		return []string{"it is being taken back"}, platform.Abort(ctx, id, reason)
	})
}
