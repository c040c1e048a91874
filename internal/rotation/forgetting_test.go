// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
)

// asking are the actions that change nothing outside: they ask, record what is so, or look again later.
var asking = []action{
	wait, resume, recordBegin, checkMarker, listExisting, propose, readBase, awaitCalls, reclaim, recordStaged, recordApplied, tryCandidate,
	noteApplied, recordPromoted, readValue, readAgain, askConsumers, tryValue, watchValue, proveAgain, tryOld, tryRevoked, checkClock,
	askUses, recordOverlap, recordUsed,
}

// TestForgetting lists what a process forgets of a run when it ends, and what the next one does instead. Each forgetting is safe: what
// follows asks again, and neither revokes, nor applies, nor promotes on what was forgotten.
func TestForgetting(t *testing.T) {
	rows := map[string]struct {
		at        known  // the run, with the evidence
		remembers action // what follows of it
		forgets   func(*evidence)
		asks      action // what follows without it
	}{
		"at":    {at(journal.Delivered, journal.Verified, seen(newTurn)), recordBegin, func(e *evidence) { e.at = "" }, resume},
		"turn":  {at(journal.Delivered, journal.Delivered, read, honoured, knows(func(h *answers) { h.old = no })), revoke, func(e *evidence) { e.turn = turn{resumed: true, noted: true} }, readValue},
		"fresh": {at(journal.Staged, journal.Staged, fresh), apply, func(e *evidence) { e.fresh = false }, tryCandidate},
		"applied": { // resume takes the run back to staged
			at(journal.Staged, journal.Staged, candidate(yes), recordedAs(journal.Applied), settles), noteApplied, func(e *evidence) { e.applied = time.Time{} }, noteApplied,
		},
		"proven":    {at(journal.Delivered, journal.Verified, quietly), revoke, func(e *evidence) { e.proven = time.Time{} }, proveAgain},
		"delivered": {at(journal.Promoted, journal.Verified, read, missing(lacks), disturbed), wait, func(e *evidence) { e.delivered = time.Time{} }, tryValue},
		"accepted":  {at(journal.Promoted, journal.Verified, read, missing(lacks), watched), deliver, func(e *evidence) { e.accepted = time.Time{} }, tryValue},
		"watch":     {at(journal.Promoted, journal.Verified, handed(lacks), watches, seen(func(e *evidence) { e.watch = now.Add(time.Hour) })), wait, func(e *evidence) { e.watch = time.Time{} }, watchValue},
		"unsaid":    {at(journal.Staged, journal.Staged, candidate(perhaps), seen(func(e *evidence) { e.unsaid = unknownPolls + 1 })), apply, func(e *evidence) { e.unsaid = 0 }, wait},
		"attempts":  {at(journal.Staged, journal.Staged, called(errDown), seen(func(e *evidence) { e.attempts = applyAttempts })), takeBack, func(e *evidence) { e.attempts = 0 }, wait},
		"lost":      {at(journal.Verified, journal.Verified, ahead, seen(func(e *evidence) { e.lost = now.Add(-time.Hour) })), tryCandidate, func(e *evidence) { e.lost = time.Time{} }, tryCandidate},
		"revoked":   {at(journal.Delivered, journal.Delivered, revokedBefore), tryRevoked, func(e *evidence) { e.revoked = time.Time{} }, readValue},
		"recorded":  {at(journal.Promoted, journal.Verified, read), askConsumers, func(e *evidence) { e.recorded = nil }, recordPromoted},
		"dated":     {at(journal.Delivered, journal.Verified, quietly, witnessed, seen(func(e *evidence) { e.dated = now })), wait, func(e *evidence) { e.dated, e.proven = time.Time{}, time.Time{} }, proveAgain},
		"issued":    {at(journal.Staged, journal.Staged, issuing, based, issued), awaitCalls, func(e *evidence) { e.issued = secret.Value{} }, reclaim},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if got := decide(row.at).do; got != row.remembers {
				t.Errorf("with it, the run goes on to %q, want %q", got, row.remembers)
			}
			row.forgets(row.at.seen)
			if got := decide(row.at).do; got != row.asks || !slices.Contains(asking, got) {
				t.Errorf("without it, the run goes on to %q, want %q, which asks", got, row.asks)
			}
		})
	}
	// These decide nothing by themselves. prior and settled are journaled in time, old and candidate in the document.
	others := map[string]string{
		"over": "read with at", "begun": "only shown", "prior": "the deadline in the journal", "settled": "the deadline in the journal",
		"old": "the document", "candidate": "the document", "undated": "the clock is asked again", "polls": "only the back-off",
		"released": "the leader is asked again", "waiting": "only shown", "familiar": "the marker is read again",
		"takenOff": "of undo: it is taken off again", "ended": "of a retirement: each is asked for again",
		"older": "each is asked for again", "olderRevoked": "it is revoked again",
	}
	for field := range reflect.TypeFor[evidence]().Fields() {
		_, listed := rows[field.Name]
		if why := others[field.Name]; listed == (why != "") {
			t.Errorf("the table says nothing of %s, or two things", field.Name)
		}
	}
}

func newTurn(e *evidence) { e.turn = turn{} }

// TestRestart: whatever a run has come to, a process that has just started asks before it changes anything outside.
func TestRestart(t *testing.T) {
	for _, step := range []journal.Step{journal.Planned, journal.Staged, journal.Applied, journal.Verified, journal.Promoted, journal.Delivered} {
		for name, change := range map[string]change{"dual": func(*known) {}, "overwrite": overwrites, "issued": issues, "group": grouped, "compromise": broken} {
			k := at("", step, change)
			k.seen = newEvidence(k.run)
			if got := decide(k).do; got != resume {
				t.Errorf("%s at %s: a process that has just started goes on to %q", name, step, got)
			}
			for _, resumed := range []journal.Step{journal.Staged, journal.Verified, journal.Promoted, journal.Delivered} {
				k.seen = newEvidence(k.run)
				k.seen.at, k.seen.resumed, k.seen.noted = resumed, true, true
				k.seen.recorded[journal.Staged] = true
				if got := decide(k).do; !slices.Contains(asking, got) && got != noteIssued {
					t.Errorf("%s at %s, resumed at %s: it goes on to %q, which asks nobody", name, step, resumed, got)
				}
			}
		}
	}
}
