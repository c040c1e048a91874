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
		Short: "abort a run and undo what it did",
		Long: `Aborts a run that has not ended: Custody undoes what the run applied, as far as the upstream allows, and the current version stays. The
requests that the run serves end with it; only a new request starts another run.

A run cannot be aborted once its candidate (the new value) is verified. If the upstream cannot undo, it cannot be aborted as soon
as a call may have taken effect there. If other members of a group depend on the run, abort the run that leads the group instead.`,
		Example: `  custody run abort 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "wrong database"`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) ([]string, error) {
		return []string{"the run is being rolled back"}, platform.Abort(ctx, id, reason)
	})
}
