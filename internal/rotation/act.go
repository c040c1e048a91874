// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// do carries out one action and adds to the evidence what came of it. An action that finds something in its way itself returns what
// the run waits for.
func (a *attempt) do(ctx context.Context, next move) (stop *pause, err error) {
	h := &a.seen.here
	h.begun = a.seen.noted
	switch next.do {
	case wait:
		return a.pause(next), nil
	case resume:
		return nil, a.resume(ctx)
	case recordBegin:
		a.seen.noted = true
		return nil, a.recordBegin(ctx)

	case checkMarker:
		stop, err = a.ours(ctx)
		h.familiar = stop == nil
		return stop, err
	case listExisting:
		return nil, a.listExisting(ctx)
	case propose:
		return nil, a.proposeNext(ctx)
	case tryProposed:
		h.decoy = a.answerTo(ctx, h.proposal)
		return nil, nil
	case keepCandidate:
		a.storePending(a.seen.old, h.proposal)
		return nil, nil
	case journalCandidate:
		h.journaled = true
		return nil, a.save(ctx)
	case deposit:
		h.deposited = true
		return nil, a.escrow(ctx)
	case stage:
		return nil, a.stage(ctx)

	case readBase:
		h.based = true
		a.seen.old, err = a.base(ctx)
		return nil, err
	case awaitCalls:
		stop = a.fence()
		h.fenced = stop == nil
		return stop, nil
	case reclaim:
		stop, err = a.reclaim(ctx)
		h.reclaimed = stop == nil
		return stop, err
	case issue:
		return nil, a.issue(ctx)
	case keepIssued:
		return a.keepIssued(ctx)
	case noteIssued:
		return a.noteIssued(ctx)
	case recordStaged:
		return nil, a.audit(ctx, journal.Staged, "")
	case recordApplied:
		return nil, a.audit(ctx, journal.Applied, "")
	case tryCandidate:
		a.tryCandidate(ctx)
		return nil, nil
	case askGroup:
		h.grouped = true
		return a.others(ctx, func(m Member) bool { return !m.interrupts() })
	case makeRoom:
		h.roomy = true
		return a.makeRoom(ctx)
	case apply:
		return nil, a.apply(ctx)
	case noteApplied:
		a.seen.applied = a.Now() // when it was, nobody knows; it has to settle from now
		a.reach(journal.Applied)
		return nil, nil
	case tryDecoy:
		a.tryDecoy(ctx)
		return nil, nil
	case joinGroup:
		h.joined = true
		return a.together(ctx)
	case journalVerified:
		return nil, a.journalVerified(ctx)
	case confirm:
		a.run.PromoteBy, a.run.Refused = a.Now().Add(promoteWithin), false
		h.candidate = answer{}
		return nil, a.save(ctx)
	case noteLost:
		a.run.Refused = true
		return nil, a.save(ctx)
	case promote:
		return nil, a.promote(ctx)
	}
	return a.doPromoted(ctx, next)
}

// doPromoted does what comes after the candidate was promoted, or what takes the run back.
func (a *attempt) doPromoted(ctx context.Context, next move) (stop *pause, err error) {
	h := &a.seen.here
	switch next.do {
	case readValue:
		return nil, a.readValue(ctx)
	case readAgain:
		h.again = true
		return nil, a.readValue(ctx)
	case recordPromoted:
		return nil, a.audit(ctx, journal.Promoted, "")
	case askConsumers:
		h.proved = true
		h.missing, err = a.missing(ctx, *h.value, h.faults)
		return nil, err
	case tryValue:
		return nil, a.tryValue(ctx)
	case watchValue:
		return nil, a.watchValue(ctx)
	case deliver:
		h.handed, h.proved = true, false
		h.faults, err = a.deliverTo(ctx, *h.value, a.known.owed(a.Now(), h.value, h.missing))
		return nil, err
	case breakConsumers:
		return nil, a.breakConsumers(ctx, a.required(h.missing))
	case recordOverlap:
		return nil, a.audit(ctx, stepOverlap, next.says)
	case noteDelivered:
		return nil, a.noteDelivered(ctx)
	case proveAgain:
		a.seen.proven = time.Time{}
		a.reach(journal.Promoted)
		return nil, nil
	case tryOld:
		h.old = a.answerTo(ctx, a.seen.old)
		return nil, nil
	case tryRevoked:
		if h.after = a.answerTo(ctx, a.seen.old); h.after.verdict == upstream.Accepted {
			a.seen.revoked = time.Time{}
		}
		return nil, nil
	case checkClock:
		h.clock++
		h.jumped, err = a.checkClock(ctx)
		return nil, err
	case askUses:
		a.askUses(ctx)
		return nil, nil
	case recordUsed:
		return nil, a.audit(ctx, stepUsed, next.says)
	case revoke:
		return nil, a.revoke(ctx)
	case revokeNext:
		return nil, a.replacedNext(ctx)
	case endCompromise:
		h.ended = true
		return a.endCompromise(ctx)
	case noteRevoked:
		a.reach(journal.Revoked)
		return nil, a.audit(ctx, journal.Revoked, a.took())
	case passRevoked:
		a.reach(journal.Revoked)
		return nil, nil
	case complete:
		return nil, a.complete(ctx)

	case takeBack:
		if next.cause != nil {
			next.says += a.s.Explained(next.cause)
		}
		return a.beginUndo(ctx, next.says)
	case undo:
		return a.undo(ctx)
	}
	return nil, fmt.Errorf("advancing run %s: nobody does %q", a.run.ID, next.do)
}

// answerTo signs in with v.
func (a *attempt) answerTo(ctx context.Context, v secret.Value) answer {
	verdict, err := a.ask(ctx, v)
	return answer{verdict, err}
}

// recordBegin puts on record that the run was planned, by whom its value was handed in, and what it is an answer to.
func (a *attempt) recordBegin(ctx context.Context) error {
	if err := a.audit(ctx, journal.Planned, ""); err != nil {
		return err
	}
	return errors.Join(a.recordSupply(ctx), a.recordCompromise(ctx), a.recordDecision(ctx))
}
