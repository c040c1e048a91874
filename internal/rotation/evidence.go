// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

const (
	// stepNewRefused records that the upstream refuses what it accepted before, and what consumers have by now.
	stepNewRefused journal.Step = "new-refused"
	// promoteWithin is how long after its upstream accepted it a candidate is promoted, and consumers are handed it, without
	// asking again.
	promoteWithin = time.Minute
)

// confirm signs in with the candidate once more before it is promoted, where that was accepted longer than promoteWithin ago: the
// process may have been down for days. A candidate that is refused now is taken back as one that was never verified. No other
// engine can promote it any more: each journals until when it may, and its write ends by then.
func (a *attempt) confirm(ctx context.Context) (*pause, error) {
	left := a.run.PromoteBy.Sub(a.Now())
	switch {
	case !a.kind.Verifies:
		a.run.PromoteBy = a.Now().Add(promoteWithin)
		return nil, nil
	case left > 0 && left <= promoteWithin:
		return nil, nil
	}
	switch verdict, err := a.ask(ctx, a.p.candidate); verdict {
	case upstream.Accepted:
		a.run.PromoteBy, a.run.Refused = a.Now().Add(promoteWithin), false
		return nil, a.save(ctx)
	case upstream.Refused:
		return a.candidateLost(ctx, left > 0)
	default:
		return a.stuck(reason.CandidateUndecided, err), nil
	}
}

// candidateLost takes a run back whose candidate is refused before it was promoted. One that cannot be taken back alone waits for
// it to be accepted again, or for another value. Where the clock was set back, a write of another engine may be under way.
func (a *attempt) candidateLost(ctx context.Context, setBack bool) (*pause, error) {
	if a.p.lost.IsZero() {
		a.p.lost = a.Now()
	}
	if left := a.p.lost.Add(promoteWithin).Sub(a.Now()); setBack && left >= 0 {
		return a.until(reason.EarlierCallPending, nil, left+1), nil
	}
	if a.run.Group == "" && a.run.Over == 0 && a.kind.Undo != upstream.Impossible {
		return a.beginUndo(ctx, "the upstream refuses the candidate, which it accepted before")
	}
	if !a.run.Refused {
		a.run.Refused = true
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	stop := a.wait(reason.CandidateLost, reason.Args{"old": a.oldStands(), "supply": a.s.Secret})
	stop.after = max(stop.after, 2*a.kind.WrongEvery) // half of the time is left to a person's own try
	return stop, nil
}

// worthHanding signs in with the promoted value once more before consumers that have a credential which works are handed it, where
// it was accepted longer than promoteWithin ago. Where the old one ended when this one was made, nobody waits for that.
func (a *attempt) worthHanding(ctx context.Context, held authority.Versioned, owed []missingProof) (*pause, error) {
	recent := func(left time.Duration) bool { return left > 0 && left <= promoteWithin }
	now := a.Now()
	switch {
	case recent(a.run.PromoteBy.Sub(now)) || recent(a.p.accepted.Add(promoteWithin).Sub(now)):
		return nil, nil
	case !a.kind.Verifies || a.run.Base == 0 || a.kind.Capability == upstream.Overwrite:
		return nil, nil
	case !slices.ContainsFunc(owed, func(l missingProof) bool { return !l.has }):
		return nil, nil
	}
	stop, err := a.stillHonoured(ctx, held)
	if stop == nil && err == nil {
		a.p.accepted = now
	}
	return stop, err
}

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
		return a.stuck(reason.NewCredentialUndecided, err), nil
	case !a.run.Refused:
		a.run.Refused = true // and stays so until it is accepted
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.audit(ctx, stepNewRefused, "the upstream accepted version "+held.ID.String()+" before and refuses it now; the old credential is not revoked"); err != nil {
		return nil, err
	}
	stop := a.wait(reason.NewCredentialRefused, reason.Args{"version": held.ID.String(), "old": a.oldStands(), "supply": a.s.Secret})
	stop.after = max(stop.after, 2*a.kind.WrongEvery) // half of the time is left to a person's own try
	return stop, nil
}

// oldStands says what is left of the old credential while the new one is refused.
func (a *attempt) oldStands() string {
	switch {
	case a.reverts():
		return "nothing is revoked"
	case a.run.Base == 0:
		return "there is no other"
	case a.kind.Capability == upstream.Overwrite:
		return "it had replaced the old one"
	case a.run.Step == journal.Delivered:
		return "the old one may be revoked already"
	}
	return "the old one is not revoked"
}

// watched signs in with the promoted value while its run waits for anything else, as often as the policy's verifyEvery says: proofs and
// windows may take weeks. What decides nothing is tried again within the hour, and holds nothing.
func (a *attempt) watched(ctx context.Context, held authority.Versioned) (*pause, error) {
	if left, on := a.nextWatch(); !on || left > 0 {
		return nil, nil
	}
	stop, err := a.stillHonoured(ctx, held)
	switch now := a.Now(); {
	case err != nil || stop != nil && a.run.Refused:
		return stop, err
	case stop == nil:
		a.p.accepted = now
	default:
		a.p.watch = now.Add(time.Hour)
	}
	return nil, nil
}

// nextWatch is how long it is to the next such sign-in; false when there is to be none.
func (a *attempt) nextWatch() (time.Duration, bool) {
	every := a.s.Policy.VerifyEvery
	if every <= 0 || !a.kind.Verifies {
		return 0, false
	}
	last := a.run.PromoteBy.Add(-promoteWithin)
	if a.p.accepted.After(last) {
		last = a.p.accepted
	}
	next := last.Add(watchEvery(a.s.Path, every))
	if a.p.watch.After(next) {
		next = a.p.watch
	}
	return next.Sub(a.Now()), true
}

// watching has a pause end when the next such sign-in is due.
func (a *attempt) watching(stop *pause) *pause {
	if left, on := a.nextWatch(); stop != nil && on && left > 0 {
		stop.after = min(stop.after, left)
	}
	return stop
}
