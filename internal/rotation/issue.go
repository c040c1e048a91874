// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
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
		a.keep(a.p.old, a.p.issued)
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
		return a.stuck("the authority to keep what the upstream issued", err), nil
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
		return a.stuck("the upstream to revoke the credential that it issued, which a value handed in has replaced", err), nil
	}
	a.p.issued = secret.Value{}
	return nil, nil
}

// obtain calls the upstream, unless it has answered already.
func (a *attempt) obtain(ctx context.Context) (*pause, error) {
	var err error
	if a.p.old, err = a.base(ctx); err != nil || !a.p.issued.Empty() {
		return nil, err
	}
	if !a.p.fresh {
		if stop, err := a.reclaim(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	if stop, err := a.last(ctx); stop != nil || err != nil || a.p.at == journal.Undoing {
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
		return a.takeBack(ctx, a.s.Explained(err))
	case errors.Is(err, upstream.ErrSuperseded):
		return a.claimed(err), nil
	case err != nil && !issued.Empty(): // made, and not to be used; undo keeps it until it is refused
		a.p.issued = issued
		return a.takeBack(ctx, a.s.Explained(err))
	case err != nil:
		return a.stuck("the upstream to issue a credential", err), nil
	}
	if err := issued.Fits(); err != nil {
		return a.takeBack(ctx, err.Error())
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
	return a.wait("a person: the reply to issuing was lost and this upstream cannot tell what it made; " + a.leftHint()), nil
}

// leftHint is what a person does about what a lost reply left.
func (a *attempt) leftHint() string {
	switch {
	case a.run.Step == journal.Undoing:
		return "remove there what it left, then " + next.Force(a.run.ID)
	case a.takesAnother():
		return "make a credential there by hand and hand it in with " + next.Supply(a.s.Secret)
	case a.kind.Undo == upstream.Impossible: // it only goes forward
		return "mend that there, and the run goes on"
	}
	return "mend that there, and the run goes on; or take it back: " + next.Abort(a.run.ID)
}

// collect removes what carries the run's id.
func (a *attempt) collect(ctx context.Context) (*pause, error) {
	collector, able := a.s.Upstream.(upstream.Collector)
	if !able {
		return a.wait("a person: the reply to issuing was lost and this upstream cannot collect what it made; " + a.leftHint()), nil
	}
	err := a.change(ctx, func(ctx context.Context) error { return collector.Collect(ctx, a.run.ID) })
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case errors.Is(err, upstream.ErrSuperseded):
		return a.wait("a person: " + a.s.Explained(err) + "; " + a.leftHint()), nil
	case err != nil:
		return a.stuck("the upstream to remove what the call whose reply was lost may have made", err), nil
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
		return until("the upstream to show whether the call whose reply was lost made a credential", left+1), nil
	}
	now, err := a.list(ctx, lister)
	if err != nil {
		return a.stuck("the upstream to list its credentials", err), nil
	}
	unknown := slices.DeleteFunc(now, func(name string) bool { return slices.Contains(a.run.Before, name) })
	if len(unknown) == 0 {
		return nil, nil
	}
	return a.wait(fmt.Sprintf("a person: %s appeared upstream when a reply to this run was lost; if nobody else made it, remove it there, and the run goes on; otherwise %s",
		strings.Join(unknown, ", "), a.othersMove())), nil
}

// othersMove is what a person does where what appeared upstream is somebody else's.
func (a *attempt) othersMove() string {
	switch {
	case a.run.Step == journal.Undoing:
		return next.Force(a.run.ID) + " ends the run as it is"
	case a.kind.Undo == upstream.Impossible: // it only goes forward
		return a.leftHint()
	}
	return "take the run back: " + next.Abort(a.run.ID)
}

// untouched goes on when the current credential still works: then the lost call had no effect, or the upstream would
// have ended it.
func (a *attempt) untouched(ctx context.Context) (*pause, error) {
	if left := a.p.prior.Add(a.kind.Settle).Sub(a.Now()); left >= 0 {
		return until("the upstream to show whether the call whose reply was lost ended the current credential", left+1), nil
	}
	switch verdict, err := a.ask(ctx, a.p.old); verdict {
	case upstream.Accepted:
		return nil, nil
	case upstream.Refused:
		return a.wait("a person: the reply to issuing was lost, and the upstream no longer honours the credential before it; " + a.leftHint()), nil
	default:
		return a.stuck("the upstream to say whether it still honours the current credential", err), nil
	}
}
