// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/reason"
)

const (
	// gather is how long a finding lasts before it is sent: what comes together is one message, and what mends itself is none.
	gather = time.Minute
	// overAfter is how long a finding must be gone before it counts as over: what comes and goes is one finding.
	overAfter = 5 * time.Minute
	// escalated is the age at which what another was told is told to the default as well.
	escalated = 7 * 24 * time.Hour
	// together: reminders that are due within it go with one that is due.
	together = 12 * time.Hour
	// mostNotes bounds a book. What comes beyond it is noted once there is room.
	mostNotes = 500
	// doubts is how often a message is sent whose outcome is not known.
	doubts = 2
	schema = 1
)

// ages are those at which a finding is told again; each thirty days after the last.
var ages = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 37 * 24 * time.Hour}

const agesAfter = 30 * 24 * time.Hour

// book is what one route was told. It is stored as one document.
type book struct {
	Schema int `json:"schema"`
	// Route is for whoever reads the document.
	Route string           `json:"route"`
	Notes map[string]*note `json:"notes"`
	// Sent are the messages of the last hour.
	Sent []time.Time `json:"sent,omitempty"`
	// Pending is a message whose outcome is not known, nil for none.
	Pending *pending `json:"pending,omitempty"`

	revision authority.Revision
}

// note is one finding, as far as the route is concerned.
type note struct {
	Code   reason.Code `json:"code"`
	Secret string      `json:"secret,omitempty"`
	// Since is when it was first seen, Gone since when it was not seen any more; zero while it is there.
	Since time.Time `json:"since"`
	Gone  time.Time `json:"gone,omitzero"`
	// Told counts the messages that had it, At is when the last was sent.
	Told int       `json:"told,omitempty"`
	At   time.Time `json:"at,omitzero"`
	// Theirs: another owner is told, and this route only once it is old.
	Theirs bool `json:"theirs,omitempty"`

	now Finding // what was seen last, empty in a process that did not see it yet
}

// pending is a message that was named before it was sent.
type pending struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
	// Keys are the notes that it tells of, Over those that it says to be over.
	Keys []string `json:"keys,omitempty"`
	Over []string `json:"over,omitempty"`
	// Doubts counts how often it was sent.
	Doubts int `json:"doubts"`
}

// things are the parameters of reasons that name what a finding is about. All others say how it is just now.
var things = []string{"document", "file", "consumer", "what", "kind", "of", "grant", "target"}

// causes are the reasons whose cause names what they are about.
var causes = []reason.Code{reason.MachineFile, reason.RequestUnreadable}

// key tells a finding from all others, for as long as it lasts.
func (f Finding) key() string {
	parts := []string{string(f.Reason.Code), f.Secret}
	for _, name := range things {
		if value, has := f.Reason.Args[name]; has {
			parts = append(parts, name+"="+value)
		}
	}
	if f.Reason.Is(causes...) {
		parts = append(parts, f.Reason.Cause)
	}
	key := strings.Join(parts, "\x00")
	if len(key) > 120 { // a key is stored; a path is as long as somebody likes
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	return strings.ReplaceAll(key, "\x00", "|")
}

// look has the book know what there is at now, and reports whether that changes it. theirs are findings that other owners are told of.
func (b *book) look(own, theirs []Finding, seen Seen) (changed bool) {
	here := map[string]bool{}
	take := func(f Finding, others bool) {
		key := f.key()
		here[key] = true
		n := b.Notes[key]
		if n == nil {
			if room := mostNotes; len(b.Notes) >= room || others && len(b.Notes) >= room/2 { // what others are told keeps out nothing of its own
				return
			}
			n = &note{Code: f.Reason.Code, Secret: f.Secret, Since: seen.At, Theirs: others}
			b.Notes[key], changed = n, true
		}
		if !n.Gone.IsZero() || n.Theirs != others {
			n.Gone, n.Theirs, changed = time.Time{}, others, true
		}
		n.now = f
	}
	for _, f := range own {
		take(f, false)
	}
	for _, f := range theirs {
		take(f, true)
	}
	for key, n := range b.Notes {
		switch {
		case here[key], seen.Blind, seen.Unknown[n.Secret] && n.Secret != "":
		case n.Gone.IsZero():
			n.Gone, changed = seen.At, true
		case n.Told == 0 && !seen.At.Before(n.Gone.Add(overAfter)) && !b.pends(key):
			delete(b.Notes, key) // nobody was told
			changed = true
		}
	}
	return changed
}

func (b *book) pends(key string) bool {
	return b.Pending != nil && (slices.Contains(b.Pending.Keys, key) || slices.Contains(b.Pending.Over, key))
}

// next is when the note is to be told, or told again.
func (n *note) next() time.Time {
	first := gather
	if n.Theirs {
		first = escalated
	}
	if n.Told == 0 {
		return n.Since.Add(first)
	}
	age := ages[0]
	for i := 0; n.Theirs && age <= escalated || !n.Since.Add(age).After(n.At); {
		if i++; i < len(ages) {
			age = ages[i]
		} else {
			age += agesAfter
		}
	}
	return n.Since.Add(age)
}

// due are the notes that a message of now tells of, and those that it says to be over; none while no message is due.
func (b *book) due(now time.Time) (keys, over []string) {
	begins := false
	for key, n := range b.Notes {
		switch {
		case !n.Gone.IsZero():
			if n.Told > 0 && !now.Before(n.Gone.Add(overAfter)) {
				over, begins = append(over, key), true
			}
		case !now.Before(n.next()):
			keys, begins = append(keys, key), true
		case n.Told == 0 && !n.Theirs, n.Told > 0 && !now.Add(together).Before(n.next()):
			keys = append(keys, key) // it goes with another
		}
	}
	if !begins {
		return nil, nil
	}
	slices.Sort(keys)
	slices.Sort(over)
	return keys, over
}

// told notes that a message was taken, or counts as taken.
func (b *book) told(m pending, now time.Time) {
	for _, key := range m.Keys {
		if n := b.Notes[key]; n != nil {
			n.Told, n.At = n.Told+1, now
		}
	}
	for _, key := range m.Over {
		if n := b.Notes[key]; n != nil && !n.Gone.IsZero() {
			delete(b.Notes, key)
		}
	}
	b.Pending = nil
	b.Sent = append(b.Sent, now)
}

// recent drops what was sent more than an hour ago, and returns how many messages are left. What a clock that ran ahead dated is
// dropped as well.
func (b *book) recent(now time.Time) int {
	b.Sent = slices.DeleteFunc(b.Sent, func(at time.Time) bool { return now.Sub(at) >= time.Hour || at.After(now) })
	return len(b.Sent)
}

// waiting is how many findings the route would be told of now.
func (b *book) waiting() (count int) {
	for _, n := range b.Notes {
		if n.Told == 0 && !n.Theirs && n.Gone.IsZero() {
			count++
		}
	}
	return count
}

// sorted are the keys of the notes in the order in which people read them: by secret, then by code.
func (b *book) sorted(keys []string) []string {
	return slices.SortedFunc(slices.Values(keys), func(x, y string) int {
		m, n := b.Notes[x], b.Notes[y]
		if m == nil || n == nil {
			return strings.Compare(x, y)
		}
		return strings.Compare(m.Secret+"\x00"+x, n.Secret+"\x00"+y)
	})
}

func documentKey(r Route) string {
	sum := sha256.Sum256([]byte(r.id()))
	return "notify/" + hex.EncodeToString(sum[:16])
}

// load reads the book of a route; one that was never stored is empty. One that cannot be read is begun anew: what is open is told
// again, which is better than not at all.
func load(ctx context.Context, documents Documents, r Route) (*book, error) {
	empty := &book{Schema: schema, Route: r.Owner + ": " + r.String(), Notes: map[string]*note{}}
	held, err := documents.Get(ctx, documentKey(r))
	if errors.Is(err, authority.ErrNotFound) {
		return empty, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what %s was told: %w", r, err)
	}
	b := &book{revision: held.Revision}
	broken := json.Unmarshal(held.Data, b) != nil
	if b.Schema > schema {
		return nil, fmt.Errorf("reading what %s was told: a newer Custody wrote it (schema %d)", r, b.Schema)
	}
	if broken || b.Notes == nil || slices.Contains(slices.Collect(maps.Values(b.Notes)), nil) {
		empty.revision = held.Revision
		return empty, nil
	}
	return b, nil
}

func (b *book) save(ctx context.Context, documents Documents, r Route) error {
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("storing what %s was told: %w", r, err)
	}
	revision, err := documents.Put(ctx, documentKey(r), b.revision, data)
	if err != nil {
		return fmt.Errorf("storing what %s was told: %w", r, err)
	}
	b.revision = revision
	return nil
}
