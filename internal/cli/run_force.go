// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/wire"
)

func (a *app) runForceCommand() *cobra.Command {
	return a.reasoned(&cobra.Command{
		Use:   "force RUN --reason TEXT",
		Short: "waive the proofs that a run waits for",
		Long: `Lets a run revoke the old credential though consumers have not proved that they run on the new one. Whoever still uses
the old one is then refused. It waives nothing else: no compare-and-set, no tombstone, no verification.`,
		Example: `  custody run force 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "report host was scrapped"`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) error {
		return platform.Force(ctx, id, reason)
	}, "missing proofs are waived")
}
