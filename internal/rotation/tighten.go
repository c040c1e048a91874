// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/journal"
)

// strictness orders the failure strategies: what a later one does, an earlier one does not undo.
var strictness = []string{"retry", "alert", strategyHold}

// Tighten returns the policy of a live run after a change of the declared one, and what became tighter in it. A run may
// lose nothing that it promised when it was planned, and takes on what is promised more since:
//
//	settle, quietWindow  longer is tighter
//	maxOverlap           shorter is tighter; 0 sets no end, and is the loosest
//	failureStrategy      retry, alert, hold, in this order
//	revokeOld            true is tighter: the old credential ends, after the same proofs
//
// The others (rotationType, ttl, rotateBefore, windows, jitter) do not concern a run that has begun, verifyEvery counts as it is
// declared, and onCompromise is that of the moment in which the compromise was taken up.
func Tighten(pinned, declared journal.Policy) (journal.Policy, []string) {
	var changes []string
	longer := func(name string, was *time.Duration, now time.Duration) {
		if now > *was {
			changes = append(changes, fmt.Sprintf("%s from %s to %s", name, *was, now))
			*was = now
		}
	}
	longer("settle", &pinned.Settle, declared.Settle)
	longer("quietWindow", &pinned.QuietWindow, declared.QuietWindow)
	if now := declared.MaxOverlap; now > 0 && (pinned.MaxOverlap == 0 || now < pinned.MaxOverlap) {
		changes = append(changes, fmt.Sprintf("maxOverlap from %s to %s", pinned.MaxOverlap, now))
		pinned.MaxOverlap = now
	}
	if slices.Index(strictness, declared.FailureStrategy) > slices.Index(strictness, pinned.FailureStrategy) {
		changes = append(changes, fmt.Sprintf("failureStrategy from %s to %s", pinned.FailureStrategy, declared.FailureStrategy))
		pinned.FailureStrategy = declared.FailureStrategy
	}
	if declared.RevokeOld && !pinned.RevokeOld {
		changes = append(changes, "revokeOld from false to true")
		pinned.RevokeOld = true
	}
	return pinned, changes
}

// tighten brings the live run's policy up to what is declared now, as far as that is tighter. Each change is recorded before
// it counts.
func (a *attempt) tighten(ctx context.Context) error {
	policy, changes := Tighten(a.run.Policy, a.s.Policy)
	if len(changes) == 0 || a.run.Step == journal.Undoing {
		return nil
	}
	said := strings.Join(changes, ", ")
	if err := a.audit(ctx, journal.Step("policy-tightened: "+said), ""); err != nil {
		return err
	}
	a.run.Policy = policy
	return a.save(ctx)
}
