// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// tellAfter is how long a run waits before its reason is journaled for others to read.
	tellAfter = 10 * time.Second
	// applyAttempts is how often one run applies the same candidate, with an answer that is an error or with none, before it is
	// taken back.
	applyAttempts = 8
)

// attempt is one process's turn at one run.
type attempt struct {
	*Engine
	known
	s Subject
	// document is the secret's; entry and run are its parts.
	document *journal.Held
	entry    *journal.Entry
	// version is the one that the run promoted, once this turn has seen it.
	version *authority.VersionID
	// choice is what a person decides about somebody else's write, "" where that is not what the attempt is for.
	choice string
}

// errLockoutPause is why no sign-in is tried that may be refused, until enough time has passed since the last.
var errLockoutPause = errors.New("one more wrong sign-in could lock the account out")

// pause stops a turn: the run waits.
type pause struct {
	reason reason.Reason
	after  time.Duration
	uses   []string
}

// pause is what a wait is for this turn: people are told of an upstream that does not do what it is asked, as a limit that does not
// end may be theirs to lift, and it is asked again when it says that this makes sense.
func (a *attempt) pause(next move) *pause {
	stop := &pause{reason: next.why, after: next.in, uses: next.uses}
	if next.in == 0 {
		stop.after = a.backoff()
	}
	switch err := next.cause; {
	case errors.Is(err, errLockoutPause):
		stop.reason = reason.New(reason.LockoutPause, nil)
	case errors.Is(err, outward.ErrBusy):
		stop.reason = reason.New(reason.CallsBusy, nil)
	case errors.Is(err, outward.ErrChanged):
		stop.reason = reason.New(reason.EstateChanged, nil)
	case err != nil:
		stop.reason = stop.reason.Because(a.s.Explained(err))
	}
	if later, says := errors.AsType[*upstream.Later](next.cause); says {
		stop.after = max(stop.after, later.After)
	}
	if stop.after = max(stop.after, next.least); next.most > 0 {
		stop.after = min(stop.after, next.most)
	}
	return stop
}

// until waits for a time that is known.
func (a *attempt) until(code reason.Code, args reason.Args, after time.Duration) *pause {
	a.now = a.Now()
	return a.pause(a.known.until(code, args, after))
}

// wait looks again by and by.
func (a *attempt) wait(code reason.Code, args reason.Args) *pause { return a.pause(waits(code, args)) }

func (a *attempt) waitFor(why reason.Reason) *pause { return a.pause(move{do: wait, why: why}) }

// stuck waits for what the upstream did not do.
func (a *attempt) stuck(code reason.Code, err error) *pause { return a.pause(undecided(code, err)) }

// backoff grows from a tenth of a second to a minute while a run keeps waiting at one step.
func (a *attempt) backoff() time.Duration {
	after := min(time.Minute, 100*time.Millisecond<<min(a.seen.polls, 10))
	a.seen.polls++
	return after
}

func (a *attempt) reach(step journal.Step) {
	a.seen.at, a.seen.polls, a.seen.here = step, 0, answers{}
	a.observe(step)
}

func (a *attempt) observe(step journal.Step) {
	if a.Observe != nil {
		a.Observe(a.s.Secret, a.run.ID, step, false)
	}
}

// save stores the document with what this turn changed.
func (a *attempt) save(ctx context.Context) error { return a.Journal.SaveHeld(ctx, a.document) }

// forward takes the run as far as it goes now: until it is closed (nil, nil) or waits. decide says what comes next, do does it and adds
// what came of it to the evidence, and decide is asked again.
func (a *attempt) forward(ctx context.Context) (*pause, error) {
	a.seen.turn = turn{}
	for a.entry.Live != nil {
		a.look()
		stop, err := a.do(ctx, decide(a.known))
		if stop != nil || err != nil {
			return stop, err
		}
	}
	return nil, nil
}

// look brings the circumstances up to date.
func (a *attempt) look() {
	a.now, a.pending, a.locked, a.onboarded = a.Now(), a.values(), a.lockOut(), a.entry.Onboarded
	a.more = a.pending && len(a.document.Pending.Replaced) > 0
	if a.seen.noted && !a.seen.here.begun {
		a.stopping = a.Stopping != nil && a.Stopping()
	}
}

// resume asks the parts how far the run came.
func (a *attempt) resume(ctx context.Context) error {
	a.seen.fresh = a.seen.fresh && !a.overtaken()
	a.seen.over, a.seen.resumed = a.run.Over, true
	switch a.run.Step {
	case journal.Planned, journal.Undoing:
		a.seen.at = a.run.Step
	case journal.Delivered:
		a.seen.at = journal.Delivered
	default:
		promoted, err := a.hasPromoted(ctx, a.s.Path, a.run)
		if err != nil {
			return err
		}
		switch {
		case promoted:
			a.seen.at = journal.Promoted
		case a.run.Step == journal.Staged, a.run.Step == journal.Applied:
			a.seen.at = journal.Staged
		default:
			a.seen.at = journal.Verified
		}
	}
	if a.Observe != nil {
		a.Observe(a.s.Secret, a.run.ID, a.seen.at, !a.seen.begun)
	}
	a.seen.begun = false
	return nil
}

// prepare does all of the run's first step but what journals it.
func (a *attempt) prepare(ctx context.Context) (*pause, error) {
	for {
		a.look()
		next := a.known.planned()
		if next.do == stage {
			return nil, a.fill(ctx)
		}
		if stop, err := a.do(ctx, next); stop != nil || err != nil {
			return stop, err
		}
	}
}

// stage journals that calls may change the account from now on.
func (a *attempt) stage(ctx context.Context) error {
	if err := a.fill(ctx); err != nil {
		return err
	}
	if err := a.save(ctx); err != nil {
		return err
	}
	a.reach(journal.Staged)
	return nil
}

// fill notes what is journaled when a run is staged.
func (a *attempt) fill(ctx context.Context) error {
	if !a.kind.Issues {
		digest, err := a.digest(ctx, a.seen.candidate)
		if err != nil {
			return err
		}
		a.run.Digest = digest
	}
	a.seen.fresh = a.kind.Issues || a.run.Trigger.Kind != Supplied // what a person handed in is there already
	a.run.Step, a.run.Turn, a.run.CallBy = journal.Staged, a.NewRun(), a.Now().Add(a.kind.CallDeadline)
	a.entry.Changes(a.run.ID)
	return nil
}

// listExisting has the upstream list what exists before it issues a credential, where that is all that it can tell later.
func (a *attempt) listExisting(ctx context.Context) error {
	h := &a.seen.here
	old, err := a.base(ctx)
	if err != nil {
		return err
	}
	if lister, lists := a.lister(); lists {
		if a.run.Before, h.unlisted = a.list(ctx, lister); h.unlisted != nil {
			return nil
		}
	}
	a.seen.old, h.listed = old, true
	return nil
}

// proposeNext has the upstream propose a candidate.
func (a *attempt) proposeNext(ctx context.Context) (err error) {
	h := &a.seen.here
	if a.seen.old, err = a.base(ctx); err != nil {
		return err
	}
	h.proposed = true
	if h.proposal, h.unproposed = a.propose(ctx, a.seen.old); h.unproposed == nil {
		h.unfitFor, h.unfit = a.s.unfit(h.proposal)
	}
	return nil
}

// escrow deposits the candidate of an admin credential outside the authority, before anything depends on it.
func (a *attempt) escrow(ctx context.Context) error {
	if a.s.Escrow == nil {
		return nil
	}
	call := outward.Call{Part: "escrow of " + string(a.s.Path), Limit: askTimeout}
	if _, err := outward.Do(ctx, a.Calls, call, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.s.Escrow.Deposit(ctx, a.s.Path, a.run.ID, a.seen.candidate)
	}); err != nil {
		return fmt.Errorf("depositing the admin candidate in escrow: %w", err)
	}
	return nil
}

func (a *attempt) propose(ctx context.Context, old secret.Value) (secret.Value, error) {
	proposed, err := outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) (secret.Value, error) {
		return a.s.Upstream.Propose(ctx, old)
	})
	if err != nil {
		return secret.Value{}, err
	}
	return proposed, proposed.Fits()
}

// ask signs in with v. Where wrong sign-ins lock an account out, the next sign-in waits for WrongEvery after a refused
// one.
func (a *attempt) ask(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	if left := a.lockOut(); left > 0 {
		return upstream.Unknown, &upstream.Later{After: left, Err: errLockoutPause}
	}
	verdict, err := a.signIn(ctx, a.s, v, a.rank())
	if verdict == upstream.Refused || outward.GoesOn(err) { // or it may be refused yet
		a.mu.Lock()
		a.wrong[a.s.Path] = a.Now()
		a.mu.Unlock()
	}
	if verdict == upstream.Accepted || verdict == upstream.Refused {
		return verdict, nil
	}
	return upstream.Unknown, err
}

// lockOut is how long no sign-in may be refused yet. It is never longer than WrongEvery, however the clock was set.
func (a *attempt) lockOut() time.Duration {
	if a.kind.WrongEvery == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, seen := a.wrong[a.s.Path]
	if !seen {
		last = a.began
	}
	return min(a.kind.WrongEvery, last.Add(a.kind.WrongEvery).Sub(a.Now()))
}

// call runs fn, which may change something upstream, under a deadline that the journal already holds, and keeps count
// of which calls may still land. It waits for its turn first: that takes nothing of the deadline.
func call[T any](ctx context.Context, a *attempt, fn func(context.Context) (T, error)) (answer T, err error) {
	if err := a.familiar(ctx); err != nil {
		return answer, err
	}
	turn, err := a.Calls.Enter(ctx, a.outside(0))
	if err != nil {
		return answer, fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
	}
	defer turn.Leave()
	left := a.run.CallBy.Sub(a.Now())
	if left < a.kind.CallDeadline/2 || left > a.kind.CallDeadline { // too little, or of a clock that was set back since
		a.run.CallBy = a.Now().Add(a.kind.CallDeadline)
		if err := a.save(ctx); err != nil {
			return answer, err
		}
		left = a.run.CallBy.Sub(a.Now()) // the write may have taken long
	}
	if left <= 0 {
		a.run.CallBy = a.seen.prior
		return answer, fmt.Errorf("%w: the call's deadline passed before it began", upstream.ErrNotApplied)
	}
	answer, err = outward.Run(ctx, turn, left, fn)
	if definite(err) {
		a.seen.settled = a.run.CallBy
		a.run.CallBy = a.seen.prior // this call can land no more; saved with the next step
	} else {
		a.seen.prior = a.run.CallBy
	}
	return answer, err
}

// change is call for what returns an error alone.
func (a *attempt) change(ctx context.Context, fn func(context.Context) error) error {
	_, err := call(ctx, a, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

func definite(err error) bool {
	return err == nil || errors.Is(err, upstream.ErrRefusedCandidate) || errors.Is(err, upstream.ErrNotApplied) || errors.Is(err, upstream.ErrSuperseded)
}

// base returns the value that the candidate follows, empty at first issue.
func (a *attempt) base(ctx context.Context) (secret.Value, error) {
	if a.run.Base == 0 {
		return secret.Value{}, nil
	}
	held, err := a.Authority.ReadVersion(ctx, a.s.Path, a.run.Base)
	return held.Value, err
}

// audit records a transition. It is idempotent by run and step, so what another process recorded may be repeated.
func (a *attempt) audit(ctx context.Context, step journal.Step, detail string) error {
	if a.seen.recorded[step] {
		return nil
	}
	if err := a.Record.Append(ctx, a.event(step, detail)); err != nil {
		return fmt.Errorf("recording step %s of run %s: %w", step, a.run.ID, err)
	}
	a.seen.recorded[step] = true
	return nil
}

// event is one of the run's, about the version that it promoted once there is one.
func (a *attempt) event(step journal.Step, detail string) audit.Event {
	event := audit.Event{
		Run: a.run.ID, Step: string(step), Workflow: audit.Workflow(a.run.Workflow), Secret: a.s.Secret, Path: a.s.Path,
		By: a.run.Trigger.By, Reason: a.run.Trigger.Reason, Result: audit.OK, Detail: detail, At: a.Now(),
	}
	switch step {
	case journal.Planned, journal.Staged, journal.Applied, journal.Verified:
	default:
		event.Version = a.version
	}
	if a.run.Step == journal.Undoing {
		event.Result = audit.Failed
	}
	return event
}

// tell journals what a run waits for once it has waited for long.
func (a *attempt) tell(ctx context.Context, stop *pause) error {
	now := a.Now()
	if !a.seen.waiting.Reason.Same(stop.reason) {
		a.seen.waiting = journal.Waiting{Reason: stop.reason, Since: now, Uses: stop.uses}
	}
	if now.Sub(a.seen.waiting.Since) < tellAfter && len(stop.uses) == 0 || (a.run.Waiting != nil && a.run.Waiting.Reason.Same(stop.reason)) {
		return nil
	}
	waiting := a.seen.waiting
	a.run.Waiting = &waiting
	if a.seen.at == journal.Promoted {
		a.run.Step = journal.Promoted
	}
	return a.save(ctx)
}

// Note journals what the live rotation of s waits for, though it has not waited for long: whoever asks once this process has
// ended knows it from nowhere else. It changes nothing where none is live, or where the journal says the same.
func (e *Engine) Note(ctx context.Context, s Subject, why reason.Reason) error {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return err
	}
	run := held.Live
	if run == nil || run.Workflow != journal.Rotation || run.Waiting != nil && run.Waiting.Reason.Same(why) {
		return nil
	}
	run.Waiting = &journal.Waiting{Reason: why, Since: e.Now()}
	return e.Journal.SaveHeld(ctx, held)
}

// storePending puts the candidate and the old value into the document of the run. The next save writes them.
func (a *attempt) storePending(old, candidate secret.Value) {
	var replaced []secret.Value
	if before := a.document.Pending; before != nil && before.Run == a.run.ID {
		replaced = before.Replaced
	}
	a.document.Pending = &journal.Pending{Run: a.run.ID, Old: old, Candidate: candidate, Replaced: replaced}
	a.seen.old, a.seen.candidate = old, candidate
}

// values reads the run's values from its document, and reports whether they are there.
func (a *attempt) values() bool {
	values := a.document.Pending
	if values == nil || values.Run != a.run.ID {
		return false
	}
	a.seen.old, a.seen.candidate = values.Old, values.Candidate
	return true
}

func (a *attempt) digest(ctx context.Context, v secret.Value) ([]byte, error) {
	key, err := a.Authority.DigestKey(ctx, a.s.Path)
	if err != nil {
		return nil, err
	}
	return v.Digest(key), nil
}
