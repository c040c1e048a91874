// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/reason"
)

// Glimpse says what a secret waits for that this process has not looked at yet, for answers without a server. It changes
// nothing, asks no upstream and starts no process: it reads the journal, the value, the consumers' files and, of a secret
// that is still in Git, its sealed document. What the journal says that a live run waits for is left out: the secret's row
// has it.
func (o *Orchestrator) Glimpse(ctx context.Context, s Secret) (State, error) {
	seen := State{Secret: s.Secret, Path: s.Path}
	held, err := o.Held(ctx, s)
	if err != nil || !held.None() {
		seen.hold(held, time.Time{})
		return seen, err
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if errors.Is(err, journal.ErrUnreadable) {
		return seen, nil // its row says so
	}
	switch {
	case err != nil:
		return seen, err
	case entry.Live != nil:
		seen.hold(o.unproven(ctx, s, entry.Live), time.Time{})
		return seen, nil
	case s.Leaving:
		seen.hold(o.departureOf(s, entry), time.Time{})
		if !seen.Waiting.None() {
			return seen, nil
		}
	}
	switch {
	case s.Handover != nil && entry.Tombstone == nil:
		if err := o.Handover.Readable(ctx, *s.Handover); err != nil {
			seen.hold(s.reasonOf(err), time.Time{})
		}
		return seen, nil
	case entry.Current == nil:
		return seen, nil
	}
	value, err := o.Values.Read(ctx, s.Path)
	version := &value.ID
	switch {
	case errors.Is(err, authority.ErrNotFound):
		version = nil
	case err != nil:
		seen.hold(reason.New(reason.ValueUnreadable, nil).Because(err.Error()), time.Time{})
		return seen, nil
	}
	switch standingOf(s, entry, version) {
	case recovering:
		seen.hold(entry.RecoveryNow().Reason, time.Time{})
	case vanished:
		seen.hold(vanishedReason(entry), time.Time{})
	case foreign:
		seen.hold(foreignReason(s, entry, value.ID), time.Time{})
	case running, stranded, unissued, retiring: // left out, see above
	case matching:
		seen.hold(o.undelivered(ctx, s, value), time.Time{})
		if seen.Waiting.None() && entry.Retry != nil {
			seen.hold(retryHold(s, entry.Retry), time.Time{})
		}
	}
	return seen, nil
}

// unproven names the first consumer that does not hold what a live rotation promoted, where the journal does not say yet what
// the run waits for: its process died before it had waited for long.
func (o *Orchestrator) unproven(ctx context.Context, s Secret, run *journal.Run) reason.Reason {
	if run.Workflow != journal.Rotation || run.Waiting != nil {
		return reason.Reason{}
	}
	value, err := o.Values.Read(ctx, s.Path)
	switch {
	case errors.Is(err, authority.ErrNotFound):
		return reason.Reason{} // a first value that is not promoted
	case err != nil:
		return reason.New(reason.ValueUnreadable, nil).Because(err.Error())
	case value.ID.Run != run.ID:
		return reason.Reason{} // consumers are not to have the candidate yet
	}
	return o.undelivered(ctx, s, value)
}

// Note has the journal say what each live run waits for that waits at the last look. It is for a process that is about to end:
// until a run has waited for long only that process knows.
func (o *Orchestrator) Note(ctx context.Context) error {
	var faults []error
	for path, state := range o.States() {
		o.mu.Lock()
		s, declared := o.secrets[path]
		o.mu.Unlock()
		if !declared || s.Derived != nil || state.Waiting.None() || state.Waiting.Is(reason.CustodyStopping) {
			continue
		}
		if err := o.Rotation.Note(ctx, s.Subject, state.Waiting); err != nil && !errors.Is(err, journal.ErrSuperseded) && !errors.Is(err, journal.ErrUnreadable) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// undelivered names the first consumer that does not hold the version of record. Those that only a process could answer for
// are left out: a look asks them.
func (o *Orchestrator) undelivered(ctx context.Context, s Secret, value authority.Versioned) reason.Reason {
	for _, consumer := range s.Consumers {
		holder, can := consumer.Consumer.(materialize.Holder)
		if !can {
			continue
		}
		proof, err := o.Rotation.Holds(ctx, s.Subject, consumer, holder, value)
		switch {
		case err != nil:
			return reason.New(reason.ConsumerUndeliverable, reason.Args{"consumer": consumer.Name()}).Because(s.Explained(err))
		case proof.Version == value.ID && proof.Level >= materialize.Delivered:
			continue
		}
		return reason.New(reason.ConsumerBehind, reason.Args{"consumer": consumer.Name()}).Because(proof.Missing)
	}
	return reason.Reason{}
}
