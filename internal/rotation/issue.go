// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// issue has the upstream make the credential. There is nothing to stage before; what a lost reply left is collected by
// its run id, but not before that call can land no more.
func (a *attempt) issue(ctx context.Context) (*pause, error) {
	if !a.pending() {
		if stop, err := a.obtain(ctx); stop != nil || err != nil || a.p.at == journal.Undoing {
			return stop, err
		}
		a.storePending(a.p.old, a.p.issued)
	}
	digest, err := a.digest(ctx, a.p.candidate)
	if err != nil {
		return nil, err
	}
	a.run.Digest = digest
	// What was issued is held on to until it is stored: nothing else has it.
	if err := a.save(ctx); errors.Is(err, journal.ErrSuperseded) {
		return nil, err
	} else if err != nil {
		return a.stuck(reason.IssuedNotKept, err), nil
	}
	a.p.issued, a.p.applied = secret.Value{}, a.Now()
	if err := a.escrow(ctx); err != nil {
		return nil, err
	}
	a.reach(journal.Applied)
	return nil, errors.Join(a.audit(ctx, journal.Applied, ""), a.audit(ctx, journal.Staged, ""))
}

// surplus revokes what the upstream issued where a person handed in another before the authority could keep it.
func (a *attempt) surplus(ctx context.Context) (*pause, error) {
	if a.p.issued.Empty() || a.p.issued.Equal(a.p.candidate) {
		return nil, nil
	}
	issued, candidate := a.p.issued, a.p.candidate
	err := a.change(ctx, func(ctx context.Context) error { return a.s.Upstream.Revoke(ctx, a.run.ID, issued, candidate) })
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case err != nil:
		return a.stuck(reason.SurplusNotRevoked, err), nil
	}
	a.p.issued = secret.Value{}
	return nil, nil
}

// obtain calls the upstream, unless it has answered already. What it answered in an earlier turn counts once no other engine's call
// can land any more: one that removes it afterwards loses to the write that keeps it, and one that came before is seen when the
// candidate is verified.
func (a *attempt) obtain(ctx context.Context) (*pause, error) {
	var err error
	if a.p.old, err = a.base(ctx); err != nil {
		return nil, err
	}
	if !a.p.issued.Empty() { // in an earlier turn: another engine may be collecting it, as what a lost reply left
		return a.fence(), nil
	}
	if !a.p.fresh {
		if stop, err := a.reclaim(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	if stop, err := a.last(ctx); stop != nil || err != nil || a.p.at == journal.Undoing {
		return stop, err
	}
	if stop, err := a.makeRoom(ctx); stop != nil || err != nil {
		return stop, err
	}
	fresh := a.p.fresh
	a.p.fresh = false
	old := a.p.old
	issued, err := call(ctx, a, func(ctx context.Context) (secret.Value, error) {
		return a.s.Upstream.Apply(ctx, a.run.ID, old, secret.Value{})
	})
	a.p.fresh = fresh && err != nil && definite(err) // a call that certainly had no effect left nothing behind
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case errors.Is(err, upstream.ErrRefusedCandidate):
		return a.beginUndo(ctx, a.s.Explained(err))
	case errors.Is(err, upstream.ErrSuperseded):
		return a.claimed(err), nil
	case err != nil && !issued.Empty(): // made, and not to be used; undo keeps it until it is refused
		a.p.issued = issued
		return a.beginUndo(ctx, a.s.Explained(err))
	case err != nil:
		return a.stuck(reason.CredentialNotIssued, err), nil
	}
	err = issued.Fits()
	if err == nil {
		_, err = a.s.unfit(issued)
	}
	if err != nil {
		return a.beginUndo(ctx, err.Error())
	}
	a.p.issued = issued
	return nil, nil
}

// reclaim deals with what calls without a reply may have made, once none of them can land any more. After it, issuing
// leaves nothing behind.
func (a *attempt) reclaim(ctx context.Context) (*pause, error) {
	if stop := a.fence(); stop != nil {
		return stop, nil
	}
	lister, lists := a.lister()
	switch {
	case a.kind.LostReply == upstream.Recover:
		return nil, nil // it issues what it issued before
	case a.kind.LostReply == upstream.Reissue:
		return a.collect(ctx)
	case lists:
		return a.newcomers(ctx, lister)
	case a.kind.Capability == upstream.Overwrite && a.run.Base > 0:
		return a.untouched(ctx)
	}
	return a.wait(reason.LostReplyUnknown, a.leftMoves()), nil
}

// leftMoves are the commands with which a person goes on about what a lost reply left.
func (a *attempt) leftMoves() reason.Args {
	switch {
	case a.run.Step == journal.Undoing:
		return reason.Args{"force": string(a.run.ID)}
	case a.takesAnother():
		return reason.Args{"supply": a.s.Secret}
	case a.kind.Undo == upstream.Impossible: // it only goes forward
		return nil
	}
	return reason.Args{"abort": string(a.run.ID)}
}

// collect removes what carries the run's id.
func (a *attempt) collect(ctx context.Context) (*pause, error) {
	collector, able := a.s.Upstream.(upstream.Collector)
	if !able {
		return a.wait(reason.LostReplyUncollectable, a.leftMoves()), nil
	}
	err := a.change(ctx, func(ctx context.Context) error { return collector.Collect(ctx, a.run.ID) })
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case errors.Is(err, upstream.ErrSuperseded):
		return a.waitFor(reason.New(reason.LostReplyClaimed, a.leftMoves()).Because(a.s.Explained(err))), nil
	case err != nil:
		return a.stuck(reason.LostReplyNotRemoved, err), nil
	}
	return nil, nil
}

// lister returns the upstream's power to list, where that is all it can tell.
func (a *attempt) lister() (upstream.Lister, bool) {
	lister, able := a.s.Upstream.(upstream.Lister)
	return lister, able && a.kind.LostReply == upstream.Person && a.kind.Capability != upstream.Overwrite
}

func (a *attempt) list(ctx context.Context, lister upstream.Lister) ([]string, error) {
	return outward.Do(ctx, a.Calls, a.outside(askTimeout), lister.List)
}

// newcomers compares what exists with what existed before the run. Nothing is removed: who made a newcomer, this
// upstream cannot tell.
func (a *attempt) newcomers(ctx context.Context, lister upstream.Lister) (*pause, error) {
	if left := a.p.prior.Add(a.kind.Settle).Sub(a.Now()); left >= 0 {
		return a.until(reason.LostReplySettling, nil, left+1), nil
	}
	now, err := a.list(ctx, lister)
	if err != nil {
		return a.stuck(reason.CredentialsNotListed, err), nil
	}
	unknown := slices.DeleteFunc(now, func(name string) bool { return slices.Contains(a.run.Before, name) })
	if len(unknown) == 0 {
		return nil, nil
	}
	return a.waitFor(reason.New(reason.LostReplyNewcomers, reason.Args{"names": strings.Join(unknown, ", ")}).With(a.othersMoves())), nil
}

// othersMoves are the commands with which a person goes on where what appeared upstream is somebody else's.
func (a *attempt) othersMoves() reason.Args {
	switch {
	case a.run.Step == journal.Undoing:
		return reason.Args{"force": string(a.run.ID)}
	case a.kind.Undo == upstream.Impossible: // it only goes forward
		return a.leftMoves()
	}
	return reason.Args{"abort": string(a.run.ID)}
}

// untouched goes on when the current credential still works: then the lost call had no effect, or the upstream would
// have ended it.
func (a *attempt) untouched(ctx context.Context) (*pause, error) {
	if left := a.p.prior.Add(a.kind.Settle).Sub(a.Now()); left >= 0 {
		return a.until(reason.LostReplyOldSettling, nil, left+1), nil
	}
	switch verdict, err := a.ask(ctx, a.p.old); verdict {
	case upstream.Accepted:
		return nil, nil
	case upstream.Refused:
		return a.wait(reason.LostReplyOldEnded, a.leftMoves()), nil
	default:
		return a.stuck(reason.CurrentUndecided, err), nil
	}
}
