// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	s    Subject
	kind upstream.Kind
	// document is the secret's; entry and run are its parts.
	document *journal.Held
	entry    *journal.Entry
	run      *journal.Run
	p        *progress
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

// until waits for a time that is known. It is shown as the second in which it has passed: each look works it out anew.
func (a *attempt) until(code reason.Code, args reason.Args, after time.Duration) *pause {
	ends := a.Now().Add(after + time.Second - 1).Truncate(time.Second)
	return &pause{reason: reason.New(code, args).Till(ends), after: after}
}

// wait looks again by and by.
func (a *attempt) wait(code reason.Code, args reason.Args) *pause {
	return a.waitFor(reason.New(code, args))
}

func (a *attempt) waitFor(why reason.Reason) *pause {
	return &pause{reason: why, after: a.backoff()}
}

// stuck waits for what the upstream did not do, for as long as it says that asking again makes no sense. People are told:
// a limit that does not end may be theirs to lift.
func (a *attempt) stuck(code reason.Code, err error) *pause {
	stop := a.wait(code, nil)
	switch {
	case errors.Is(err, errLockoutPause):
		stop.reason = reason.New(reason.LockoutPause, nil)
	case errors.Is(err, outward.ErrBusy):
		stop.reason = reason.New(reason.CallsBusy, nil)
	case errors.Is(err, outward.ErrChanged):
		stop.reason = reason.New(reason.EstateChanged, nil)
	case err != nil:
		stop.reason = stop.reason.Because(a.s.Explained(err))
	}
	if later, says := errors.AsType[*upstream.Later](err); says {
		stop.after = max(stop.after, later.After)
	}
	return stop
}

// backoff grows from a tenth of a second to a minute while a run keeps waiting at one step.
func (a *attempt) backoff() time.Duration {
	after := min(time.Minute, 100*time.Millisecond<<min(a.p.polls, 10))
	a.p.polls++
	return after
}

func (a *attempt) reach(step journal.Step) {
	a.p.at, a.p.polls = step, 0
	a.observe(step)
}

func (a *attempt) observe(step journal.Step) {
	if a.Observe != nil {
		a.Observe(a.s.Secret, a.run.ID, step, false)
	}
}

// save stores the document with what this turn changed.
func (a *attempt) save(ctx context.Context) error { return a.Journal.SaveHeld(ctx, a.document) }

// forward takes steps until the run is closed (nil, nil) or waits.
func (a *attempt) forward(ctx context.Context) (*pause, error) {
	if overtaken := a.overtaken(); overtaken || a.p.at == "" || a.run.Step == journal.Undoing {
		a.p.fresh = a.p.fresh && !overtaken
		if err := a.resume(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.audit(ctx, journal.Planned, ""); err != nil {
		return nil, err
	}
	if err := errors.Join(a.recordSupply(ctx), a.recordCompromise(ctx), a.recordDecision(ctx)); err != nil {
		return nil, err
	}
	for a.entry.Live != nil {
		if a.Stopping != nil && a.Stopping() {
			return &pause{reason: reason.New(reason.CustodyStopping, nil), after: time.Minute}, nil
		}
		var stop *pause
		var err error
		switch a.p.at {
		case journal.Planned:
			stop, err = a.stage(ctx)
		case journal.Staged:
			stop, err = a.apply(ctx)
		case journal.Applied:
			stop, err = a.verify(ctx)
		case journal.Verified:
			stop, err = a.promote(ctx)
		case journal.Promoted:
			stop, err = a.deliver(ctx)
		case journal.Delivered:
			stop, err = a.revoke(ctx)
		case journal.Revoked:
			stop, err = a.complete(ctx)
		case journal.Undoing:
			stop, err = a.undo(ctx)
		default:
			err = fmt.Errorf("resuming run %s: unknown step %q", a.run.ID, a.p.at)
		}
		if err != nil || stop != nil {
			return stop, err
		}
	}
	return nil, nil
}

// overtaken reports whether the journal knows of a step that this process has not come to: another engine took it, or a write
// of this one came through without an answer. What this process remembers must not take the run back to before that.
func (a *attempt) overtaken() bool {
	beyond := []journal.Step{journal.Promoted, journal.Delivered}
	switch a.p.at {
	case journal.Planned:
		return a.run.Step != journal.Planned
	case journal.Staged, journal.Applied:
		beyond = append(beyond, journal.Verified)
	case journal.Verified:
	default:
		return false
	}
	return slices.Contains(beyond, a.run.Step)
}

// resume asks the parts how far the run came.
func (a *attempt) resume(ctx context.Context) error {
	a.p.over = a.run.Over
	switch a.run.Step {
	case journal.Planned, journal.Undoing:
		a.p.at = a.run.Step
	case journal.Delivered:
		a.p.at = journal.Delivered
	default:
		promoted, err := a.promoted(ctx, a.s.Path, a.run)
		if err != nil {
			return err
		}
		switch {
		case promoted:
			a.p.at = journal.Promoted
		case a.run.Step == journal.Staged, a.run.Step == journal.Applied:
			a.p.at = journal.Staged
		default:
			a.p.at = journal.Verified
		}
	}
	if a.Observe != nil {
		a.Observe(a.s.Secret, a.run.ID, a.p.at, !a.p.begun)
	}
	a.p.begun = false
	return nil
}

// stage makes the candidate and journals it, with the old value, where no reader of the secret's path sees it.
func (a *attempt) stage(ctx context.Context) (*pause, error) {
	if a.s.Escrow != nil && a.run.Trigger.Kind != Supplied && !a.kind.Issues && !a.pending() {
		// The escrow keeps one candidate for each run: the journal has it first.
		if stop, err := a.ours(ctx); stop != nil || err != nil {
			return stop, err
		}
		if stop, err := a.candidate(ctx); stop != nil || err != nil {
			return stop, err
		}
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	if stop, err := a.prepare(ctx); stop != nil || err != nil {
		return stop, err
	}
	if err := a.save(ctx); err != nil {
		return nil, err
	}
	a.reach(journal.Staged)
	return nil, nil
}

// prepare makes all of the run's first step but the write.
func (a *attempt) prepare(ctx context.Context) (*pause, error) {
	if stop, err := a.ours(ctx); stop != nil || err != nil {
		return stop, err
	}
	if a.run.Trigger.Kind == Supplied && !a.pending() {
		return a.wait(reason.ValueToBeSupplied, reason.Args{"supply": a.s.Secret, "abort": string(a.run.ID)}), nil
	}
	if a.kind.Issues {
		old, err := a.base(ctx)
		if err != nil {
			return nil, err
		}
		if lister, lists := a.lister(); lists {
			if a.run.Before, err = a.list(ctx, lister); err != nil {
				return a.stuck(reason.CredentialsNotListed, err), nil
			}
		}
		a.p.old, a.p.fresh = old, true
		a.staged()
		return nil, nil
	}
	if !a.pending() {
		if stop, err := a.candidate(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	if err := a.escrow(ctx); err != nil {
		return nil, err
	}
	digest, err := a.digest(ctx, a.p.candidate)
	if err != nil {
		return nil, err
	}
	a.run.Digest = digest
	a.p.fresh = a.run.Trigger.Kind != Supplied // what a person handed in is there already
	a.staged()
	return nil, nil
}

// candidate has the upstream propose one.
func (a *attempt) candidate(ctx context.Context) (*pause, error) {
	old, err := a.base(ctx)
	if err != nil {
		return nil, err
	}
	proposed, err := a.propose(ctx, old)
	if err != nil {
		return a.stuck(reason.CandidateNotProposed, err), nil
	}
	if consumer, err := a.s.unfit(proposed); err != nil {
		return a.waitFor(reason.New(reason.CandidateUnfit, reason.Args{"consumer": consumer}).Because(err.Error())), nil
	}
	if !a.entry.Onboarded && a.kind.Verifies { // and again before it counts, see onboarded
		if stop := a.refuses(ctx, proposed); stop != nil {
			return stop, nil
		}
	}
	a.storePending(old, proposed)
	return nil, nil
}

// staged notes that calls may change the account from now on.
func (a *attempt) staged() {
	a.run.Step, a.run.Turn, a.run.CallBy = journal.Staged, a.NewRun(), a.Now().Add(a.kind.CallDeadline)
	a.entry.Changes(a.run.ID)
}

// escrow deposits the candidate of an admin credential outside the authority, before anything depends on it.
func (a *attempt) escrow(ctx context.Context) error {
	if a.s.Escrow == nil {
		return nil
	}
	call := outward.Call{Part: "escrow of " + string(a.s.Path), Limit: askTimeout}
	if _, err := outward.Do(ctx, a.Calls, call, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.s.Escrow.Deposit(ctx, a.s.Path, a.run.ID, a.p.candidate)
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

// refuses shows that verifying means something here: a credential the upstream was never given must be refused.
func (a *attempt) refuses(ctx context.Context, never secret.Value) *pause {
	switch verdict, err := a.ask(ctx, never); verdict {
	case upstream.Refused:
		return nil
	case upstream.Accepted:
		return a.wait(reason.DecoyAccepted, nil)
	default:
		return a.stuck(reason.DecoyUndecided, err)
	}
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
		a.run.CallBy = a.p.prior
		return answer, fmt.Errorf("%w: the call's deadline passed before it began", upstream.ErrNotApplied)
	}
	answer, err = outward.Run(ctx, turn, left, fn)
	if definite(err) {
		a.p.settled = a.run.CallBy
		a.run.CallBy = a.p.prior // this call can land no more; saved with the next step
	} else {
		a.p.prior = a.run.CallBy
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
	if a.p.recorded[step] {
		return nil
	}
	if err := a.Record.Append(ctx, a.event(step, detail)); err != nil {
		return fmt.Errorf("recording step %s of run %s: %w", step, a.run.ID, err)
	}
	a.p.recorded[step] = true
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
	if !a.p.waiting.Reason.Same(stop.reason) {
		a.p.waiting = journal.Waiting{Reason: stop.reason, Since: now, Uses: stop.uses}
	}
	if now.Sub(a.p.waiting.Since) < tellAfter && len(stop.uses) == 0 || (a.run.Waiting != nil && a.run.Waiting.Reason.Same(stop.reason)) {
		return nil
	}
	waiting := a.p.waiting
	a.run.Waiting = &waiting
	if a.p.at == journal.Promoted {
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
	a.p.old, a.p.candidate = old, candidate
}

// pending reports whether the run has its candidate.
func (a *attempt) pending() bool {
	values := a.document.Pending
	if values == nil || values.Run != a.run.ID {
		return false
	}
	a.p.old, a.p.candidate = values.Old, values.Candidate
	return true
}

func (a *attempt) digest(ctx context.Context, v secret.Value) ([]byte, error) {
	key, err := a.Authority.DigestKey(ctx, a.s.Path)
	if err != nil {
		return nil, err
	}
	return v.Digest(key), nil
}
