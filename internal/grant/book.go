// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
)

const (
	key    = "grants"
	schema = 1

	stepGranted = "granted"
	stepRevoked = "grant-revoked"
)

// Errors of reading what is granted.
var (
	// ErrUnreadable: the document is damaged. See Book.Anew.
	ErrUnreadable = errors.New("the authority's document of them is damaged")
	// ErrNewer: a newer custody wrote it.
	ErrNewer = errors.New("they were written by a newer custody")
)

// Records keeps Custody's own documents under compare-and-set; see authority.Store.
type Records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
}

// Book is the platform's one record of grants, kept in the authority.
type Book struct {
	Records Records
	Events  audit.Recorder
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
	held, err = decode(record.Data)
	return held, record.Revision, err
}

func decode(data []byte) (document, error) {
	var held document
	if err := json.Unmarshal(data, &held); err != nil {
		return document{}, fmt.Errorf("reading the grants: %w: %w", ErrUnreadable, err)
	}
	if held.Schema > schema {
		return document{}, fmt.Errorf("reading the grants: %w (schema %d)", ErrNewer, held.Schema)
	}
	return held, nil
}

// Anew is Add where the document is damaged: another takes its place, of what was known to be granted before and of grants, each
// on record as given by the same person now. Where the document can be read it is Add.
func (b *Book) Anew(ctx context.Context, by, reason string, known []Entry, grants []Grant) ([]Entry, error) {
	record, err := b.Records.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading the grants: %w", err)
	}
	if _, err := decode(record.Data); !errors.Is(err, ErrUnreadable) {
		return b.Add(ctx, by, reason, grants)
	}
	held := document{Schema: schema}
	for _, entry := range known {
		b.add(&held, entry.Grant, by, reason, entry.File)
	}
	var added []Entry
	for _, g := range grants {
		if !held.has(g) {
			added = append(added, b.add(&held, g, by, reason, false))
		}
	}
	if _, err := b.put(ctx, record.Revision, held); err != nil {
		return nil, err
	}
	return added, b.change(ctx, func(*document) {}) // which puts on record what is owed
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

func (d *document) has(g Grant) bool {
	return slices.ContainsFunc(d.Entries, func(e Entry) bool { return e.Grant == g })
}

func (b *Book) add(held *document, g Grant, by, reason string, file bool) Entry {
	entry := Entry{Grant: g, By: by, Reason: reason, At: b.Now().UTC(), File: file}
	held.Entries = append(held.Entries, entry)
	slices.SortFunc(held.Entries, func(a, b Entry) int { return Compare(a.Grant, b.Grant) })
	held.Owed = append(held.Owed, b.event(stepGranted, g, by, reason))
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
		held.Owed = append(held.Owed, b.event(stepRevoked, entry.Grant, by, reason))
	}
	held.Entries = kept
	return gone
}

func (b *Book) event(step string, g Grant, by, reason string) audit.Event {
	event := audit.Event{
		Run: b.NewRun(), Step: step, Workflow: audit.Operation, By: by, Reason: reason, Result: audit.OK,
		Detail: detail(g), At: b.Now(),
	}
	if g.Kind == Reader {
		event.Secret = g.Of
	}
	return event
}

// detail names a grant on the record of events.
func detail(g Grant) string { return fmt.Sprintf("%s of %s: %s", g.Kind, g.Of, g.To) }

// Revoked are the grants that the record of events says were revoked and not granted since, by what it calls them.
type Revoked map[string]audit.Event

// RevokedIn reads the events of operations, in the order of the record.
func RevokedIn(events iter.Seq2[audit.Event, error]) (Revoked, error) {
	revoked := Revoked{}
	for event, err := range events {
		if err != nil {
			return nil, fmt.Errorf("looking for grants that were revoked: %w", err)
		}
		switch event.Step {
		case stepGranted:
			delete(revoked, event.Detail)
		case stepRevoked:
			revoked[event.Detail] = event
		}
	}
	return revoked, nil
}

// Amend revokes what was revoked already: an older authority that was put back grants it still. It puts on record what is
// owed to it, too: what a crash kept from it, or that it was older than something outside.
func (b *Book) Amend(ctx context.Context, revoked Revoked) error {
	return b.change(ctx, func(held *document) {
		owed := map[string]bool{}
		for _, event := range held.Owed {
			owed[event.Detail] = event.Step == stepGranted
		}
		for _, entry := range slices.Clone(held.Entries) {
			event, was := revoked[detail(entry.Grant)]
			// It was granted again, and that is not on record yet, or was cut off it.
			if !was || owed[event.Detail] || entry.At.After(event.At) {
				continue
			}
			why := fmt.Sprintf("%s revoked it at %s (%s), and the restored authority is older", event.By, event.At.UTC().Format(time.RFC3339), event.Reason)
			b.drop(held, "custody", why, func(e Entry) bool { return e.Grant == entry.Grant })
		}
	})
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
			if err := b.Events.Append(ctx, event); errors.Is(err, audit.ErrBehind) {
				return nil // nothing goes on record before an older state was accepted: it is owed until then
			} else if err != nil {
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
