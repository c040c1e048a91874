// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"cmp"
	"context"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// stepUsed records that somebody still used the old credential when every declared consumer had moved.
const stepUsed journal.Step = "old-used"

// askUses asks the upstream who uses the old credential. Where it cannot tell, somebody may have removed that.
func (a *attempt) askUses(ctx context.Context) {
	h := &a.seen.here
	h.used = true
	h.uses, h.unused = a.usesOf(ctx, a.s.Upstream.(upstream.Witness), a.seen.old)
	if h.unused != nil && !a.waivesEvidence(h.unused) {
		h.gone = a.answerTo(ctx, a.seen.old)
	}
}

// undated holds while the wall clock cannot be believed: what the upstream tells of uses could be dated wrongly, and so be taken to be
// from before the quiet window. That begins anew once the clock is believed again.
func (a *attempt) undated(ctx context.Context) (*pause, error) {
	if a.Clock == nil {
		return nil, nil
	}
	why, err := a.checkClock(ctx)
	if err != nil || why == "" {
		return nil, err
	}
	return a.waitFor(reason.New(reason.OldUsesUndated, nil).Because(why)), nil
}

// checkClock says why the wall clock cannot be believed, "" while it can, and notes since when it can again.
func (a *attempt) checkClock(ctx context.Context) (string, error) {
	why, err := a.Clock.Check(ctx)
	if err != nil {
		return "", err
	}
	if why == "" && a.seen.undated {
		a.seen.dated = a.Now()
	}
	a.seen.undated = why != ""
	return why, nil
}

// usesOf asks who used old within the quiet window, and as long before as evidence may be late or coarse.
func (a *attempt) usesOf(ctx context.Context, witness upstream.Witness, old secret.Value) ([]upstream.Use, error) {
	since := a.Now().Add(-a.run.Policy.QuietWindow - a.kind.Evidence.Late - a.kind.Evidence.Fine)
	return outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) ([]upstream.Use, error) {
		return witness.Uses(ctx, old, since)
	})
}

func nameOf(use upstream.Use) string { return cmp.Or(use.Who, "somebody") }
