// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// apply makes the upstream honour the candidate. Where an earlier call may have done so, it looks before it leaps.
func (a *attempt) apply(ctx context.Context) (*pause, error) {
	if a.kind.Issues && len(a.run.Digest) == 0 {
		return a.issue(ctx)
	}
	if kept, err := a.pending(ctx); err != nil {
		return nil, err
	} else if !kept {
		return a.wait(pendingGone), nil
	}
	if a.kind.Issues { // it was issued and kept; issuing again would leave an orphan
		a.p.applied = a.Now()
		a.reach(journal.Applied)
		return nil, errors.Join(a.audit(ctx, journal.Applied, ""), a.audit(ctx, journal.Staged, ""))
	}
	if !a.p.fresh {
		switch verdict, err := a.ask(ctx, a.p.candidate); verdict {
		case upstream.Accepted:
			if err := a.audit(ctx, journal.Applied, ""); err != nil {
				return nil, err
			}
			return a.decide(ctx)
		case upstream.Unknown:
			return a.wait(unknown("the upstream to say whether the candidate was applied", err)), nil
		}
	}
	a.p.fresh = false
	err := a.call(ctx, func(ctx context.Context) error {
		_, err := a.s.Upstream.Apply(ctx, a.run.ID, a.p.old, a.p.candidate)
		return err
	})
	switch {
	case err == nil:
		a.p.applied = a.Now()
		a.reach(journal.Applied)
		return nil, a.audit(ctx, journal.Applied, "")
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case errors.Is(err, upstream.ErrRefusedCandidate):
		return a.takeBack(ctx, err.Error())
	case errors.Is(err, upstream.ErrSuperseded):
		return a.wait("a person: " + err.Error()), nil
	case a.p.polls >= applyAttempts && !errors.Is(err, upstream.ErrNotApplied):
		return a.takeBack(ctx, "applying failed too often: "+err.Error())
	}
	return a.wait("the upstream to take the candidate: " + err.Error()), nil
}

// issue has the upstream make the credential. There is nothing to stage before; what a lost reply left is collected by
// its run id, but not before that call can land no more.
func (a *attempt) issue(ctx context.Context) (*pause, error) {
	kept, err := a.pending(ctx)
	if err != nil {
		return nil, err
	}
	if !kept {
		if a.p.old, err = a.base(ctx); err != nil {
			return nil, err
		}
		if !a.p.fresh {
			if stop, err := a.collect(ctx); stop != nil || err != nil {
				return stop, err
			}
		}
		a.p.fresh = false
		var issued secret.Value
		err = a.call(ctx, func(ctx context.Context) (err error) {
			issued, err = a.s.Upstream.Apply(ctx, a.run.ID, a.p.old, secret.Value{})
			return err
		})
		switch {
		case errors.Is(err, journal.ErrSuperseded):
			return nil, err
		case errors.Is(err, upstream.ErrRefusedCandidate):
			return a.takeBack(ctx, err.Error())
		case err != nil:
			return a.wait("the upstream to issue a credential: " + err.Error()), nil
		}
		if err := issued.Fits(); err != nil {
			return a.takeBack(ctx, err.Error())
		}
		if err := a.keep(ctx, a.p.old, issued); err != nil {
			return nil, err
		}
	}
	a.p.applied = a.Now()
	if a.run.Digest, err = a.digest(ctx, a.p.candidate); err != nil {
		return nil, err
	}
	if err := a.Journal.Save(ctx, a.entry); err != nil {
		return nil, err
	}
	a.reach(journal.Applied)
	return nil, errors.Join(a.audit(ctx, journal.Applied, ""), a.audit(ctx, journal.Staged, ""))
}

// collect removes what calls without a reply left behind, once none of them can land any more.
func (a *attempt) collect(ctx context.Context) (*pause, error) {
	collector, able := a.s.Upstream.(upstream.Collector)
	if a.kind.LostReply == upstream.Person || !able {
		return a.wait("a person: the reply to issuing was lost and this upstream cannot tell what it made; remove it there, then abort the run"), nil
	}
	if stop := a.fence(); stop != nil {
		return stop, nil
	}
	err := a.call(ctx, func(ctx context.Context) error { return collector.Collect(ctx, a.run.ID) })
	if errors.Is(err, journal.ErrSuperseded) {
		return nil, err
	}
	if err != nil {
		return a.wait("the upstream to give up what a lost reply left: " + err.Error()), nil
	}
	return nil, nil
}

// fence waits until no call without a reply can land any more.
func (a *attempt) fence() *pause {
	if left := a.p.prior.Sub(a.Now()); left >= 0 {
		return &pause{"an earlier call's deadline to pass, after which it can land no more", left + 1}
	}
	return nil
}

// verify signs in with the candidate. A refusal counts only when it was asked for after the kind's settle time: the
// answer may be as old as the question.
func (a *attempt) verify(ctx context.Context) (*pause, error) {
	asked := a.Now()
	switch verdict, err := a.ask(ctx, a.p.candidate); verdict {
	case upstream.Accepted:
		return a.decide(ctx)
	case upstream.Refused:
		if left := a.p.applied.Add(a.kind.Settle).Sub(asked); left >= 0 {
			return &pause{"the candidate to be honoured everywhere upstream", min(left+1, a.backoff())}, nil
		}
		return a.takeBack(ctx, "the upstream refuses the candidate that it took")
	default:
		return a.wait(unknown("the upstream to say whether it honours the candidate", err)), nil
	}
}

// decide journals that the candidate works, after which the run only goes forward. Without this write an engine that
// takes the run back and one that promotes it could both believe that they may.
func (a *attempt) decide(ctx context.Context) (*pause, error) {
	if stop, err := a.onboarded(ctx); stop != nil || err != nil {
		return stop, err
	}
	a.run.Step = journal.Verified
	if err := a.Journal.Save(ctx, a.entry); err != nil {
		return nil, err
	}
	a.reach(journal.Verified)
	return nil, a.audit(ctx, journal.Verified, "")
}

// onboarded asks once more, now that the account of the candidate surely exists: a server that asks for no password
// refuses an account that is not there, and lets anybody in to one that is.
func (a *attempt) onboarded(ctx context.Context) (*pause, error) {
	if a.entry.Onboarded || !a.kind.Verifies || a.kind.Issues {
		return nil, nil
	}
	never, err := a.propose(ctx, a.p.old)
	if err != nil {
		return a.wait("the upstream to propose a credential that it was never given: " + err.Error()), nil
	}
	if stop := a.refuses(ctx, never); stop != nil {
		return stop, nil
	}
	a.entry.Onboarded = true
	return nil, nil
}

// promote makes the candidate the secret's value.
func (a *attempt) promote(ctx context.Context) (*pause, error) {
	if kept, err := a.pending(ctx); err != nil {
		return nil, err
	} else if !kept {
		return a.wait(pendingGone), nil
	}
	_, err := a.Authority.Write(ctx, a.s.Path, a.run.Base, a.run.ID, a.p.candidate)
	if errors.Is(err, authority.ErrConflict) {
		return a.wait(foreignWrite), nil
	}
	if err != nil {
		return nil, err
	}
	a.reach(journal.Promoted)
	return nil, a.audit(ctx, journal.Promoted, "")
}

const pendingGone = "a person: the pending entry of this run is gone from the authority; restore it, or abort the run"

const foreignWrite = "a person: somebody else wrote to the secret's path; nothing is revoked until that write is explained"

// takeBack journals that the run is undone and why.
func (a *attempt) takeBack(ctx context.Context, reason string) (*pause, error) {
	a.run.Step, a.run.Undo = journal.Undoing, reason
	if err := a.Journal.Save(ctx, a.entry); err != nil {
		return nil, err
	}
	a.reach(journal.Undoing)
	return nil, nil
}

// undo takes the run back as its kind allows, once no call of it can land any more.
func (a *attempt) undo(ctx context.Context) (*pause, error) {
	kept, err := a.pending(ctx)
	if err != nil {
		return nil, err
	}
	began := kept || a.kind.Issues && !a.run.CallBy.IsZero()
	if began {
		if stop := a.fence(); stop != nil {
			return stop, nil
		}
		if a.p.old, err = a.base(ctx); err != nil {
			return nil, err
		}
		if stop, err := a.takeOff(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	return nil, a.abandon(ctx)
}

// takeOff removes the candidate upstream.
func (a *attempt) takeOff(ctx context.Context) (*pause, error) {
	var act func(context.Context) error
	switch {
	case a.kind.Undo == upstream.Impossible:
		return a.wait("a person: this upstream cannot undo; " + a.run.Undo), nil
	case a.kind.Undo == upstream.Reapply && a.run.Base == 0, a.kind.Undo == upstream.Discard && !a.kind.Issues:
		act = func(ctx context.Context) error {
			return a.s.Upstream.Revoke(ctx, a.run.ID, a.p.candidate, a.p.old)
		}
	case a.kind.Undo == upstream.Reapply:
		act = func(ctx context.Context) error {
			_, err := a.s.Upstream.Apply(ctx, a.run.ID, a.p.candidate, a.p.old)
			return err
		}
	default:
		collector, able := a.s.Upstream.(upstream.Collector)
		if !able {
			return a.wait("a person: this upstream cannot collect what the run made; " + a.run.Undo), nil
		}
		act = func(ctx context.Context) error { return collector.Collect(ctx, a.run.ID) }
	}
	err := a.call(ctx, act)
	if errors.Is(err, journal.ErrSuperseded) {
		return nil, err
	}
	if err != nil && !errors.Is(err, upstream.ErrSuperseded) {
		return a.wait("the upstream to take the candidate off: " + err.Error()), nil
	}
	if a.run.Base == 0 || !a.kind.Verifies {
		return nil, nil
	}
	switch verdict, err := a.ask(ctx, a.p.old); verdict {
	case upstream.Accepted:
		return nil, nil
	case upstream.Refused:
		return a.wait("a person: the run was taken back but the upstream refuses the current credential"), nil
	default:
		return a.wait(unknown("the upstream to say that it honours the current credential", err)), nil
	}
}

// abandon closes a run that was taken back and sets when the next may be tried.
func (a *attempt) abandon(ctx context.Context) error {
	now := a.Now()
	if err := a.Authority.Remove(ctx, authority.PendingPath(a.s.Path, a.run.ID)); err != nil {
		return err
	}
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
	return a.close(ctx, resultUndone, fmt.Sprintf("attempt %d: %s", attempts, a.run.Undo))
}
