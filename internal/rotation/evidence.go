// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// stepNewRefused records that the upstream refuses what it accepted before, and what consumers have by now.
	stepNewRefused journal.Step = "new-refused"
	// promoteWithin is how long after its upstream accepted it a candidate is promoted, and consumers are handed it, without
	// asking again.
	promoteWithin = time.Minute
)

// evidence is what this process knows of a run beyond its journal. All of it can be lost at any moment: what a process that has just
// started does instead is in TestForgetting.
type evidence struct {
	at   journal.Step      // "" until the parts were asked
	over authority.Version // the run's when they were; see journal.Run.Over
	// begun: this process planned the run and has not looked at it yet.
	begun bool
	// prior: calls of which no reply was seen may land until then.
	prior time.Time
	// settled is the journaled deadline that prior has in it already: of a call whose reply this process saw, or one that
	// a clock ahead of time wrote.
	settled time.Time
	// fresh: no call to apply can have been made before this process's own.
	fresh bool
	// old and candidate are the run's values, as they were read last. issued is what the upstream made and the journal has not kept yet.
	old, candidate, issued secret.Value
	applied                time.Time           // when the candidate was applied, or found to be
	proven                 time.Time           // when the last proof was in
	undated                bool                // the wall clock could not be believed when it was asked last
	dated                  time.Time           // since when it can be again
	delivered              time.Time           // last delivery to consumers without proof
	accepted               time.Time           // when the upstream accepted the promoted value last, before a delivery or while the run waited
	watch                  time.Time           // when it may be tried again, after a sign-in that decided nothing
	lost                   time.Time           // when the upstream was first found to refuse a candidate that it had accepted
	polls                  int                 // how often the run waited at its step
	unsaid                 int                 // how often the upstream could not say whether the candidate was applied
	attempts               int                 // calls to apply that may have had an effect, or that the upstream answered with an error
	released               bool                // the leader of its group was taken back
	waiting                journal.Waiting     // what the run waits for, and since when
	familiar               bool                // the account's marker names no stranger
	revoked                time.Time           // when this process's call to revoke succeeded
	takenOff               time.Time           // when this process's call to take the candidate off ended
	ended                  []authority.Version // of a retirement, those that the upstream was seen to refuse
	recorded               map[journal.Step]bool
	older                  int       // how many of those that a superseded run had not revoked are refused
	olderRevoked           time.Time // when this process's call to revoke the next of them succeeded

	turn
}

// newEvidence is what a process knows that has just started.
func newEvidence(run *journal.Run) *evidence {
	return &evidence{prior: run.CallBy, recorded: map[journal.Step]bool{}}
}

// turn is what one turn has done and learnt. The next turn begins without it: it asks again.
type turn struct {
	// resumed: the parts were asked how far the run came. noted: its beginning is on record.
	resumed, noted bool
	// here is what was done and learnt since the run came to its step.
	here answers
}

// answer is how a sign-in was answered.
type answer struct {
	verdict upstream.Verdict // "" until it was tried
	err     error            // why it is Unknown
}

func (a answer) asked() bool { return a.verdict != "" }

// answers are what was done and learnt in this turn, at the step that the run is at.
type answers struct {
	begun bool // anything was

	// Of what must be so before the account is changed.
	familiar  bool // its marker names no stranger
	based     bool // the old value was read
	reclaimed bool // nothing is left of a call whose reply was lost
	fenced    bool // no such call can land any more
	grouped   bool // the candidates of the other members that come first work
	roomy     bool // there is room for another credential
	joined    bool // the group goes forward

	// Of the candidate.
	listed     bool         // what exists was listed
	unlisted   error        // why it was not
	proposed   bool         // the upstream was asked to propose one
	proposal   secret.Value // what it proposed
	unproposed error        // why it proposed none
	unfitFor   string       // the first consumer that it can never be delivered to
	unfit      error        // why it, or what was issued, can never be used
	decoy      answer       // to a credential that the upstream was never given
	undecoyed  error        // why there is none
	journaled  bool         // the journal has it
	deposited  bool         // the escrow has it
	candidate  answer       // to the candidate
	called     error        // why the call that changes something upstream failed

	// Of the promoted value.
	read     bool                 // what stands at the secret's path was read
	value    *authority.Versioned // nil for nothing
	again    bool                 // it was read again, before anything is revoked
	honoured answer               // to it
	last     answer               // to it, right before anything is revoked
	watched  answer               // to it, while the run waits for anything else
	proved   bool                 // every consumer was asked
	missing  []missingProof       // those that did not prove it
	handed   bool                 // it was delivered to those that were owed it
	faults   map[string]error     // the deliveries that failed, by consumer

	// Of the old credential.
	old    answer         // to it, before it is revoked
	after  answer         // to it, after that
	clock  int            // how often the wall clock was asked about
	jumped string         // why it cannot be believed
	used   bool           // the upstream was asked who uses the old one
	uses   []upstream.Use // what it told
	unused error          // why it told nothing
	gone   answer         // to the old one, where it told nothing
	ended  bool           // all else that a compromised credential opens is ended
}

func (e *Engine) remember(run *journal.Run) *evidence {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.runs[run.ID]; e.touched[run.ID] || p != nil && p.over != run.Over { // another process may have decided
		delete(e.touched, run.ID)
		e.discard(run.ID)
	}
	p := e.runs[run.ID]
	if p == nil {
		p = newEvidence(run)
		e.runs[run.ID] = p
	}
	if run.CallBy.After(p.prior) && !run.CallBy.Equal(p.settled) {
		p.prior = run.CallBy // another process's call
	}
	return p
}

// doubt forgets all but what nobody else knows.
func (e *Engine) doubt(run authority.RunID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.discard(run)
}

// touch has the next look at a run, which may be another goroutine's, ask the parts again.
func (e *Engine) touch(run authority.RunID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.touched[run] = true
}

func (e *Engine) discard(run authority.RunID) {
	if p := e.runs[run]; p != nil && !p.issued.Empty() {
		e.runs[run] = &evidence{prior: p.prior, settled: p.settled, issued: p.issued, recorded: map[journal.Step]bool{}}
		return
	}
	delete(e.runs, run)
}

func (e *Engine) forget(run authority.RunID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runs, run)
	delete(e.touched, run)
}
