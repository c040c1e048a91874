// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"cmp"
	"context"
	"errors"
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
	return o.answered(ctx, s, entry, journal.Checked{Version: held.ID, Refused: verdict == upstream.Refused})
}

// Told keeps what somebody who signed in with version id just now was answered: where that is news, id is of record, no run
// is live, and the policy's verifyEvery tries it again later.
func (o *Orchestrator) Told(ctx context.Context, path authority.Path, id authority.VersionID, refused bool, by string) error {
	s, err := o.enter(path)
	if err != nil {
		return err
	}
	defer o.leave(path)
	if s.Upstream == nil || s.Elsewhere || s.Policy.VerifyEvery <= 0 {
		return nil
	}
	entry, err := o.Journal.Load(ctx, path)
	if err != nil {
		return err
	}
	before := entry.CheckedNow()
	news := refused != (before != nil && before.Refused)
	showing := o.Now().Sub(entry.Rotated) < s.Upstream.Kind().Settle // it may be refused yet
	if !news || showing || entry.Live != nil || entry.Current == nil || *entry.Current != id {
		return nil
	}
	err = o.answered(ctx, s, entry, journal.Checked{Version: id, Refused: refused, By: by})
	if errors.Is(err, journal.ErrSuperseded) { // by a look, which knows better
		return nil
	}
	o.Wake(path)
	return err
}

// answered keeps an answer, and a change of it on record.
func (o *Orchestrator) answered(ctx context.Context, s Secret, entry *journal.Entry, checked journal.Checked) error {
	checked.At = o.Now()
	checked.Since = checked.At
	before := entry.CheckedNow()
	changed := before == nil && checked.Refused || before != nil && before.Refused != checked.Refused
	if before != nil && !changed {
		checked.Since = before.Since
	}
	if checked.Refused {
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
		Run: checked.Owed, Step: "value-accepted", Workflow: audit.Operation, Secret: s.Subject.Secret, Path: s.Path, Version: &checked.Version,
		By: cmp.Or(checked.By, "policy "+s.Policy.Name), Reason: "verifyEvery", Result: audit.OK, Detail: "the upstream accepts the value of record again", At: checked.Since,
	}
	if checked.By != "" {
		event.Reason = "a sign-in was asked for"
	}
	if checked.Refused {
		event.Step, event.Result, event.Detail = "value-refused", audit.Failed, "the upstream refuses the value of record"
	}
	if err := o.Record.Append(ctx, event); err != nil {
		return err
	}
	told := *checked
	told.Owed = ""
	entry.Checked = &told
	return o.Journal.Save(ctx, entry)
}
