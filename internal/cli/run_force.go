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
		Short: "continue a run without what it waits for now",
		Long: `Waives what a run waits for at this moment. The command prints each thing that it waived and records it, with your name and reason. It
does not waive what the run may wait for later, for example when another consumer loses its proof or somebody else uses the old
credential. If there is nothing that can be waived, it says so and changes nothing.

These can be waived:

  account  The account is changed although its marker names a run that the journal does not know: a newer state of this platform, or
           another Custody, changed it last. Whoever uses that credential may be refused from then on.
  proofs   The old credential is revoked although the named consumers have not proved that they run on the new one.
  uses     The old credential is revoked although the upstream says that the named users still sign in with it, or cannot tell who
           does. Whoever uses it is refused from then on.
  cleanup  For a run that is being aborted: what a person must clean up at the upstream. This can be a credential that a lost reply
           or a lost candidate left there, a change that the upstream cannot undo, or a current credential that it refuses. Clean up
           first: Custody does not check it, and the run ends.

Nothing else can be waived: not a compare-and-set, a tombstone, the sign-in with the new credential, the settle time, or the wait for an
upstream or an authority that is down.`,
		Example: `  custody run force 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "report host was scrapped"`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) ([]string, error) {
		waived, err := platform.Force(ctx, id, reason)
		for i := range waived {
			waived[i] = "waived: " + waived[i]
		}
		return waived, err
	})
}
