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
		Short: "waive what a run is missing now",
		Long: `Waives what a run is missing at this moment, prints each thing that it waived, and records each by itself with who took
that upon them and why. What is missing later (another consumer loses its proof, somebody else uses the old credential)
stays required. Where nothing is missing that can be waived, nothing is changed and the command says so.

The account: it is changed though its marker names a run that the journal does not know. A newer state, or another Custody,
changed it last, and whoever uses what that made may be refused from then on.

Proofs: the old credential is revoked though the consumers named have not proved that they run on the new one.

Uses: it is revoked though the upstream says that those named still sign in with it, or cannot tell who does. Whoever
uses the old one is refused from then on.

Of a run that is taken back, what a person must see to upstream: what a lost reply, or a candidate that is lost, may have
left there, what that upstream cannot undo, a current credential that it refuses. See to it first: Custody does not look
whether you did, and the run ends.

It waives nothing else: no compare-and-set, no tombstone, no sign-in with the new credential, no settle time, and no wait
for an upstream or an authority that is away.`,
		Example: `  custody run force 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "report host was scrapped"`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) ([]string, error) {
		waived, err := platform.Force(ctx, id, reason)
		for i := range waived {
			waived[i] = "waived: " + waived[i]
		}
		return waived, err
	})
}
