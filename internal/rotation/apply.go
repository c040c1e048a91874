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

// apply makes the upstream honour the candidate. Where an earlier call may have done so, it looks before it leaps.
func (a *attempt) apply(ctx context.Context) (*pause, error) {
	if a.kind.Issues && len(a.run.Digest) == 0 {
		return a.issue(ctx)
	}
	if !a.pending() {
		return a.pendingGone(), nil
	}
	if a.kind.Issues { // it was issued and kept; issuing again would leave an orphan
		if stop, err := a.surplus(ctx); stop != nil || err != nil {
			return stop, err
		}
		if err := a.escrow(ctx); err != nil {
			return nil, err
		}
		a.p.applied = a.Now()
		a.reach(journal.Applied)
		return nil, errors.Join(a.audit(ctx, journal.Applied, ""), a.audit(ctx, journal.Staged, ""))
	}
	if err := a.audit(ctx, journal.Staged, ""); err != nil {
		return nil, err
	}
	if !a.p.fresh {
		switch verdict, err := a.ask(ctx, a.p.candidate); verdict {
		case upstream.Accepted:
			if err := a.audit(ctx, journal.Applied, ""); err != nil {
				return nil, err
			}
			if a.kind.Settle == 0 {
				return a.decide(ctx)
			}
			a.p.applied = a.Now() // when it was, nobody knows; it has to settle from now
			a.reach(journal.Applied)
			return nil, nil
		case upstream.Refused:
			if a.run.Trigger.Kind == Supplied {
				return a.beginUndo(ctx, "the upstream refuses what was handed in")
			}
		case upstream.Unknown: // after a while applied again: nodes that disagree since one of them missed it agree then
			if a.p.unsaid++; a.p.unsaid <= unknownPolls {
				return a.stuck(reason.CandidateEffectUnknown, err), nil
			}
		}
	}
	if stop, err := a.last(ctx); stop != nil || err != nil || a.p.at == journal.Undoing {
		return stop, err
	}
	if a.kind.Capability == upstream.Overwrite { // afterwards consumers are refused until the candidate was verified
		if left := a.lockOut(); left > 0 {
			return a.until(reason.LockoutPause, nil, left), nil
		}
	}
	if stop, err := a.makeRoom(ctx); stop != nil || err != nil {
		return stop, err
	}
	fresh := a.p.fresh
	a.p.fresh = false
	old, candidate := a.p.old, a.p.candidate // a call that never returns must not read what later turns write, here and below
	_, err := call(ctx, a, func(ctx context.Context) (secret.Value, error) {
		return a.s.Upstream.Apply(ctx, a.run.ID, old, candidate)
	})
	a.p.fresh = fresh && err != nil && definite(err)
	switch {
	case err == nil:
		a.p.applied = a.Now()
		a.reach(journal.Applied)
		return nil, a.audit(ctx, journal.Applied, "")
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case errors.Is(err, upstream.ErrRefusedCandidate):
		return a.beginUndo(ctx, a.s.Explained(err))
	case errors.Is(err, upstream.ErrSuperseded):
		return a.claimed(err), nil
	case errors.Is(err, upstream.ErrNotApplied): // it never arrived, and counts as no attempt
		return a.stuck(reason.CandidateNotApplied, err), nil
	}
	if a.p.attempts++; a.p.attempts >= applyAttempts {
		return a.beginUndo(ctx, "applying failed too often: "+a.s.Explained(err))
	}
	return a.stuck(reason.CandidateNotApplied, err), nil
}

// fence waits until no call without a reply can land any more.
func (a *attempt) fence() *pause {
	if left := a.p.prior.Sub(a.Now()); left >= 0 {
		if left > a.kind.CallDeadline { // the clock was set back: a call that began before can land no later than this
			a.p.prior, a.p.settled = a.Now().Add(a.kind.CallDeadline), a.run.CallBy
			left = a.kind.CallDeadline
		}
		return a.until(reason.EarlierCallPending, nil, left+1)
	}
	return nil
}

// verify signs in with the candidate, once what was applied had time to show everywhere: before that a refusal may be
// delay, and an acceptance the answer of one part that is ahead of the others.
func (a *attempt) verify(ctx context.Context) (*pause, error) {
	if left := a.p.applied.Add(a.kind.Settle).Sub(a.Now()); left >= 0 && a.kind.Settle > 0 {
		return a.until(reason.CandidateSettling, nil, left+1), nil
	}
	switch verdict, err := a.ask(ctx, a.p.candidate); verdict {
	case upstream.Accepted:
		return a.decide(ctx)
	case upstream.Refused:
		return a.beginUndo(ctx, "the upstream refuses the candidate that it took")
	default:
		return a.stuck(reason.CandidateUndecided, err), nil
	}
}

// decide journals that the candidate works, after which the run goes forward, unless the upstream refuses the candidate before it
// is promoted; see confirm. Without this write an engine that takes the run back and one that promotes it could both believe that
// they may.
func (a *attempt) decide(ctx context.Context) (*pause, error) {
	if stop, err := a.onboarded(ctx); stop != nil || err != nil {
		return stop, err
	}
	if stop, err := a.together(ctx); stop != nil || err != nil || a.p.at == journal.Undoing {
		return stop, err
	}
	a.run.Step, a.run.PromoteBy = journal.Verified, a.Now().Add(promoteWithin)
	if err := a.save(ctx); err != nil {
		return nil, err
	}
	a.reach(journal.Verified)
	return nil, a.audit(ctx, journal.Verified, "")
}

// onboarded asks once more, now that the account of the candidate surely exists: a server that asks for no password
// refuses an account that is not there, and lets anybody in to one that is.
func (a *attempt) onboarded(ctx context.Context) (*pause, error) {
	if a.entry.Onboarded || !a.kind.Verifies {
		return nil, nil
	}
	never, err := a.never(ctx)
	if err != nil {
		return a.stuck(reason.DecoyNotMade, err), nil
	}
	if stop := a.refuses(ctx, never); stop != nil {
		return stop, nil
	}
	a.entry.Onboarded = true
	return nil, nil
}

// never returns a credential that the upstream was never given.
func (a *attempt) never(ctx context.Context) (secret.Value, error) {
	if !a.kind.Issues {
		return a.propose(ctx, a.p.old)
	}
	decoyer, able := a.s.Upstream.(upstream.Decoyer)
	if !able {
		return secret.Value{}, errors.New("this kind issues its credentials and makes no decoy")
	}
	return decoyer.Decoy(a.p.candidate)
}

// promote makes the candidate the secret's value.
func (a *attempt) promote(ctx context.Context) (*pause, error) {
	if !a.pending() {
		return a.pendingGone(), nil
	}
	if stop, err := a.confirm(ctx); stop != nil || err != nil || a.p.at == journal.Undoing {
		return stop, err
	}
	within, cancel := context.WithTimeout(ctx, a.run.PromoteBy.Sub(a.Now()))
	defer cancel()
	id, err := a.Authority.Write(within, a.s.Path, a.run.Follows(), a.run.ID, a.p.candidate)
	if errors.Is(err, authority.ErrConflict) {
		return a.conflicts(ctx)
	}
	if err != nil {
		return nil, err
	}
	a.version = &id
	a.reach(journal.Promoted)
	return nil, a.audit(ctx, journal.Promoted, "")
}

// pendingGone says that the candidate is lost, and what a person can do at the step that the run is at.
func (a *attempt) pendingGone() *pause {
	stop := a.wait(reason.RunValuesGone, nil)
	switch {
	case a.run.Step == journal.Undoing:
		stop.reason = stop.reason.With(reason.Args{"force": string(a.run.ID)})
	case a.run.Step == journal.Applied && a.run.Group != a.run.ID:
		stop.reason = stop.reason.With(reason.Args{"abort": string(a.run.Group)})
	case a.run.Step == journal.Verified || a.kind.Undo == upstream.Impossible: // it only goes forward
		stop.reason = stop.reason.With(reason.Args{"explain": a.s.Secret})
	default:
		stop.reason = stop.reason.With(reason.Args{"abort": string(a.run.ID)})
	}
	return stop
}

// conflicts says what stands at the secret's path where the candidate was to be written.
func (a *attempt) conflicts(ctx context.Context) (*pause, error) {
	found, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return nil, err
	}
	return a.foreignWrite(found, err == nil), nil
}

// foreignWrite says what a person does about a value that no run wrote, or one that somebody removed.
func (a *attempt) foreignWrite(found authority.Versioned, there bool) *pause {
	if !there {
		own := authority.VersionID{Run: a.run.ID, Number: a.run.Follows() + 1}
		return a.wait(reason.ValueGone, reason.Args{"version": own.String()})
	}
	return a.wait(reason.ForeignWrite, reason.Args{"found": found.ID.String(), "adopt": a.s.Secret, "revert": a.s.Secret})
}

// beginUndo journals that the run is undone and why. A member of a group that said that it is ready is not taken back on
// its own, but with its group.
func (a *attempt) beginUndo(ctx context.Context, why string) (*pause, error) {
	if a.run.Step == journal.Applied && a.run.Group != a.run.ID && !a.p.released {
		leader, went, err := a.ofGroup(ctx)
		if err != nil {
			return nil, err
		}
		if went == undone {
			a.p.released = true
			return a.beginUndoWith(ctx, leader, why)
		}
		return a.waitFor(reason.New(reason.GroupMemberFailed, reason.Args{"abort": string(a.run.Group)}).Because(why)), nil
	}
	forced, seenTo := "", []journal.Waiver(nil) // what the upstream cannot undo, a person says that they do
	if a.kind.Undo == upstream.Impossible && !a.p.fresh {
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
	return a.kind.Issues && a.run.Step == journal.Staged && (a.kind.LostReply == upstream.Person || !a.p.candidate.Empty())
}

// undo takes the run back as its kind allows, once no call of it can land any more.
func (a *attempt) undo(ctx context.Context) (*pause, error) {
	var err error
	kept := a.pending()
	if !kept && !a.p.issued.Empty() {
		if a.p.old, err = a.base(ctx); err != nil {
			return nil, err
		}
		a.storePending(a.p.old, a.p.issued)
		if err := a.save(ctx); err != nil {
			return nil, err
		}
		kept, a.p.issued = true, secret.Value{}
	}
	staged := a.run.Turn != "" // otherwise nobody ever called anything. What this process alone knows is not enough: another may lead
	if staged && !kept && !a.kind.Issues && !a.waives(journal.WaivedUndo, "") {
		return a.pendingGone(), nil
	}
	if staged {
		if stop := a.fence(); stop != nil {
			return stop, nil
		}
		if a.p.old, err = a.base(ctx); err != nil {
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
	old, candidate := a.p.old, a.p.candidate
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
	if act != nil && a.p.takenOff.IsZero() {
		err := a.change(ctx, act)
		if errors.Is(err, journal.ErrSuperseded) {
			return nil, err
		}
		if _, is := errors.AsType[*strange](err); is {
			return a.claimed(err), nil
		}
		if err != nil && !errors.Is(err, upstream.ErrSuperseded) {
			return a.stuck(reason.CandidateNotRemoved, err), nil
		}
		a.p.takenOff = a.Now()
	}
	if known && a.kind.Issues && a.kind.LostReply == upstream.Reissue {
		// What a lost reply left was collected before, which the upstream may have acknowledged and lost.
		if stop, err := a.collect(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	if stop := a.oldWorks(ctx); stop != nil {
		a.p.takenOff = time.Time{} // what took it off may have been lost, and is done again
		return stop, nil
	}
	return a.candidateGone(ctx), nil
}

// opensAlone reports whether the current credential is honoured and the candidate is not: nothing is left to take off.
func (a *attempt) opensAlone(ctx context.Context) bool {
	if verdict, _ := a.ask(ctx, a.p.old); verdict != upstream.Accepted {
		return false
	}
	verdict, _ := a.askCandidate(ctx)
	return verdict == upstream.Refused
}

// candidateGone wants the candidate refused, once its end had time to show everywhere: what the upstream acknowledged may have
// been lost there, and a credential that nobody keeps would be honoured for ever.
func (a *attempt) candidateGone(ctx context.Context) *pause {
	if left := a.p.takenOff.Add(a.kind.Settle).Sub(a.Now()); left >= 0 && a.kind.Settle > 0 && !a.p.takenOff.IsZero() {
		return a.until(reason.RemovalSettling, nil, left+1)
	}
	switch verdict, err := a.askCandidate(ctx); verdict {
	case upstream.Refused:
		return nil
	case upstream.Accepted:
		a.p.takenOff = time.Time{} // it is taken off again
		return a.wait(reason.RemovedStillAccepted, nil)
	default:
		return a.stuck(reason.RemovedUndecided, err)
	}
}

// askCandidate signs in with the candidate. One that is not known, or is the current credential, has nothing to be refused,
// nor is one asked about where signing in proves nothing.
func (a *attempt) askCandidate(ctx context.Context) (upstream.Verdict, error) {
	if !a.kind.Verifies || a.p.candidate.Empty() || a.p.candidate.Equal(a.p.old) {
		return upstream.Refused, nil
	}
	return a.ask(ctx, a.p.candidate)
}

// oldWorks wants the current credential honoured, where there is one.
func (a *attempt) oldWorks(ctx context.Context) *pause {
	if a.run.Base == 0 || !a.kind.Verifies {
		return nil
	}
	switch verdict, err := a.ask(ctx, a.p.old); verdict {
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
