// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
)

const (
	key    = "grants"
	schema = 1
)

// Records keeps Custody's own documents under compare-and-set; see authority.Store.
type Records interface {
	Get(ctx context.Context, key string) (authority.Record, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
}

// Events keeps what was done; an append is idempotent by run and step.
type Events interface {
	Append(ctx context.Context, event audit.Event) error
}

// Book is the platform's one record of grants, kept in the authority.
type Book struct {
	Records Records
	Events  Events
	Now     func() time.Time
	NewRun  func() authority.RunID
}

// document is the record. Owed are the events that are still to go on record: they are stored with the change itself, so
// that no crash leaves a grant of which nobody knows who gave it.
type document struct {
	Schema  int           `json:"schema"`
	Entries []Entry       `json:"entries"`
	Owed    []audit.Event `json:"owed,omitempty"`
}

// Load returns what is granted, by kind and ends.
func (b *Book) Load(ctx context.Context) ([]Entry, error) {
	held, _, err := b.load(ctx)
	return held.Entries, err
}

func (b *Book) load(ctx context.Context) (document, authority.Revision, error) {
	var held document
	record, err := b.Records.Get(ctx, key)
	if errors.Is(err, authority.ErrNotFound) {
		return document{Schema: schema}, 0, nil
	}
	if err != nil {
		return held, 0, fmt.Errorf("reading the grants: %w", err)
	}
	if err := json.Unmarshal(record.Data, &held); err != nil {
		return held, 0, fmt.Errorf("reading the grants: %w", err)
	}
	if held.Schema > schema {
		return held, 0, fmt.Errorf("reading the grants: they were written by a newer custody (schema %d): run that one", held.Schema)
	}
	return held, record.Revision, nil
}

// Add grants, and returns what was not granted before.
func (b *Book) Add(ctx context.Context, by, reason string, grants []Grant) ([]Entry, error) {
	var added []Entry
	err := b.change(ctx, func(held *document) {
		added = nil
		for _, g := range grants {
			if !held.has(g) {
				added = append(added, b.add(held, g, by, reason, false))
			}
		}
	})
	return added, err
}

// Revoke takes grants back, and returns those that were granted.
func (b *Book) Revoke(ctx context.Context, by, reason string, grants []Grant) ([]Entry, error) {
	var gone []Entry
	err := b.change(ctx, func(held *document) {
		gone = b.drop(held, by, reason, func(e Entry) bool { return slices.Contains(grants, e.Grant) })
	})
	return gone, err
}

// Follow grants what the host's grants file says, and revokes what it said before and says no more. What was granted
// otherwise stays.
func (b *Book) Follow(ctx context.Context, by string, wanted []Grant) error {
	return b.change(ctx, func(held *document) {
		b.drop(held, by, "the grants file no longer says so", func(e Entry) bool { return e.File && !slices.Contains(wanted, e.Grant) })
		for _, g := range wanted {
			if !held.has(g) {
				b.add(held, g, by, "the grants file says so", true)
			}
		}
	})
}

// Settle puts on record what a crash kept from it.
func (b *Book) Settle(ctx context.Context) error { return b.change(ctx, func(*document) {}) }

func (d *document) has(g Grant) bool {
	return slices.ContainsFunc(d.Entries, func(e Entry) bool { return e.Grant == g })
}

func (b *Book) add(held *document, g Grant, by, reason string, file bool) Entry {
	entry := Entry{Grant: g, By: by, Reason: reason, At: b.Now().UTC(), File: file}
	held.Entries = append(held.Entries, entry)
	slices.SortFunc(held.Entries, func(a, b Entry) int { return Compare(a.Grant, b.Grant) })
	held.Owed = append(held.Owed, b.event("granted", g, by, reason))
	return entry
}

func (b *Book) drop(held *document, by, reason string, which func(Entry) bool) (gone []Entry) {
	kept := held.Entries[:0:0]
	for _, entry := range held.Entries {
		if !which(entry) {
			kept = append(kept, entry)
			continue
		}
		gone = append(gone, entry)
		held.Owed = append(held.Owed, b.event("grant-revoked", entry.Grant, by, reason))
	}
	held.Entries = kept
	return gone
}

func (b *Book) event(step string, g Grant, by, reason string) audit.Event {
	event := audit.Event{
		Run: b.NewRun(), Step: step, Workflow: "operation", By: by, Reason: reason, Result: "ok",
		Detail: fmt.Sprintf("%s of %s: %s", g.Kind, g.Of, g.To), At: b.Now(),
	}
	if g.Kind == Reader {
		event.Secret = g.Of
	}
	return event
}

// change edits the record under compare-and-set, and puts what was done on record. Called again after a crash, it first
// puts on record what the call before left.
func (b *Book) change(ctx context.Context, edit func(*document)) error {
	for range 5 {
		held, revision, err := b.load(ctx)
		if err != nil {
			return err
		}
		before := len(held.Owed)
		edit(&held)
		if len(held.Owed) == 0 {
			return nil
		}
		if len(held.Owed) > before {
			if revision, err = b.put(ctx, revision, held); errors.Is(err, authority.ErrConflict) {
				continue
			} else if err != nil {
				return err
			}
		}
		for _, event := range held.Owed {
			if err := b.Events.Append(ctx, event); err != nil {
				return fmt.Errorf("putting the grants on record: %w", err)
			}
		}
		held.Owed = nil
		if _, err = b.put(ctx, revision, held); errors.Is(err, authority.ErrConflict) {
			return nil // whoever was first puts the same events on record, and clears them
		}
		return err
	}
	return fmt.Errorf("writing the grants: %w", authority.ErrConflict)
}

func (b *Book) put(ctx context.Context, base authority.Revision, held document) (authority.Revision, error) {
	data, err := json.Marshal(held)
	if err != nil {
		return 0, fmt.Errorf("writing the grants: %w", err)
	}
	revision, err := b.Records.Put(ctx, key, base, data)
	if err != nil {
		return 0, fmt.Errorf("writing the grants: %w", err)
	}
	return revision, nil
}
