// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/upstream"
)

// stepNewRefused records that the upstream refuses what it accepted before, and what consumers have by now.
const stepNewRefused journal.Step = "new-refused"

// stillHonoured signs in with the version of record once more: right before the old credential is revoked, or, where a run
// revokes nothing, before it completes. The new credential was verified before it was promoted, which can be weeks ago: a
// fail-over, a restored backup or a person may have undone it since. Unknown and refused hold the run.
func (a *attempt) stillHonoured(ctx context.Context, held authority.Versioned) (*pause, error) {
	switch verdict, err := a.ask(ctx, held.Value); {
	case verdict == upstream.Accepted && a.run.Refused:
		a.run.Refused = false
		return nil, a.save(ctx)
	case verdict == upstream.Accepted:
		return nil, nil
	case verdict == upstream.Unknown && !a.run.Refused:
		return a.stuck("the upstream to say whether it still honours the new credential", err), nil
	case !a.run.Refused:
		a.run.Refused = true // and stays so until it is accepted
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.audit(ctx, stepNewRefused, "the upstream accepted version "+held.ID.String()+" before and refuses it now; the old credential is not revoked"); err != nil {
		return nil, err
	}
	stop := a.wait(fmt.Sprintf("a person: the upstream refuses the new credential (version %s), which it accepted before and which consumers have; %s. "+
		"If a fail-over, a restore or somebody's change lost it, set it there again and the run goes on; otherwise make one there that works and hand it in: %s",
		held.ID, a.oldStands(), next.Supply(a.s.Secret)))
	stop.after = max(stop.after, 2*a.kind.WrongEvery) // half of the time is left to a person's own try
	return stop, nil
}

// oldStands says what is left of the old credential while the new one is refused.
func (a *attempt) oldStands() string {
	switch {
	case a.run.Base == 0:
		return "there is no other"
	case a.kind.Capability == upstream.Overwrite:
		return "it had replaced the old one"
	case a.run.Step == journal.Delivered:
		return "the old one may be revoked already"
	}
	return "the old one is not revoked"
}
