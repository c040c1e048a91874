// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/upstream"
)

// unknownRetry is how long after a sign-in that decided nothing the next is tried; it doubles with each, to an hour.
const unknownRetry = 5 * time.Minute

// check signs in with the value of record of a secret between runs, when its policy's verifyEvery says so: one sign-in, and
// one write to the journal when that was answered. A change of the answer goes on record, once. Unknown changes nothing. It
// starts no run: whether a refused value is replaced or set there again, a person decides.
func (o *Orchestrator) check(ctx context.Context, s Secret, entry *journal.Entry, held authority.Versioned, seen *State) error {
	if s.Upstream == nil || s.Elsewhere || s.Derived != nil {
		return nil
	}
	if err := o.recordCheck(ctx, s, entry); err != nil { // an earlier process may owe it
		return err
	}
	if s.Policy.VerifyEvery <= 0 || o.Rotation.Ready(ctx, s.Subject) != nil {
		return nil
	}
	now := o.Now()
	if due, on := o.nextCheck(s, entry, seen); !on || now.Before(due) {
		return nil
	}
	verdict, _ := o.Rotation.Check(ctx, s.Subject, held)
	if verdict == upstream.Unknown {
		seen.unknowns++
		seen.checkAgain = now.Add(min(time.Hour, unknownRetry<<min(seen.unknowns-1, 5)))
		return nil
	}
	seen.unknowns, seen.checkAgain = 0, time.Time{}
	refused := verdict == upstream.Refused
	checked := journal.Checked{Version: held.ID, At: now, Refused: refused, Since: now}
	before := entry.CheckedNow()
	changed := before == nil && refused || before != nil && before.Refused != refused
	if before != nil && !changed {
		checked.Since = before.Since
	}
	if refused {
		checked.Tries = 1
		if !changed {
			checked.Tries = before.Tries + 1
		}
	}
	if changed {
		checked.Owed = o.NewRun()
	}
	entry.Checked = &checked
	if err := o.Journal.Save(ctx, entry); err != nil {
		return err
	}
	return o.recordCheck(ctx, s, entry)
}

// nextCheck is when a sign-in with the value of record is to be tried next; false when none is.
func (o *Orchestrator) nextCheck(s Secret, entry *journal.Entry, seen *State) (time.Time, bool) {
	if s.Upstream == nil || s.Elsewhere || s.Derived != nil || !s.Upstream.Kind().Verifies {
		return time.Time{}, false
	}
	due, on := rotation.NextCheck(*entry, s.Policy, s.Upstream.Kind().WrongEvery, o.Now())
	if on && due.Before(seen.checkAgain) {
		due = seen.checkAgain
	}
	return due, on
}

// recordCheck puts on record that the upstream began to refuse the value of record, or to accept it again.
func (o *Orchestrator) recordCheck(ctx context.Context, s Secret, entry *journal.Entry) error {
	checked := entry.Checked
	if checked == nil || checked.Owed == "" {
		return nil
	}
	event := audit.Event{
		Run: checked.Owed, Step: "value-accepted", Workflow: "operation", Secret: s.Subject.Secret, Path: s.Path, Version: &checked.Version,
		By: "policy " + s.Policy.Name, Reason: "verifyEvery", Result: "ok", Detail: "the upstream accepts the value of record again", At: checked.Since,
	}
	if checked.Refused {
		event.Step, event.Result, event.Detail = "value-refused", "failed", "the upstream refuses the value of record"
	}
	if err := o.Record.Append(ctx, event); err != nil {
		return err
	}
	told := *checked
	told.Owed = ""
	entry.Checked = &told
	return o.Journal.Save(ctx, entry)
}
