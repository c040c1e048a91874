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
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// retryCompromised is the most that lies between two attempts to replace a compromised credential.
	retryCompromised = 5 * time.Minute

	stepCompromised journal.Step = "compromised"
	stepSuperseded  journal.Step = "superseded"
	stepSessions    journal.Step = "sessions-ended"
	stepSessionsOn  journal.Step = "sessions-left"
)

// portion of the policy's time after which consumers are broken.
type portion time.Duration

const (
	whole portion = 1
	// half: what a superseded run had not revoked ends then at the latest, where another credential needs its place. The other
	// half is left to consumers for the new one.
	half portion = 2
)

// compromised makes run one that replaces a compromised credential, where its trigger says so.
func compromised(run *journal.Run, trigger journal.Trigger) {
	if trigger.Kind != journal.Compromised {
		return
	}
	run.Compromise = &journal.Compromise{At: trigger.At, By: trigger.By, Reason: trigger.Reason}
	run.Policy.RevokeOld = true
}

// Compromised has a live run serve the report of a compromise, whose trigger is why, and changes nothing where it does already:
//
//   - One that has promoted nothing yet replaces the credential anyway. It takes the requests, unless it is about to promote, and is bound
//     by onCompromise of the policy from now on. If it waits for a value that a person was to hand in, it is taken back.
//   - One that has promoted is superseded by a run of its own, which replaces what that promoted, and revokes what that had not.
//   - One of a group goes on, bound by onCompromise, and so does one that replaces a compromised credential already: what it made may
//     be what was reported, so the requests stay open for the next run.
//   - A retirement goes on without its grace. The requests are closed with it.
//
// ErrNotNow: a call of the run may still land, or another engine was quicker.
func (e *Engine) Compromised(ctx context.Context, s Subject, why journal.Trigger) error {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return err
	}
	run := held.Live
	if held.Retires() {
		return e.hasten(ctx, s, held, why)
	}
	if run == nil || run.Workflow != journal.Rotation || run.Step == journal.Undoing || includes(run.Trigger.Requests, why.Requests) {
		return nil
	}
	done := run.Step == journal.Promoted || run.Step == journal.Delivered
	verified := run.Step == journal.Verified
	if verified {
		if done, err = e.hasPromoted(ctx, s.Path, run); err != nil {
			return err
		}
	}
	switch {
	case done && (run.Compromise != nil || s.Upstream == nil):
		return nil // it revokes what was there before; what it made is for the next run
	case done && run.Group == "":
		return e.supersede(ctx, s, held, why)
	case !done && run.Trigger.Kind == Supplied && run.Step == journal.Planned && held.Pending == nil:
		run.Step, run.Undo = journal.Undoing, "the secret was reported as compromised before the value was handed in"
		return e.Journal.SaveHeld(ctx, held)
	}
	if run.Compromise == nil {
		run.Compromise = &journal.Compromise{At: why.At, By: why.By, Reason: why.Reason}
		run.Policy.RevokeOld, run.Policy.OnCompromise = true, s.Policy.OnCompromise
	}
	if !done && !verified { // what is verified may be promoted, and the read that did not show that behind
		taken := slices.Clone(run.Trigger.Requests)
		for _, id := range why.Requests {
			if !slices.Contains(taken, id) {
				taken = append(taken, id)
			}
		}
		run.Trigger.Requests = taken
	}
	run.Waiting = nil
	return e.Journal.SaveHeld(ctx, held)
}

func includes(all, some []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(all, one) })
}

// supersede ends the live run, which has promoted, and plans another over it, in one write.
func (e *Engine) supersede(ctx context.Context, s Subject, held *journal.Held, why journal.Trigger) error {
	was := held.Live
	kind := s.Upstream.Kind()
	if e.Ready(ctx, s) != nil {
		return s.refuse(reason.New(reason.UpstreamNotReady, nil), ErrNotNow)
	}
	if until := was.CallBy; !kind.Fences && e.Now().Before(until) {
		if longest := e.Now().Add(kind.CallDeadline); until.After(longest) { // the clock was set back
			until = longest
		}
		return s.refuse(reason.New(reason.LastRunCallPending, nil).Till(until), ErrNotNow)
	}
	record, err := e.Authority.Read(ctx, s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	if err != nil || record.ID.Run != was.ID || record.ID.Number != was.Follows()+1 {
		return nil // somebody else wrote; the run says so
	}
	entry := &held.Entry
	for _, id := range was.Trigger.Requests { // what asked for the run that is superseded is served by this one
		if !slices.Contains(why.Requests, id) {
			why.Requests = append(why.Requests, id)
		}
	}
	policy := s.Policy
	entry.Rename(s.Secret)
	entry.Policy = &policy
	entry.Rotated, entry.Current, entry.Retry, entry.Checked, entry.Recovery = record.Created, &record.ID, nil, nil, nil
	entry.Last = &journal.Outcome{
		Run: was.ID, Workflow: was.Workflow, Result: journal.ResultSuperseded, Trigger: was.Trigger, Forced: was.Forced, Waived: was.Waived,
		Detail: "superseded, because the secret was reported as compromised", Started: was.Started, Ended: e.Now(), Spent: e.undestroyed(entry),
	}
	run := &journal.Run{
		ID: e.NewRun(), Workflow: journal.Rotation, Step: journal.Planned, Trigger: why, Started: e.Now(), Policy: policy,
		Base: record.ID.Number, Supersedes: was.ID, Older: slices.Clone(was.Older),
	}
	compromised(run, why)
	for old := max(was.Base, 1); old <= was.Follows(); old++ {
		run.Older = append(run.Older, old)
	}
	entry.Live, held.Pending = run, nil
	if err := e.open(ctx, s, held); err != nil {
		return err
	}
	e.forget(was.ID)
	return nil
}

// recordCompromise puts on record that the run replaces a compromised credential, and the end of the run that it superseded.
func (a *attempt) recordCompromise(ctx context.Context) error {
	c := a.run.Compromise
	if c == nil {
		return nil
	}
	if was := a.run.Supersedes; was != "" && !a.seen.recorded[stepSuperseded] {
		err := a.Record.Append(ctx, audit.Event{
			Run: was, Step: string(stepSuperseded), Workflow: audit.Workflow(a.run.Workflow), Secret: a.s.Secret, Path: a.s.Path, By: c.By,
			Reason: c.Reason, Result: audit.OK, Detail: "the secret was reported as compromised: run " + string(a.run.ID) + " replaces what this one promoted, and revokes what it had not", At: a.Now(),
		})
		if err != nil {
			return fmt.Errorf("recording that run %s was superseded: %w", was, err)
		}
		a.seen.recorded[stepSuperseded] = true
	}
	return a.audit(ctx, stepCompromised, "reported by "+c.By+": "+c.Reason)
}

// breakConsumers goes on without the proofs that are missing, as the policy says. Each is recorded before it counts.
func (a *attempt) breakConsumers(ctx context.Context, missing []missingProof) error {
	c := a.run.Compromise
	by := "policy " + a.run.Policy.Name
	why := fmt.Sprintf("onCompromise: consumers are waited for until %s after the report", duration.Format(a.run.Policy.OnCompromise.BreakAfter))
	broken := slices.Clone(c.Broken)
	for _, one := range missing {
		w := journal.Waiver{Kind: journal.WaivedConsumer, Name: one.consumer.Name(), Why: one.why, By: by, Reason: why}
		if err := a.auditWaiver(ctx, w); err != nil {
			return err
		}
		if !slices.ContainsFunc(a.run.Waived, w.Same) {
			a.run.Waived = append(a.run.Waived, w)
		}
		if !slices.Contains(broken, w.Name) {
			broken = append(broken, w.Name)
		}
	}
	changed := *c
	changed.Broken = broken
	a.run.Compromise = &changed
	return a.save(ctx)
}

// makeRoom sees to what a superseded run had not revoked, before another credential is made whose place that may have: of a pair,
// making the next one ends it. That waits until every consumer has shown that it runs on the version of record, or for half of the
// policy's time. Where old and new only share a limit, nothing waits, and by then it is revoked.
func (a *attempt) makeRoom(ctx context.Context) (*pause, error) {
	if len(a.run.Older) == 0 || a.kind.Capability == upstream.Overwrite {
		return nil, nil
	}
	held, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil {
		return nil, err
	}
	if held.ID.Number != a.run.Follows() {
		a.seen.here.value = &held
		return a.pause(a.foreignWrite()), nil
	}
	missing, err := a.missing(ctx, held, nil)
	if err != nil {
		return nil, err
	}
	if owed := a.owed(a.Now(), &held, missing); len(owed) > 0 {
		faults, err := a.deliverTo(ctx, held, owed)
		if err != nil {
			return nil, err
		}
		if missing, err = a.missing(ctx, held, faults); err != nil {
			return nil, err
		}
	}
	pair := a.kind.Capability == upstream.Alternate
	required := a.required(missing)
	switch {
	case len(required) > 0 && !a.breaks(a.Now(), half) && pair:
		stop := a.wait(reason.CompromiseWaits, reason.Args{"consumers": said(required), "force": string(a.run.ID)})
		if left, on := a.breaksIn(a.Now(), half); on {
			stop.reason = stop.reason.Till(a.Now().Add(left).Truncate(time.Second))
			stop.after = min(stop.after, max(left, time.Millisecond))
		}
		return stop, nil
	case len(required) > 0 && !a.breaks(a.Now(), half):
		a.seen.delivered = time.Time{}
		return nil, nil
	case len(required) > 0:
		if err := a.breakConsumers(ctx, required); err != nil {
			return nil, err
		}
	}
	a.seen.delivered = time.Time{} // the next version is handed to everybody at once
	if pair {
		return nil, nil
	}
	return a.revokeOlder(ctx, held.Value)
}

// endCompromise ends all else that a compromised credential opens, once the one that the run replaced is refused: what a superseded run
// had not revoked, and open sessions.
func (a *attempt) endCompromise(ctx context.Context) (*pause, error) {
	if len(a.run.Older) > 0 {
		held, stop, err := a.held(ctx)
		if stop == nil && err == nil {
			stop, err = a.revokeOlder(ctx, held.Value)
		}
		if stop != nil || err != nil {
			return stop, err
		}
	}
	if a.run.Compromise == nil {
		return nil, nil
	}
	if err := a.noteRefused(ctx); err != nil {
		return nil, err
	}
	if a.waives(journal.WaivedSessions, "") {
		return nil, nil
	}
	values, err := a.olderValues(ctx)
	if err != nil {
		return nil, err
	}
	return a.endSessions(ctx, append(values, a.seen.old), func(err error) *pause {
		stop := a.stuck(reason.SessionsNotEnded, err)
		if stop.reason.Is(reason.SessionsNotEnded) {
			stop.reason = stop.reason.With(reason.Args{"force": string(a.run.ID)})
		}
		return stop
	})
}

// noteRefused notes when the credential that was reported was refused, and puts it on record.
func (a *attempt) noteRefused(ctx context.Context) error {
	if a.run.Compromise.Refused.IsZero() {
		changed := *a.run.Compromise
		changed.Refused = a.Now()
		a.run.Compromise = &changed
		if err := a.save(ctx); err != nil {
			return err
		}
	}
	return a.audit(ctx, journal.Revoked, a.took())
}

// took says how long the credential was honoured after the report, "" where the run is no answer to one.
func (a *attempt) took() string {
	took := a.run.Compromise.Took()
	if took == 0 {
		return ""
	}
	return "refused " + took.Round(time.Millisecond).String() + " after the report of " + a.run.Compromise.By + " was acknowledged"
}

// olderValues are the credentials that a superseded run had not revoked.
func (a *attempt) olderValues(ctx context.Context) ([]secret.Value, error) {
	return a.valuesOf(ctx, a.run.Older)
}

// valuesOf are the values of versions, without those that were destroyed.
func (a *attempt) valuesOf(ctx context.Context, numbers []authority.Version) ([]secret.Value, error) {
	var values []secret.Value
	for _, number := range numbers {
		held, err := a.Authority.ReadVersion(ctx, a.s.Path, number)
		if errors.Is(err, authority.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		values = append(values, held.Value)
	}
	return values, nil
}

// revokeOlder makes the upstream refuse what a superseded run had not revoked. Each is revoked until it is refused.
func (a *attempt) revokeOlder(ctx context.Context, successor secret.Value) (*pause, error) {
	values, err := a.olderValues(ctx)
	if err != nil {
		return nil, err
	}
	for i, old := range values {
		if a.seen.older > i || old.Equal(successor) {
			continue
		}
		verdict, err := a.ask(ctx, old)
		if verdict == upstream.Accepted {
			if a.seen.olderRevoked.IsZero() {
				if err := a.change(ctx, func(ctx context.Context) error { return a.s.Upstream.Revoke(ctx, a.run.ID, old, successor) }); err != nil {
					if errors.Is(err, journal.ErrSuperseded) {
						return nil, err
					}
					if errors.Is(err, upstream.ErrSuperseded) {
						return a.pause(a.claimed(err)), nil
					}
					return a.stuck(reason.OldNotRevoked, err), nil
				}
				a.seen.olderRevoked = a.Now()
			}
			if left := a.seen.olderRevoked.Add(a.kind.Settle).Sub(a.Now()); left >= 0 && a.kind.Settle > 0 {
				return a.until(reason.OldSettling, nil, left+1), nil
			}
			if verdict, err = a.ask(ctx, old); verdict == upstream.Accepted {
				a.seen.olderRevoked = time.Time{} // it is revoked again
				return a.wait(reason.OldStillAccepted, nil), nil
			}
		}
		if verdict != upstream.Refused {
			return a.stuck(reason.OldUndecided, err), nil
		}
		a.seen.older, a.seen.olderRevoked = i+1, time.Time{}
	}
	return nil, nil
}

// endSessions ends the open sessions of credentials, where the policy wants it and the upstream can. It comes after they are refused, so
// that nobody begins another. stuck is what follows where it fails.
func (a *attempt) endSessions(ctx context.Context, of []secret.Value, stuck func(error) *pause) (*pause, error) {
	says := a.run.Policy.OnCompromise
	if says == nil || !says.EndSessions || a.seen.recorded[stepSessions] {
		return nil, nil
	}
	ender, able := a.s.Upstream.(upstream.SessionEnder)
	if !able {
		return nil, a.audit(ctx, stepSessionsOn, "this type of upstream has no way to end open sessions; who is signed in stays so")
	}
	ended := 0
	for _, old := range of {
		count, err := outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) (int, error) { return ender.EndSessions(ctx, old) })
		if err != nil {
			return stuck(err), nil
		}
		ended += count
	}
	return nil, a.audit(ctx, stepSessions, fmt.Sprintf("%d open sessions of the old credential were ended", ended))
}
