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

// issue has the upstream make the credential. There is nothing to stage before; what a lost reply left is collected by its run id, but
// not before that call can land no more.
func (a *attempt) issue(ctx context.Context) error {
	h := &a.seen.here
	issued, err := a.applied(ctx, a.seen.old, secret.Value{})
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return err
	case err != nil:
		h.called = err
		if !definite(err) { // it may have been made, and not to be used
			a.seen.issued = issued
		}
		return nil
	}
	if h.unfit = issued.Fits(); h.unfit == nil {
		_, h.unfit = a.s.unfit(issued)
	}
	if h.unfit == nil {
		a.seen.issued, h.fenced = issued, true
	}
	return nil
}

// keepIssued journals what was issued. That is held on to until it is stored: nothing else has it.
func (a *attempt) keepIssued(ctx context.Context) (*pause, error) {
	if !a.pending {
		a.storePending(a.seen.old, a.seen.issued)
	}
	digest, err := a.digest(ctx, a.seen.candidate)
	if err != nil {
		return nil, err
	}
	a.run.Digest = digest
	if err := a.save(ctx); errors.Is(err, journal.ErrSuperseded) {
		return nil, err
	} else if err != nil {
		return a.stuck(reason.IssuedNotKept, err), nil
	}
	a.seen.issued = secret.Value{}
	return nil, a.issued(ctx)
}

// noteIssued goes on with what was issued and journaled before.
func (a *attempt) noteIssued(ctx context.Context) (*pause, error) {
	if stop, err := a.surplus(ctx); stop != nil || err != nil {
		return stop, err
	}
	return nil, a.issued(ctx)
}

// issued notes that the upstream honours what it issued.
func (a *attempt) issued(ctx context.Context) error {
	a.seen.applied = a.Now()
	if err := a.escrow(ctx); err != nil {
		return err
	}
	a.reach(journal.Applied)
	return errors.Join(a.audit(ctx, journal.Applied, ""), a.audit(ctx, journal.Staged, ""))
}

// surplus revokes what the upstream issued where a person handed in another before the authority could keep it.
func (a *attempt) surplus(ctx context.Context) (*pause, error) {
	if a.seen.issued.Empty() || a.seen.issued.Equal(a.seen.candidate) {
		return nil, nil
	}
	issued, candidate := a.seen.issued, a.seen.candidate
	err := a.change(ctx, func(ctx context.Context) error { return a.s.Upstream.Revoke(ctx, a.run.ID, issued, candidate) })
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case err != nil:
		return a.stuck(reason.SurplusNotRevoked, err), nil
	}
	a.seen.issued = secret.Value{}
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
	if left := a.seen.prior.Add(a.kind.Settle).Sub(a.Now()); left >= 0 {
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
	if left := a.seen.prior.Add(a.kind.Settle).Sub(a.Now()); left >= 0 {
		return a.until(reason.LostReplyOldSettling, nil, left+1), nil
	}
	switch verdict, err := a.ask(ctx, a.seen.old); verdict {
	case upstream.Accepted:
		return nil, nil
	case upstream.Refused:
		return a.wait(reason.LostReplyOldEnded, a.leftMoves()), nil
	default:
		return a.stuck(reason.CurrentUndecided, err), nil
	}
}
