// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// unknownPolls is how often the upstream is asked what became of a candidate before that is applied once more.
const unknownPolls = 6

// tryCandidate signs in with the candidate.
func (a *attempt) tryCandidate(ctx context.Context) {
	given := a.answerTo(ctx, a.seen.candidate)
	switch a.seen.here.candidate = given; {
	case a.seen.at == journal.Staged && given.verdict == upstream.Unknown:
		a.seen.unsaid++
	case a.seen.at == journal.Verified && given.verdict == upstream.Refused && a.seen.lost.IsZero():
		a.seen.lost = a.Now()
	}
}

// apply has the upstream honour the candidate.
func (a *attempt) apply(ctx context.Context) error {
	old, candidate := a.seen.old, a.seen.candidate // a call that never returns must not read what later turns write, here and below
	_, err := a.applied(ctx, old, candidate)
	switch {
	case err == nil:
		a.seen.applied = a.Now()
		a.reach(journal.Applied)
		return a.audit(ctx, journal.Applied, "")
	case errors.Is(err, journal.ErrSuperseded):
		return err
	case !definite(err): // what never arrived, or is refused, counts as no attempt
		a.seen.attempts++
	}
	a.seen.here.called = err
	return nil
}

// applied calls upstream to apply. A call that certainly had no effect leaves the run as fresh as it was.
func (a *attempt) applied(ctx context.Context, old, candidate secret.Value) (secret.Value, error) {
	fresh := a.seen.fresh
	a.seen.fresh = false
	made, err := call(ctx, a, func(ctx context.Context) (secret.Value, error) {
		return a.s.Upstream.Apply(ctx, a.run.ID, old, candidate)
	})
	a.seen.fresh = fresh && err != nil && definite(err)
	return made, err
}

// fence waits until no call without a reply can land any more.
func (a *attempt) fence() *pause {
	if left := a.seen.prior.Sub(a.Now()); left >= 0 {
		if left > a.kind.CallDeadline { // the clock was set back: a call that began before can land no later than this
			a.seen.prior, a.seen.settled = a.Now().Add(a.kind.CallDeadline), a.run.CallBy
			left = a.kind.CallDeadline
		}
		return a.until(reason.EarlierCallPending, nil, left+1)
	}
	return nil
}

// journalVerified journals that the candidate works, after which the run goes forward, unless the upstream refuses the candidate before
// it is promoted; see known.verified. Without this write an engine that takes the run back and one that promotes it could both believe
// that they may.
func (a *attempt) journalVerified(ctx context.Context) error {
	a.run.Step, a.run.PromoteBy = journal.Verified, a.Now().Add(promoteWithin)
	if err := a.save(ctx); err != nil {
		return err
	}
	a.reach(journal.Verified)
	return a.audit(ctx, journal.Verified, "")
}

// tryDecoy signs in with a credential that the upstream was never given.
func (a *attempt) tryDecoy(ctx context.Context) {
	h := &a.seen.here
	never, err := a.never(ctx)
	if err != nil {
		h.undecoyed = err
		return
	}
	if h.decoy = a.answerTo(ctx, never); h.decoy.verdict == upstream.Refused {
		a.entry.Onboarded = true
	}
}

// onboard has the upstream show that it refuses what it was never given, unless it has.
func (a *attempt) onboard(ctx context.Context) *pause {
	for !a.entry.Onboarded && a.kind.Verifies {
		if next := a.onboarding(); next.do == wait {
			return a.pause(next)
		}
		a.tryDecoy(ctx)
	}
	return nil
}

// never returns a credential that the upstream was never given.
func (a *attempt) never(ctx context.Context) (secret.Value, error) {
	if !a.kind.Issues {
		return a.propose(ctx, a.seen.old)
	}
	decoyer, able := a.s.Upstream.(upstream.Decoyer)
	if !able {
		return secret.Value{}, errors.New("this kind issues its credentials and makes no decoy")
	}
	return decoyer.Decoy(a.seen.candidate)
}

// promote makes the candidate the secret's value. Where something else stands at its path, that is read.
func (a *attempt) promote(ctx context.Context) error {
	if !a.kind.Verifies {
		a.run.PromoteBy = a.Now().Add(promoteWithin)
	}
	within, cancel := context.WithTimeout(ctx, a.run.PromoteBy.Sub(a.Now()))
	defer cancel()
	id, err := a.Authority.Write(within, a.s.Path, a.run.Follows(), a.run.ID, a.seen.candidate)
	if errors.Is(err, authority.ErrConflict) {
		return a.readValue(ctx)
	}
	if err != nil {
		return err
	}
	a.version = &id
	a.reach(journal.Promoted)
	return a.audit(ctx, journal.Promoted, "")
}

// beginUndo journals that the run is undone and why. A member of a group that said that it is ready is not taken back on
// its own, but with its group.
func (a *attempt) beginUndo(ctx context.Context, why string) (*pause, error) {
	if a.run.Step == journal.Applied && a.run.Group != a.run.ID && !a.seen.released {
		leader, went, err := a.ofGroup(ctx)
		if err != nil {
			return nil, err
		}
		if went == undone {
			a.seen.released = true
			return a.beginUndoWith(ctx, leader, why)
		}
		return a.waitFor(reason.New(reason.GroupMemberFailed, reason.Args{"abort": string(a.run.Group)}).Because(why)), nil
	}
	forced, seenTo := "", []journal.Waiver(nil) // what the upstream cannot undo, a person says that they do
	if a.kind.Undo == upstream.Impossible && !a.seen.fresh {
		if forced, seenTo = a.run.Forced, a.run.Waived; !a.waives(journal.WaivedUndo, "") {
			stop := reason.New(reason.UndoImpossible, reason.Args{"force": string(a.run.ID)}).Because(why)
			if a.takesAnother() {
				stop = stop.With(reason.Args{"supply": a.s.Secret})
			}
			return a.waitFor(stop), nil
		}
	}
	a.run.Step, a.run.Undo, a.run.Forced, a.run.Waived = journal.Undoing, why, forced, seenTo
	if err := a.save(ctx); err != nil {
		return nil, err
	}
	a.reach(journal.Undoing)
	return nil, nil
}

// takesAnother reports whether Supply would take a value in place of what the upstream issued; see take.
func (a *attempt) takesAnother() bool {
	return a.kind.Issues && a.run.Step == journal.Staged && (a.kind.LostReply == upstream.Person || !a.seen.candidate.Empty())
}

// undo takes the run back as its kind allows, once no call of it can land any more.
func (a *attempt) undo(ctx context.Context) (*pause, error) {
	var err error
	kept := a.values()
	if !kept && !a.seen.issued.Empty() {
		if a.seen.old, err = a.base(ctx); err != nil {
			return nil, err
		}
		a.storePending(a.seen.old, a.seen.issued)
		if err := a.save(ctx); err != nil {
			return nil, err
		}
		kept, a.seen.issued = true, secret.Value{}
	}
	staged := a.run.Turn != "" // otherwise nobody ever called anything. What this process alone knows is not enough: another may lead
	if staged && !kept && !a.kind.Issues && !a.waives(journal.WaivedUndo, "") {
		return a.pause(a.pendingGone()), nil
	}
	if staged {
		if stop := a.fence(); stop != nil {
			return stop, nil
		}
		if a.seen.old, err = a.base(ctx); err != nil {
			return nil, err
		}
		stop, err := a.removeCandidate(ctx)
		switch {
		case err != nil || stop != nil && (!a.waives(journal.WaivedUndo, "") || stop.reason.ByDesign()):
			return stop, err
		case stop != nil: // a person sees to it
			if err := a.audit(ctx, stepForced, a.run.Forced+" waived: "+stop.reason.Text()); err != nil {
				return nil, err
			}
		}
	}
	return nil, a.abandon(ctx)
}

// removeCandidate removes the candidate upstream.
func (a *attempt) removeCandidate(ctx context.Context) (*pause, error) {
	var act func(context.Context) error
	old, candidate := a.seen.old, a.seen.candidate
	known := !candidate.Empty()
	switch {
	case a.kind.Issues && !known:
		if stop, err := a.reclaim(ctx); stop != nil || err != nil {
			return stop, err
		}
	case a.kind.Undo == upstream.Impossible:
		return a.waitFor(reason.New(reason.UndoImpossible, reason.Args{"force": string(a.run.ID)}).Because(a.run.Undo)), nil
	case !known:
	case a.kind.Undo == upstream.Discard, a.run.Base == 0:
		act = func(ctx context.Context) error { return a.s.Upstream.Revoke(ctx, a.run.ID, candidate, old) }
	default:
		if a.kind.Capability == upstream.Overwrite && a.kind.Settle == 0 && a.kind.WrongEvery == 0 { // its rules may have changed: what was honoured all along may be refused anew
			if a.opensAlone(ctx) {
				return nil, nil
			}
		}
		act = func(ctx context.Context) error {
			_, err := a.s.Upstream.Apply(ctx, a.run.ID, candidate, old)
			return err
		}
	}
	if act != nil && a.seen.takenOff.IsZero() {
		err := a.change(ctx, act)
		if errors.Is(err, journal.ErrSuperseded) {
			return nil, err
		}
		if _, is := errors.AsType[*strange](err); is {
			return a.pause(a.claimed(err)), nil
		}
		if err != nil && !errors.Is(err, upstream.ErrSuperseded) {
			return a.stuck(reason.CandidateNotRemoved, err), nil
		}
		a.seen.takenOff = a.Now()
	}
	if known && a.kind.Issues && a.kind.LostReply == upstream.Reissue {
		// What a lost reply left was collected before, which the upstream may have acknowledged and lost.
		if stop, err := a.collect(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	if stop := a.oldWorks(ctx); stop != nil {
		a.seen.takenOff = time.Time{} // what took it off may have been lost, and is done again
		return stop, nil
	}
	return a.candidateGone(ctx), nil
}

// opensAlone reports whether the current credential is honoured and the candidate is not: nothing is left to take off.
func (a *attempt) opensAlone(ctx context.Context) bool {
	if verdict, _ := a.ask(ctx, a.seen.old); verdict != upstream.Accepted {
		return false
	}
	verdict, _ := a.askCandidate(ctx)
	return verdict == upstream.Refused
}

// candidateGone wants the candidate refused, once its end had time to show everywhere: what the upstream acknowledged may have
// been lost there, and a credential that nobody keeps would be honoured for ever.
func (a *attempt) candidateGone(ctx context.Context) *pause {
	if left := a.seen.takenOff.Add(a.kind.Settle).Sub(a.Now()); left >= 0 && a.kind.Settle > 0 && !a.seen.takenOff.IsZero() {
		return a.until(reason.RemovalSettling, nil, left+1)
	}
	switch verdict, err := a.askCandidate(ctx); verdict {
	case upstream.Refused:
		return nil
	case upstream.Accepted:
		a.seen.takenOff = time.Time{} // it is taken off again
		return a.wait(reason.RemovedStillAccepted, nil)
	default:
		return a.stuck(reason.RemovedUndecided, err)
	}
}

// askCandidate signs in with the candidate. One that is not known, or is the current credential, has nothing to be refused,
// nor is one asked about where signing in proves nothing.
func (a *attempt) askCandidate(ctx context.Context) (upstream.Verdict, error) {
	if !a.kind.Verifies || a.seen.candidate.Empty() || a.seen.candidate.Equal(a.seen.old) {
		return upstream.Refused, nil
	}
	return a.ask(ctx, a.seen.candidate)
}

// oldWorks wants the current credential honoured, where there is one.
func (a *attempt) oldWorks(ctx context.Context) *pause {
	if a.run.Base == 0 || !a.kind.Verifies {
		return nil
	}
	switch verdict, err := a.ask(ctx, a.seen.old); verdict {
	case upstream.Accepted:
		return nil
	case upstream.Refused:
		return a.wait(reason.CurrentRefusedAfterUndo, a.endsAnyway())
	default:
		return a.stuck(reason.CurrentUndecided, err)
	}
}

// endsAnyway is what else ends a run that was taken back while the upstream refuses the current credential.
func (a *attempt) endsAnyway() reason.Args {
	if a.kind.Issues || a.run.Group != "" { // such a run gives way to no value; see givesWay
		return reason.Args{"force": string(a.run.ID)}
	}
	return reason.Args{"supply": a.s.Secret}
}

// abandon closes a run that was taken back and sets when the next may be tried.
func (a *attempt) abandon(ctx context.Context) error {
	now := a.Now()
	if err := a.audit(ctx, journal.Undone, a.run.Undo); err != nil {
		return err
	}
	attempts := 1
	if a.entry.Retry != nil {
		attempts += a.entry.Retry.Attempts
	}
	a.entry.Retry = &journal.Retry{
		Attempts: attempts, NotBefore: now.Add(retryAfter(attempts)), Reason: a.run.Undo,
		Held: attempts >= maxAttempts || a.run.Aborted || a.run.Policy.FailureStrategy == strategyHold,
	}
	if a.run.Compromise != nil && !a.run.Aborted { // only a person ends the attempts to replace what somebody else may have
		a.entry.Retry.Held, a.entry.Retry.NotBefore = false, now.Add(min(retryAfter(attempts), retryCompromised))
	}
	// Not before: without it a run that is still open could not tell its candidate. The write that closes the run removes it.
	return a.close(ctx, journal.ResultUndone, fmt.Sprintf("attempt %d: %s", attempts, a.run.Undo), nil)
}
