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

// Glimpse says what a secret waits for that this process has not looked at yet, for answers without a server: nothing that a
// look found is kept. It changes nothing, asks no upstream and starts no process: it reads the journal, the value and the
// consumers' files. What a live run waits for is on its entry, and left out.
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
	if err != nil || entry.Live != nil || entry.Current == nil {
		return seen, err
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
		seen.hold(foreignReason(s), time.Time{})
	case running, stranded, unissued: // left out, see above
	case matching:
		seen.hold(o.undelivered(ctx, s, value), time.Time{})
		if seen.Waiting.None() && entry.Retry != nil {
			seen.hold(retryOf(s, entry.Retry), time.Time{})
		}
	}
	return seen, nil
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
