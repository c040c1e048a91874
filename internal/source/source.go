// SPDX-License-Identifier: Apache-2.0

// Package source stores which commit of the estate's repository was accepted last (the believed commit).
//
// Guaranteed: when Believe returns, the commit is stored in the authority. Each change is in the record (audit log) exactly once, even
// after a crash between the two writes.
//
// Not guaranteed: anything about the commit itself, which the caller has checked. If an older authority is restored, an older commit
// is the believed one.
//
// Cost: a change is 2 writes to the authority and 1 event; reading is 1 read.
package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
)

const (
	key    = "estate/commit"
	schema = 1

	stepBelieved = "commit-believed"
	stepAccepted = "commit-accepted"
)

// ErrNewer: a newer custody wrote the document.
var ErrNewer = errors.New("it was written by a newer custody")

// Records keeps Custody's own documents under compare-and-set; see authority.Store.
type Records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
}

// Events keeps what was done; an append is idempotent by run and step.
type Events interface {
	Append(ctx context.Context, event audit.Event) error
}

// Belief is the commit that is believed. The zero Belief is of none.
type Belief struct {
	// Commit is its full name.
	Commit string `json:"commit"`
	// Signer is who signed it, "" where no signature was asked for.
	Signer string `json:"signer,omitempty"`
	// At is when it was believed first, By whom, and Reason why, where a person accepted it.
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// document is what is kept. Owed is the event that is still to go on record.
type document struct {
	Schema int `json:"schema"`
	Belief
	Owed *audit.Event `json:"owed,omitempty"`
}

// Book is the platform's one note of it, kept in the authority.
type Book struct {
	Records Records
	Events  Events
	Now     func() time.Time
	NewRun  func() authority.RunID
}

// Load returns what is believed.
func (b *Book) Load(ctx context.Context) (Belief, error) {
	held, _, err := b.load(ctx)
	return held.Belief, err
}

func (b *Book) load(ctx context.Context) (document, authority.Revision, error) {
	var held document
	record, err := b.Records.Get(ctx, key)
	if errors.Is(err, authority.ErrNotFound) {
		return document{Schema: schema}, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(record.Data, &held)
	}
	if err == nil && held.Schema > schema {
		err = ErrNewer
	}
	if err != nil {
		return document{}, 0, fmt.Errorf("reading which commit is believed: %w", err)
	}
	return held, record.Revision, nil
}

// Believe has a commit take the place of the one before. With a reason it is on record as accepted by somebody. Called again with
// the same commit it only puts on record what is owed.
func (b *Book) Believe(ctx context.Context, commit, signer, by, reason string) (Belief, error) {
	held, revision, err := b.load(ctx)
	if err != nil {
		return Belief{}, err
	}
	if held.Commit != commit || reason != "" {
		if held.Owed != nil { // it comes first on record
			if err := b.Events.Append(ctx, *held.Owed); err != nil && !errors.Is(err, audit.ErrBehind) {
				return Belief{}, fmt.Errorf("putting the commit on record: %w", err)
			}
		}
		step := stepBelieved
		if reason != "" {
			step = stepAccepted
		}
		detail := "commit " + commit
		if held.Commit != "" {
			detail += " after " + held.Commit
		}
		if signer != "" {
			detail += ", signed by " + signer
		}
		held = document{Schema: schema, Belief: Belief{Commit: commit, Signer: signer, At: b.Now().UTC(), By: by, Reason: reason}, Owed: &audit.Event{
			Run: b.NewRun(), Step: step, Workflow: "operation", By: by, Reason: reason, Result: "ok", Detail: detail, At: b.Now(),
		}}
		if revision, err = b.put(ctx, revision, held); err != nil {
			return Belief{}, err
		}
	}
	return held.Belief, b.settle(ctx, held, revision)
}

// settle puts on record what is owed. Nothing goes on record before an older state was accepted: it is owed until then.
func (b *Book) settle(ctx context.Context, held document, revision authority.Revision) error {
	if held.Owed == nil {
		return nil
	}
	if err := b.Events.Append(ctx, *held.Owed); errors.Is(err, audit.ErrBehind) {
		return nil
	} else if err != nil {
		return fmt.Errorf("putting the commit on record: %w", err)
	}
	held.Owed = nil
	if _, err := b.put(ctx, revision, held); !errors.Is(err, authority.ErrConflict) {
		return err
	}
	return nil // whoever was first cleared it
}

func (b *Book) put(ctx context.Context, base authority.Revision, held document) (authority.Revision, error) {
	data, err := json.Marshal(held)
	if err == nil {
		base, err = b.Records.Put(ctx, key, base, data)
	}
	if err != nil {
		return 0, fmt.Errorf("noting which commit is believed: %w", err)
	}
	return base, nil
}
