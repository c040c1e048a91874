// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
)

// Glimpse says what a secret waits for that this process has not looked at yet, for answers without a server: nothing that a
// look found is kept. It changes nothing, asks no upstream and starts no process: it reads the journal, the value and the
// consumers' files. What a live run waits for is on its entry, and left out.
func (o *Orchestrator) Glimpse(ctx context.Context, s Secret) (State, error) {
	seen := State{Secret: s.Secret, Path: s.Path}
	held, err := o.Held(ctx, s)
	if err != nil || held != "" {
		seen.hold(wait{reason: held})
		return seen, err
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if errors.Is(err, journal.ErrUnreadable) {
		return seen, nil // its row says so
	}
	if err != nil || entry.Live != nil || entry.Current == nil {
		return seen, err
	}
	if recovery := entry.RecoveryNow(); recovery != nil {
		seen.hold(wait{reason: recovery.Waits(), byDesign: recovery.Next == ""})
		return seen, nil
	}
	value, err := o.Values.Read(ctx, s.Path)
	switch {
	case errors.Is(err, authority.ErrNotFound):
		seen.hold(wait{reason: gone(entry)})
	case err != nil:
		seen.hold(wait{reason: "its value to be readable: " + err.Error()})
	case value.ID != *entry.Current:
		seen.hold(wait{reason: foreign(s)})
	default:
		seen.hold(o.undelivered(ctx, s, value))
		if seen.Waiting == "" && entry.Retry != nil {
			seen.hold(retryOf(s, entry.Retry))
		}
	}
	return seen, nil
}

// undelivered names the first consumer that does not hold the version of record. Those that only a process could answer for
// are left out: a look asks them.
func (o *Orchestrator) undelivered(ctx context.Context, s Secret, value authority.Versioned) wait {
	for _, consumer := range s.Consumers {
		holder, can := consumer.Consumer.(materialize.Holder)
		if !can {
			continue
		}
		proof, err := o.Rotation.Holds(ctx, s.Subject, consumer, holder, value)
		switch {
		case err != nil:
			return wait{reason: fmt.Sprintf("delivery: %s cannot be given the version of record: %s", consumer.Name(), s.Explained(err))}
		case proof.Version == value.ID && proof.Level >= materialize.Delivered:
			continue
		}
		return wait{reason: fmt.Sprintf("delivery: %s does not hold the version of record%s; `custody serve` delivers it", consumer.Name(), suffix(proof.Missing))}
	}
	return wait{}
}
