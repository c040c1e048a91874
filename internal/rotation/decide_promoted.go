// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// promoted: the value is brought to every consumer declared now, and their proofs are collected.
func (k known) promoted() move {
	h := k.seen.here
	switch {
	case !h.read:
		return move{do: readValue}
	case !k.promotedBy(h.value):
		return k.foreignWrite()
	case !k.seen.recorded[journal.Promoted]:
		return move{do: recordPromoted}
	case !h.proved:
		return move{do: askConsumers}
	}
	if owed := k.owed(k.now, h.value, h.missing); len(owed) > 0 && !h.handed {
		switch {
		case k.doubtful(owed) && !h.honoured.asked():
			return move{do: tryValue}
		case h.honoured.asked() && h.honoured.verdict != upstream.Accepted:
			return k.refusedNow(h.honoured)
		}
		return move{do: deliver}
	}
	required := k.required(h.missing)
	switch {
	case len(required) > 0 && k.breaks(k.now, whole):
		return move{do: breakConsumers}
	case len(required) > 0:
		return k.lacking(required)
	}
	return move{do: noteDelivered}
}

// doubtful reports whether the upstream is asked about the value once more before consumers that have a credential which works are
// handed it: it accepted it longer than promoteWithin ago. Where the old one ended when this one was made, nobody waits for that.
func (k known) doubtful(owed []missingProof) bool {
	recent := func(left time.Duration) bool { return left > 0 && left <= promoteWithin }
	switch {
	case recent(k.run.PromoteBy.Sub(k.now)) || recent(k.seen.accepted.Add(promoteWithin).Sub(k.now)):
		return false
	case !k.kind.Verifies || k.run.Base == 0 || k.kind.Capability == upstream.Overwrite:
		return false
	}
	return slices.ContainsFunc(owed, func(l missingProof) bool { return !l.has })
}

// lacking waits for proofs and says whose. It never goes on to revoke; only a proof that a person waived is not waited for.
func (k known) lacking(missing []missingProof) move {
	h := k.seen.here
	args := reason.Args{"consumers": said(missing), "force": string(k.run.ID)}
	left, breaks := k.breaksIn(k.now, whole)
	switch {
	case k.watches() && !h.watched.asked():
		return move{do: watchValue}
	case k.unwatched():
		return k.refusedNow(h.watched)
	case breaks:
		broken := k.until(reason.CompromiseProofMissing, args, left)
		broken.in, broken.most = 0, max(left, time.Millisecond)
		return broken
	case !k.overdue(k.now, h.value):
		return waits(reason.ProofMissing, args)
	case !k.seen.recorded[stepOverlap]:
		return move{do: recordOverlap, says: "past maxOverlap (" + k.run.Policy.FailureStrategy + "): " + said(missing)}
	}
	args["strategy"] = k.run.Policy.FailureStrategy
	return waits(reason.OverlapExceeded, args)
}

// said names the consumers without proof, and why.
func said(missing []missingProof) string {
	names := make([]string, len(missing))
	for i, one := range missing {
		names[i] = fmt.Sprintf("%s %s", one.consumer.Name(), one.why)
	}
	return strings.Join(names, "; ")
}

// delivered: the upstream is made to refuse the old credential, after the settle time, one more look at every proof, and one more
// sign-in with the new one. Then it is asked whether it does. A call to revoke may have come through already. It is made again all
// the same: a refusal alone can be an outage. The new credential is asked for first: after a refused sign-in none may follow for a
// while where accounts are locked.
func (k known) delivered() move {
	h := k.seen.here
	maybe := k.run.Step == journal.Delivered // a call to revoke may have been made
	switch {
	case !k.replaces() || !k.run.Policy.RevokeOld || !k.kind.Verifies:
		return k.revokesNothing()
	case !k.pending:
		return k.pendingGone()
	case !k.seen.revoked.IsZero():
		return k.afterRevoking()
	case h.after.verdict == upstream.Accepted: // it is revoked again at the next look
		return waits(reason.OldStillAccepted, nil)
	case errors.Is(h.called, upstream.ErrSuperseded):
		return k.claimed(h.called)
	case h.called != nil:
		return undecided(reason.OldNotRevoked, h.called)
	case !h.read:
		return move{do: readValue}
	case !h.again && !k.promotedBy(h.value):
		return k.foreignWrite()
	case maybe && !h.honoured.asked():
		return move{do: tryValue}
	case maybe && h.honoured.verdict != upstream.Accepted:
		return k.refusedNow(h.honoured)
	case maybe && !h.old.asked():
		return move{do: tryOld}
	case h.old.verdict == upstream.Unknown:
		return undecided(reason.OldUndecided, h.old.err)
	case !maybe || h.old.verdict == upstream.Accepted:
		return k.settling()
	}
	return move{do: revoke}
}

// settling waits out the settle time since the last proof. Then everything is looked at once more, last who uses the old credential:
// somebody may do that at any moment.
func (k known) settling() move {
	h := k.seen.here
	if !h.again {
		return move{do: readAgain}
	}
	next := k.settled()
	if left, _ := k.nextWatch(); next.do == wait && left > 0 { // the value is watched meanwhile
		next.most = left
	}
	return next
}

func (k known) settled() move {
	h := k.seen.here
	left := k.seen.proven.Add(k.run.Policy.Settle).Sub(k.now)
	switch {
	case !k.promotedBy(h.value):
		return k.foreignWrite()
	case k.seen.proven.IsZero(): // resumed here: the proofs were in, but this process has not seen them
		return move{do: proveAgain}
	case k.watches() && !h.watched.asked():
		return move{do: watchValue}
	case k.unwatched():
		return k.refusedNow(h.watched)
	case left > 0 && !k.breaks(k.now, whole):
		if broken, on := k.breaksIn(k.now, whole); on {
			left = min(left, broken)
		}
		return k.until(reason.SettleTime, nil, left)
	case !h.proved:
		return move{do: askConsumers}
	case len(k.required(h.missing)) > 0:
		return move{do: proveAgain}
	case !h.last.asked():
		return move{do: tryValue}
	case h.last.verdict != upstream.Accepted:
		return k.refusedNow(h.last)
	}
	return k.quiet()
}

// quiet: an upstream that can tell is asked whether the old credential is still used, before it is revoked. All declared consumers
// have moved by then: whoever uses it is undeclared, or runs on what it read long ago. An answer without uses is no proof, and adds
// nothing; a use holds the run until it ends, or a person forces it. A use that evidence too coarse puts before the consumers moved
// may have been theirs: it is waited out and not held against anybody.
func (k known) quiet() move {
	h := k.seen.here
	if k.kind.Evidence == nil || !k.witness || k.run.Compromise != nil { // who uses a compromised one may be whoever took it
		return move{do: revoke}
	}
	began := k.seen.proven
	if k.seen.dated.After(began) {
		began = k.seen.dated
	}
	left := began.Add(k.run.Policy.QuietWindow + k.kind.Evidence.Late).Sub(k.now)
	switch {
	case k.clocked && h.clock == 0:
		return move{do: checkClock}
	case h.jumped != "": // what the upstream tells of uses could be dated wrongly, and so be taken to be from before the quiet window
		return move{do: wait, why: reason.New(reason.OldUsesUndated, nil).Because(h.jumped)}
	case !h.used && left > 0:
		return k.until(reason.QuietWindow, nil, left)
	case !h.used:
		return move{do: askUses}
	case h.unused != nil && k.waivesEvidence(h.unused):
		return move{do: revoke}
	case h.gone.verdict == upstream.Refused: // somebody removed it, and nobody can use it
		return move{do: revoke}
	case h.unused != nil:
		unknown := undecided(reason.OldUsesUnknown, h.unused)
		unknown.why = unknown.why.With(reason.Args{"force": string(k.run.ID)})
		return unknown
	case h.clock == 1: // it may have jumped before that was asked
		return move{do: checkClock}
	}
	return k.uses(began)
}

// uses holds the run while somebody uses the old credential whom nobody waived.
func (k known) uses(began time.Time) move {
	var who, when []string
	early := false
	for _, use := range k.seen.here.uses {
		name := nameOf(use)
		switch {
		case k.waives(journal.WaivedUse, name):
		case use.Last.Before(began):
			early = true
		default:
			who = append(who, name)
			when = append(when, name+", last seen "+use.Last.UTC().Format(time.RFC3339))
		}
	}
	switch {
	case len(who) == 0 && early:
		return waits(reason.OldUsedLately, nil)
	case len(who) == 0:
		return move{do: revoke}
	case !k.seen.recorded[stepUsed]:
		return move{do: recordUsed, says: strings.Join(when, "; ")}
	}
	inUse := waits(reason.OldInUse, reason.Args{"who": strings.Join(who, "; "), "force": string(k.run.ID)})
	inUse.uses = who
	return inUse
}

// waivesEvidence reports whether a person waived that the upstream, which was asked, can tell of no use.
func (k known) waivesEvidence(err error) bool {
	return !errors.Is(err, outward.ErrNotBegun) && k.waives(journal.WaivedEvidence, "")
}

// afterRevoking: the old credential must no longer open anything, once its end had time to show everywhere.
func (k known) afterRevoking() move {
	h := k.seen.here
	if left := k.seen.revoked.Add(k.kind.Settle).Sub(k.now); left >= 0 && k.kind.Settle > 0 {
		return k.until(reason.OldSettling, nil, left+1)
	}
	switch {
	case !h.after.asked():
		return move{do: tryRevoked}
	case h.after.verdict != upstream.Refused:
		return undecided(reason.OldUndecided, h.after.err)
	case k.more:
		return move{do: revokeNext}
	case (len(k.run.Older) > 0 || k.run.Compromise != nil) && !h.ended:
		return move{do: endCompromise}
	}
	return move{do: noteRevoked}
}

// revokesNothing: the run has no credential to revoke. The upstream still accepts the new one when it completes.
func (k known) revokesNothing() move {
	h := k.seen.here
	switch {
	case !h.read:
		return move{do: readValue}
	case !k.promotedBy(h.value):
		return k.foreignWrite()
	case k.kind.Verifies && !h.honoured.asked():
		return move{do: tryValue}
	case k.kind.Verifies && h.honoured.verdict != upstream.Accepted:
		return k.refusedNow(h.honoured)
	}
	return move{do: passRevoked}
}

// revoked: the run is closed.
func (k known) revoked() move {
	h := k.seen.here
	switch {
	case !h.read:
		return move{do: readValue}
	case !k.promotedBy(h.value):
		return k.foreignWrite()
	}
	return move{do: complete}
}

// promotedBy reports whether a value is the one that this run promoted.
func (k known) promotedBy(held *authority.Versioned) bool {
	return held != nil && held.ID.Run == k.run.ID && held.ID.Number == k.run.Follows()+1
}

// refusedNow holds the run while the upstream does not accept the promoted value any more.
func (k known) refusedNow(given answer) move {
	if !k.run.Refused { // it cannot say, and has not said no
		return undecided(reason.NewCredentialUndecided, given.err)
	}
	stop := waits(reason.NewCredentialRefused, reason.Args{"version": k.seen.here.value.ID.String(), "old": k.oldStands(), "supply": k.secret})
	stop.least = 2 * k.kind.WrongEvery // half of the time is left to a person's own try
	return stop
}

// owed returns those who are handed the version now: everybody at once, then rarely. Past maxOverlap the strategy hold
// disturbs nobody again who has it; who has not is locked out where the old credential is gone, and gets it whatever
// the strategy.
func (k known) owed(now time.Time, held *authority.Versioned, missing []missingProof) []missingProof {
	if now.Sub(k.seen.delivered) < redeliverAfter {
		return nil
	}
	if k.run.Policy.FailureStrategy == strategyHold && k.overdue(now, held) {
		return slices.DeleteFunc(slices.Clone(missing), func(l missingProof) bool { return l.has })
	}
	return missing
}

func (k known) overdue(now time.Time, held *authority.Versioned) bool {
	return k.run.Policy.MaxOverlap > 0 && now.Sub(held.Created) > k.run.Policy.MaxOverlap
}

// breaksIn is how long it is until consumers without proof are broken, by so much of the policy's time; false where they never are.
func (k known) breaksIn(now time.Time, of portion) (time.Duration, bool) {
	c, says := k.run.Compromise, k.run.Policy.OnCompromise
	if c == nil || says == nil || says.BreakAfter <= 0 {
		return 0, false
	}
	left := c.At.Add(says.BreakAfter / time.Duration(of)).Sub(now)
	return min(left, says.BreakAfter), true // or the clock was set back
}

func (k known) breaks(now time.Time, of portion) bool {
	left, on := k.breaksIn(now, of)
	return on && left <= 0
}

// watches reports whether the promoted value is due to be tried while the run waits for anything else, as often as the policy's
// verifyEvery says: proofs and windows may take weeks. What decides nothing is tried again within the hour, and holds nothing.
func (k known) watches() bool {
	left, on := k.nextWatch()
	return on && left <= 0
}

// unwatched reports whether the value was found to be refused when it was watched.
func (k known) unwatched() bool {
	watched := k.seen.here.watched
	return watched.asked() && watched.verdict != upstream.Accepted && k.run.Refused
}

// nextWatch is how long it is to the next such sign-in; false when there is to be none.
func (k known) nextWatch() (time.Duration, bool) {
	if k.verifyEvery <= 0 || !k.kind.Verifies {
		return 0, false
	}
	last := k.run.PromoteBy.Add(-promoteWithin)
	if k.seen.accepted.After(last) {
		last = k.seen.accepted
	}
	next := last.Add(watchEvery(k.path, k.verifyEvery))
	if k.seen.watch.After(next) {
		next = k.seen.watch
	}
	return next.Sub(k.now), true
}

// replaces reports whether the run has a credential that ends with it. One that puts the managed value back has none. Where the
// values of the run are gone, what it began with tells.
func (k known) replaces() bool {
	if k.pending {
		return !k.seen.old.Empty()
	}
	return k.run.Base > 0
}

// reverts reports whether the run was begun to put the managed value back.
func (k known) reverts() bool { return k.run.Trigger.Kind == Reverted }

// waives reports whether a person waived this.
func (k known) waives(kind, name string) bool {
	return slices.ContainsFunc(k.run.Waived, journal.Waiver{Kind: kind, Name: name}.Same)
}

// required are those without proof whose proof nobody waived.
func (k known) required(missing []missingProof) []missingProof {
	return slices.DeleteFunc(slices.Clone(missing), func(l missingProof) bool { return k.waives(journal.WaivedConsumer, l.consumer.Name()) })
}

// waivesProof reports whether a person waived the proof of any consumer.
func (k known) waivesProof() bool {
	return slices.ContainsFunc(k.run.Waived, func(w journal.Waiver) bool { return w.Kind == journal.WaivedConsumer })
}
