// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"errors"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// This file and decide_promoted.go decide and have no effects: what a run does next, by its journal, what its secret is declared with,
// and the evidence. act.go carries out what is decided here.

// action is what a run does next.
type action string

const (
	// wait: nothing can be done now. The move says what for.
	wait action = "wait"
	// resume: ask the authority how far the run came.
	resume action = "resume"
	// recordBegin: put on record that the run was planned, and who asked for it.
	recordBegin action = "record the beginning"

	// checkMarker: see that no run which the journal does not know changed the account.
	checkMarker action = "check the marker"
	// listExisting: have the upstream list what exists before it issues a credential, where that is all that it can tell later.
	listExisting action = "list what exists"
	// propose: have the upstream propose a candidate.
	propose action = "propose a candidate"
	// tryProposed: sign in with the candidate, which the upstream was never given, so it must be refused.
	tryProposed action = "try the proposed candidate"
	// keepCandidate: take what was proposed as the run's candidate; journalCandidate: write it to the journal.
	keepCandidate    action = "keep the candidate"
	journalCandidate action = "journal the candidate"
	// deposit: put a copy of an admin candidate into the escrow.
	deposit action = "deposit in escrow"
	// stage: journal that calls may change the account from now on, with the candidate if there is one.
	stage action = "stage"

	// readBase: read the value that the candidate follows.
	readBase action = "read the old value"
	// awaitCalls: wait until no call without a reply can land any more.
	awaitCalls action = "await earlier calls"
	// reclaim: deal with what a call whose reply was lost may have made.
	reclaim action = "reclaim"
	// issue: have the upstream make a credential; keepIssued: journal it.
	issue      action = "issue"
	keepIssued action = "keep what was issued"
	// noteIssued: go on with what was issued and journaled before.
	noteIssued action = "note what was issued"
	// recordStaged, recordApplied: put the transition on record.
	recordStaged  action = "record staged"
	recordApplied action = "record applied"
	// tryCandidate: sign in with the candidate.
	tryCandidate action = "try the candidate"
	// askGroup: see that the candidates of the other members of the group work, which come first.
	askGroup action = "ask the group"
	// makeRoom: see to what a superseded run had not revoked.
	makeRoom action = "make room"
	// apply: have the upstream honour the candidate.
	apply action = "apply"
	// noteApplied: note that the upstream honours the candidate, since when nobody knows.
	noteApplied action = "note applied"
	// tryDecoy: sign in with a credential that the upstream was never given, which it must refuse.
	tryDecoy action = "try a decoy"
	// joinGroup: tell the group that the candidate works, and see whether all go forward.
	joinGroup action = "join the group"
	// journalVerified: journal that the candidate works. From here on the run goes forward.
	journalVerified action = "journal verified"
	// confirm: journal that the candidate was accepted once more, and until when it may be promoted.
	confirm action = "confirm"
	// noteLost: journal that the upstream refuses the candidate which it had accepted.
	noteLost action = "note the candidate's loss"
	// promote: write the candidate to the secret's path.
	promote action = "promote"

	// readValue: read the value at the secret's path. readAgain: read it once more, before anything is revoked.
	readValue action = "read the value"
	readAgain action = "read the value again"
	// recordPromoted: put the transition on record.
	recordPromoted action = "record promoted"
	// askConsumers: have every consumer prove what it runs on.
	askConsumers action = "ask consumers"
	// tryValue: sign in with the promoted value. watchValue: the same, while the run waits for something else.
	tryValue   action = "try the value"
	watchValue action = "watch the value"
	// deliver: hand the value to the consumers that are owed it.
	deliver action = "deliver"
	// breakConsumers: go on without proofs that are missing, as the policy says after a compromise.
	breakConsumers action = "break consumers"
	// recordOverlap: put on record that proofs were still missing at maxOverlap.
	recordOverlap action = "record the overlap"
	// noteDelivered: note that every proof is in.
	noteDelivered action = "note delivered"
	// proveAgain: go back to deliver, as a proof is missing.
	proveAgain action = "prove again"
	// tryOld: sign in with the old credential. tryRevoked: the same, after it was revoked.
	tryOld     action = "try the old credential"
	tryRevoked action = "try the revoked credential"
	// checkClock: ask whether the wall clock can be believed.
	checkClock action = "check the clock"
	// askUses: ask the upstream who uses the old credential.
	askUses action = "ask who uses the old one"
	// recordUsed: put on record who does.
	recordUsed action = "record who uses the old one"
	// revoke: have the upstream refuse the old credential.
	revoke action = "revoke"
	// revokeNext: go on with the next of the credentials that the run replaced.
	revokeNext action = "revoke the next"
	// endCompromise: end all else that a compromised credential opens.
	endCompromise action = "end the compromise"
	// noteRevoked: put on record that the old credential is refused. passRevoked: there is none to revoke.
	noteRevoked action = "note revoked"
	passRevoked action = "pass revoked"
	// complete: close the run.
	complete action = "complete"

	// takeBack: journal that the run is undone. undo: undo it.
	takeBack action = "take back"
	undo     action = "undo"
)

// move is what decide returns: an action, and for wait and takeBack the reason.
type move struct {
	do action
	// why is what the run waits for; cause is the error that kept an answer from deciding.
	why   reason.Reason
	cause error
	// in is when that ends, 0 where nobody knows; the run looks again after no less than least and, unless it is 0, no more than most.
	in, least, most time.Duration
	// uses names who still uses the old credential.
	uses []string
	// says is why the run is taken back, followed by cause, or what is put on record.
	says string
}

// known is all that decide goes by.
type known struct {
	run  *journal.Run
	kind upstream.Kind
	seen *evidence
	circumstances
}

// circumstances are asked anew before each decision. They cost no call to the outside.
type circumstances struct {
	now    time.Time
	secret string
	path   authority.Path
	// verifyEvery is the declared policy's.
	verifyEvery time.Duration
	// deposits: candidates are deposited outside the authority.
	deposits bool
	// witness: the upstream can tell who uses the old credential. clocked: the wall clock can be asked about.
	witness, clocked bool
	// onboarded: the upstream has refused a credential that it was never given.
	onboarded bool
	// opening: the run is being planned, and not in the journal yet.
	opening bool
	// pending: the journal has the run's values; more: it has other credentials that the run replaced.
	pending, more bool
	// locked is how long no sign-in may be refused yet.
	locked time.Duration
	// stopping: the process is to end.
	stopping bool
}

// decide is what a run does next. The first row that applies counts, here and in what it calls.
func decide(k known) move {
	switch {
	case !k.seen.resumed && (k.seen.at == "" || k.overtaken() || k.run.Step == journal.Undoing):
		return move{do: resume}
	case !k.seen.noted:
		return move{do: recordBegin}
	case k.stopping && !k.seen.here.begun: // the step in hand is finished, and no other begun
		return move{do: wait, why: reason.New(reason.CustodyStopping, nil), in: time.Minute}
	}
	switch k.seen.at {
	case journal.Planned:
		return k.planned()
	case journal.Staged:
		return k.staged()
	case journal.Applied:
		return k.applied()
	case journal.Verified:
		return k.verified()
	case journal.Promoted:
		return k.promoted()
	case journal.Delivered:
		return k.delivered()
	case journal.Revoked:
		return k.revoked()
	}
	return move{do: undo}
}

// overtaken reports whether the journal knows of a step that this process has not come to: another engine took it, or a write
// of this one came through without an answer. What this process remembers must not take the run back to before that.
func (k known) overtaken() bool {
	beyond := []journal.Step{journal.Promoted, journal.Delivered}
	switch k.seen.at {
	case journal.Planned:
		return k.run.Step != journal.Planned
	case journal.Staged, journal.Applied:
		beyond = append(beyond, journal.Verified)
	case journal.Verified:
	default:
		return false
	}
	return slices.Contains(beyond, k.run.Step)
}

// planned: a candidate is made and journaled, with the old value, where no reader of the secret's path sees it.
func (k known) planned() move {
	h := k.seen.here
	switch {
	case !h.familiar:
		return move{do: checkMarker}
	case k.run.Trigger.Kind == Supplied && !k.pending:
		return waits(reason.ValueToBeSupplied, reason.Args{"supply": k.secret, "abort": string(k.run.ID)})
	case h.unlisted != nil:
		return undecided(reason.CredentialsNotListed, h.unlisted)
	case k.kind.Issues && !h.listed:
		return move{do: listExisting}
	case k.kind.Issues:
		return move{do: stage}
	case !k.pending && !h.proposed:
		return move{do: propose}
	case h.unproposed != nil:
		return undecided(reason.CandidateNotProposed, h.unproposed)
	case h.unfit != nil:
		return move{do: wait, why: reason.New(reason.CandidateUnfit, reason.Args{"consumer": h.unfitFor}).Because(h.unfit.Error())}
	case !k.pending && !k.onboarded && k.kind.Verifies && !h.decoy.asked(): // and again before it counts, see honoured
		return move{do: tryProposed}
	case !k.pending && !k.onboarded && k.kind.Verifies && h.decoy.verdict != upstream.Refused:
		return decoyed(h.decoy)
	case !k.pending:
		return move{do: keepCandidate}
	case k.deposits && h.proposed && !h.journaled && !k.opening && k.run.Trigger.Kind != Supplied:
		return move{do: journalCandidate} // the escrow keeps one candidate for each run: the journal has it first
	case k.deposits && !h.deposited:
		return move{do: deposit}
	}
	return move{do: stage}
}

// decoyed is what follows where the upstream does not refuse a credential that it was never given: signing in proves nothing there.
func decoyed(decoy answer) move {
	if decoy.verdict == upstream.Accepted {
		return waits(reason.DecoyAccepted, nil)
	}
	return undecided(reason.DecoyUndecided, decoy.err)
}

// staged: the upstream is made to honour the candidate. If an earlier call may have done that, the upstream is asked first.
func (k known) staged() move {
	h := k.seen.here
	switch {
	case k.kind.Issues && len(k.run.Digest) == 0:
		return k.issuing()
	case !k.pending:
		return k.pendingGone()
	case k.kind.Issues:
		return move{do: noteIssued} // issuing again would leave an orphan
	case !k.seen.recorded[journal.Staged]:
		return move{do: recordStaged}
	case h.called != nil:
		return k.notApplied(h.called)
	case !k.seen.fresh && !h.candidate.asked():
		return move{do: tryCandidate}
	case h.candidate.verdict == upstream.Accepted && !k.seen.recorded[journal.Applied]:
		return move{do: recordApplied}
	case h.candidate.verdict == upstream.Accepted && k.kind.Settle > 0:
		return move{do: noteApplied}
	case h.candidate.verdict == upstream.Accepted:
		return k.honoured()
	case h.candidate.verdict == upstream.Refused && k.run.Trigger.Kind == Supplied:
		return move{do: takeBack, says: "the upstream refuses what was handed in"}
	case h.candidate.verdict == upstream.Unknown && k.seen.unsaid <= unknownPolls:
		return undecided(reason.CandidateEffectUnknown, h.candidate.err) // applied again later: nodes that disagree since one missed it agree then
	case k.interruptsGroup() && !h.grouped:
		return move{do: askGroup}
	case k.kind.Capability == upstream.Overwrite && k.locked > 0: // afterwards consumers are refused until the candidate was verified
		return k.until(reason.LockoutPause, nil, k.locked)
	case k.roomless() && !h.roomy:
		return move{do: makeRoom}
	}
	return move{do: apply}
}

// interruptsGroup reports whether making the new credential ends the old one, so that the other members of its group go first.
func (k known) interruptsGroup() bool {
	return k.run.Group != "" && k.kind.Capability == upstream.Overwrite
}

// roomless reports whether a superseded run had not revoked what may have the place of another credential. Where an account has one
// credential, it has the only place.
func (k known) roomless() bool {
	return len(k.run.Older) > 0 && k.kind.Capability != upstream.Overwrite
}

// notApplied is what follows a call to apply that ended with an error. One that never arrived counts as no attempt.
func (k known) notApplied(err error) move {
	switch {
	case errors.Is(err, upstream.ErrRefusedCandidate):
		return move{do: takeBack, cause: err}
	case errors.Is(err, upstream.ErrSuperseded):
		return k.claimed(err)
	case errors.Is(err, upstream.ErrNotApplied):
		return undecided(reason.CandidateNotApplied, err)
	case k.seen.attempts >= applyAttempts:
		return move{do: takeBack, says: "applying failed too often: ", cause: err}
	}
	return undecided(reason.CandidateNotApplied, err)
}

// issuing: the upstream makes the credential. What it answered in an earlier turn counts once no other engine's call can land any
// more: one that removes it afterwards loses to the write that keeps it, and one that came before is seen when the candidate is
// verified.
func (k known) issuing() move {
	h := k.seen.here
	switch {
	case k.pending:
		return move{do: keepIssued}
	case h.unfit != nil:
		return move{do: takeBack, says: h.unfit.Error()}
	case errors.Is(h.called, upstream.ErrRefusedCandidate):
		return move{do: takeBack, cause: h.called}
	case errors.Is(h.called, upstream.ErrSuperseded):
		return k.claimed(h.called)
	case h.called != nil && !k.seen.issued.Empty(): // made, and not to be used; undo keeps it until it is refused
		return move{do: takeBack, cause: h.called}
	case h.called != nil:
		return undecided(reason.CredentialNotIssued, h.called)
	case !h.based:
		return move{do: readBase}
	case !k.seen.issued.Empty() && !h.fenced: // in an earlier turn: another engine may be collecting it, as what a lost reply left
		return move{do: awaitCalls}
	case !k.seen.issued.Empty():
		return move{do: keepIssued}
	case !k.seen.fresh && !h.reclaimed:
		return move{do: reclaim}
	case k.interruptsGroup() && !h.grouped:
		return move{do: askGroup}
	case k.roomless() && !h.roomy:
		return move{do: makeRoom}
	}
	return move{do: issue}
}

// applied: the candidate is tried once what was applied had time to show everywhere. Before that a refusal may be delay, and an
// acceptance the answer of one part that is ahead of the others.
func (k known) applied() move {
	h := k.seen.here
	if left := k.seen.applied.Add(k.kind.Settle).Sub(k.now); left >= 0 && k.kind.Settle > 0 {
		return k.until(reason.CandidateSettling, nil, left+1)
	}
	switch h.candidate.verdict {
	case "":
		return move{do: tryCandidate}
	case upstream.Accepted:
		return k.honoured()
	case upstream.Refused:
		return move{do: takeBack, says: "the upstream refuses the candidate that it took"}
	}
	return undecided(reason.CandidateUndecided, h.candidate.err)
}

// honoured: the upstream accepts the candidate. Before that is journaled, the upstream shows that it refuses others, now that the
// account of the candidate surely exists: a server that asks for no password refuses an account that is not there, and lets anybody
// in to one that is. And the group goes forward together.
func (k known) honoured() move {
	h := k.seen.here
	switch {
	case !k.onboarded && k.kind.Verifies:
		return k.onboarding()
	case k.run.Group != "" && !h.joined:
		return move{do: joinGroup}
	}
	return move{do: journalVerified}
}

// onboarding: a credential that the upstream was never given must be refused there.
func (k known) onboarding() move {
	switch h := k.seen.here; {
	case h.undecoyed != nil:
		return undecided(reason.DecoyNotMade, h.undecoyed)
	case !h.decoy.asked():
		return move{do: tryDecoy}
	default:
		return decoyed(h.decoy)
	}
}

// verified: the candidate is made the secret's value. Where the upstream accepted it longer than promoteWithin ago, it is asked once
// more: the process may have been down for days. No other engine can promote a candidate that is refused now any more: each journals
// until when it may, and its write ends by then.
func (k known) verified() move {
	h := k.seen.here
	left := k.run.PromoteBy.Sub(k.now)
	switch {
	case !k.pending:
		return k.pendingGone()
	case h.read: // it was not written, because something else stands there
		return k.foreignWrite()
	case !k.kind.Verifies || left > 0 && left <= promoteWithin:
		return move{do: promote}
	}
	switch h.candidate.verdict {
	case "":
		return move{do: tryCandidate}
	case upstream.Accepted:
		return move{do: confirm}
	case upstream.Refused:
		return k.candidateLost(left > 0)
	}
	return undecided(reason.CandidateUndecided, h.candidate.err)
}

// candidateLost takes a run back whose candidate is refused before it was promoted. One that cannot be taken back alone waits for
// it to be accepted again, or for another value. Where the clock was set back, a write of another engine may be under way.
func (k known) candidateLost(setBack bool) move {
	left := k.seen.lost.Add(promoteWithin).Sub(k.now)
	switch {
	case setBack && left >= 0:
		return k.until(reason.EarlierCallPending, nil, left+1)
	case k.run.Group == "" && k.run.Over == 0 && k.kind.Undo != upstream.Impossible:
		return move{do: takeBack, says: "the upstream refuses the candidate, which it accepted before"}
	case !k.run.Refused:
		return move{do: noteLost}
	}
	lost := waits(reason.CandidateLost, reason.Args{"old": k.oldStands(), "supply": k.secret})
	lost.least = 2 * k.kind.WrongEvery // half of the time is left to a person's own try
	return lost
}

// waits looks again by and by.
func waits(code reason.Code, args reason.Args) move {
	return move{do: wait, why: reason.New(code, args)}
}

// undecided waits for an answer, or for what was not done, because of err.
func undecided(code reason.Code, err error) move {
	return move{do: wait, why: reason.New(code, nil), cause: err}
}

// until waits for a time that is known. It is shown as the second in which it has passed: each look works it out anew.
func (k known) until(code reason.Code, args reason.Args, left time.Duration) move {
	return move{do: wait, why: reason.New(code, args).Till(k.now.Add(left + time.Second - 1).Truncate(time.Second)), in: left}
}

// pendingGone says that the candidate is lost, and what a person can do at the step that the run is at.
func (k known) pendingGone() move {
	args := reason.Args{"abort": string(k.run.ID)}
	switch {
	case k.run.Step == journal.Undoing:
		args = reason.Args{"force": string(k.run.ID)}
	case k.run.Step == journal.Applied && k.run.Group != k.run.ID:
		args = reason.Args{"abort": string(k.run.Group)}
	case k.run.Step == journal.Verified || k.kind.Undo == upstream.Impossible: // it only goes forward
		args = reason.Args{"explain": k.secret}
	}
	return waits(reason.RunValuesGone, args)
}

// foreignWrite says what a person does about a value that no run wrote, or one that somebody removed.
func (k known) foreignWrite() move {
	if found := k.seen.here.value; found != nil {
		return waits(reason.ForeignWrite, reason.Args{"found": found.ID.String(), "adopt": k.secret, "revert": k.secret})
	}
	own := authority.VersionID{Run: k.run.ID, Number: k.run.Follows() + 1}
	return waits(reason.ValueGone, reason.Args{"version": own.String()})
}

// claimed waits for a person where the account belongs to another run.
func (k known) claimed(err error) move {
	if found, is := errors.AsType[*strange](err); is {
		return move{do: wait, why: found.reason()}
	}
	args := reason.Args{"run": string(k.run.ID)}
	if k.run.Step == journal.Planned || k.run.Step == journal.Staged && k.kind.Undo != upstream.Impossible {
		args["abort"] = string(k.run.ID)
	}
	return move{do: wait, why: reason.New(reason.AccountClaimed, args), cause: err}
}

// oldStands says what is left of the old credential while the new one is refused.
func (k known) oldStands() string {
	switch {
	case k.reverts():
		return "nothing is revoked"
	case k.run.Base == 0:
		return "there is no other"
	case k.kind.Capability == upstream.Overwrite:
		return "it had replaced the old one"
	case k.run.Step == journal.Delivered:
		return "the old one may be revoked already"
	}
	return "the old one is not revoked"
}

// rankAt puts runs before others once the upstream has their candidate, and first those whose consumers are refused until they are
// handed it.
func (k known) rankAt(at journal.Step) outward.Rank {
	interrupts := k.kind.Capability == upstream.Overwrite && k.run.Base > 0
	switch {
	case at == journal.Planned, at == journal.Staged && (k.seen.fresh || !interrupts):
		return outward.First
	case interrupts && (at == journal.Applied || at == journal.Verified || at == journal.Promoted):
		return outward.Cut
	}
	return outward.Begun // or it may be: where a call of an overwrite run was not answered
}
