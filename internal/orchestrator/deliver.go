// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"fmt"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// deliverTimeout bounds one delivery that a person waits for.
const deliverTimeout = time.Minute

// Delivery is how giving one consumer the version of record ended.
type Delivery struct {
	Consumer string              `json:"consumer"`
	Version  authority.VersionID `json:"version"`
	// Fault says why it was not delivered, "" when it was, or was there already.
	Fault string `json:"fault,omitempty"`
}

// Deliver gives the version of record of the secret at path to one of its consumers, or to all with "", without waiting
// for the next look at them. What is there already is left alone. It begins no run, and a run that is live goes on.
func (o *Orchestrator) Deliver(ctx context.Context, path authority.Path, consumer string) ([]Delivery, error) {
	var done []Delivery
	err := o.onLive(ctx, path, func(s Secret) error {
		held, err := o.deliverable(ctx, s)
		if err != nil {
			return err
		}
		done = nil
		for _, c := range s.Consumers {
			if consumer != "" && c.Name() != consumer {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, deliverTimeout)
			delivery := Delivery{Consumer: c.Name(), Version: held.ID}
			if err := o.Rotation.Deliver(limited, s.Subject, c, held, outward.Begun); err != nil {
				delivery.Fault = err.Error()
			}
			cancel()
			done = append(done, delivery)
		}
		if len(done) == 0 {
			return fmt.Errorf("delivering %s: it has no consumer %q: %w", s.Subject.Secret, consumer, authority.ErrNotFound)
		}
		return nil
	})
	return done, err
}

// Proven reports whether the secret at path, which does not leave, has no run under way, and every consumer of it shows
// the version of record at the level that it needs. It changes nothing.
func (o *Orchestrator) Proven(ctx context.Context, path authority.Path) (bool, error) {
	s, err := o.enter(path)
	if err != nil {
		return false, err
	}
	defer o.leave(path)
	if why, err := o.Held(ctx, s); err != nil || !why.None() || s.Leaving {
		return false, err
	}
	held, err := o.Values.Read(ctx, path)
	if err != nil {
		return false, err
	}
	entry, err := o.Journal.Load(ctx, path)
	if err != nil || standingOf(s, entry, &held.ID) != matching {
		return false, err
	}
	for _, c := range s.Consumers {
		proof, err := o.Rotation.Prove(ctx, s.Subject, c, held, outward.First)
		if err != nil || proof.Version != held.ID || proof.Level < c.Needs {
			return false, nil //nolint:nilerr // a consumer that cannot be asked has proved nothing
		}
	}
	return true, nil
}

// deliverable returns the value that consumers of s are to hold: that of record, or one that its live run promoted.
func (o *Orchestrator) deliverable(ctx context.Context, s Secret) (authority.Versioned, error) {
	held, err := o.Values.Read(ctx, s.Path)
	if err != nil {
		return held, err
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return held, err
	}
	promoted := entry.Live != nil && entry.Live.Workflow == journal.Rotation && entry.Live.ID == held.ID.Run
	recovery := entry.RecoveryNow()
	switch {
	case entry.Retires():
		return held, &reason.Error{Doing: "delivering " + s.Subject.Secret, Reason: reason.New(reason.RetireRuns, reason.Args{"run": string(entry.Live.ID)}), Class: rotation.ErrNotAllowed}
	case recovery != nil && !promoted:
		return held, &reason.Error{Doing: "delivering " + s.Subject.Secret, Reason: recovery.Reason, Class: rotation.ErrNotAllowed}
	case !promoted && (entry.Current == nil || *entry.Current != held.ID):
		return held, &reason.Error{Doing: "delivering " + s.Subject.Secret, Reason: foreignReason(s, entry, held.ID), Class: rotation.ErrNotAllowed}
	}
	return held, nil
}
