// SPDX-License-Identifier: Apache-2.0

// Package model keeps in memory what one process knows of each secret, so that answering a question needs no other
// calls: the newest journal entry that this process read or wrote, and what the last look at the secret saw. A row is
// computed when it is asked for, from these and from the estate in force.
//
// It does not know what another process did since the last look at a secret; each row says when that was. It contains
// no values.
//
// Cost: storing an entry or a look, and computing one row, takes constant time; all rows are linear in the number of
// secrets. The first question after an estate came into force, or after a secret got its first entry or another name,
// compares all names and paths once, which is linear too. Memory: about 1 KB for each secret.
package model

import (
	"iter"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
)

// Model keeps what is known. Its methods may be called at any time.
type Model struct {
	mu     sync.Mutex
	estate *intent.Estate
	names  []string                          // of the declared secrets, in order
	paths  map[authority.Path]*intent.Secret // the declared secrets
	facts  map[authority.Path]fact
	served bool
	// misplaced is of the estate and the facts there are, if compared says so.
	misplaced map[authority.Path]reason.Reason
	compared  bool
	// placed counts the changes of where values may be known, and changes those of what rows say.
	placed  uint64
	changes uint64
}

// fact is what is known of what lies at one path. What it points to is never changed.
type fact struct {
	entry *journal.Entry
	seen  *inventory.Seen
}

// New returns a model that knows nothing.
func New() *Model { return &Model{facts: map[authority.Path]fact{}} }

// Saw notes an entry that was read or written, if none is known that was stored later. It is made for journal.Journal.Watch.
func (m *Model) Saw(entry *journal.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.facts[entry.Path]
	before := known.entry
	if before != nil && !entry.After(before) {
		return
	}
	known.entry = entry.Brief()
	m.facts[entry.Path] = known
	m.changes++
	if before == nil || !sameHistory(before, entry) {
		m.compared = false
	}
	if before == nil || before.Begun() != entry.Begun() || !slices.Equal(before.Places, entry.Places) {
		m.placed++
	}
}

// sameHistory reports whether two entries of one path are the same to a comparison of names and paths.
func sameHistory(a, b *journal.Entry) bool {
	return a.Secret == b.Secret && a.Begun() == b.Begun() && (a.Fault == nil) == (b.Fault == nil) && slices.Equal(a.Former, b.Former)
}

// Looked notes what a look saw, or, where Looked is zero, what can be told without one.
func (m *Model) Looked(state orchestrator.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.facts[state.Path]
	if before := known.seen; before == nil || !before.Waiting.Same(state.Waiting) || !before.Drift.Same(state.Drift) {
		m.changes++
	}
	known.seen = &inventory.Seen{Waiting: state.Waiting, Drift: state.Drift, Looked: state.Looked}
	m.facts[state.Path] = known
}

// Changes counts the changes of what rows say: while it stays the same only when they were looked at changes, and what time alone
// changes.
func (m *Model) Changes() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// Serve says that somebody looks at every secret from now on: one that was not looked at is waiting for that.
func (m *Model) Serve() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.served = true
}

// Declare notes the estate in force. What looks saw of secrets that it does not declare is forgotten.
func (m *Model) Declare(estate *intent.Estate) {
	paths := make(map[authority.Path]*intent.Secret, len(estate.Secrets))
	for _, declared := range estate.Secrets {
		paths[declared.Path] = declared
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	m.estate, m.names, m.paths, m.compared = estate, estate.SecretNames(), paths, false
	for path, known := range m.facts {
		if _, declared := paths[path]; declared || known.seen == nil {
			continue
		}
		if known.seen = nil; known.entry == nil {
			delete(m.facts, path)
		} else {
			m.facts[path] = known
		}
	}
}

// compare makes misplaced anew where it is not of what is known now. The caller holds the lock.
func (m *Model) compare() {
	if m.compared {
		return
	}
	entries := make([]*journal.Entry, 0, len(m.facts))
	for _, known := range m.facts {
		if known.entry != nil {
			entries = append(entries, known.entry)
		}
	}
	m.misplaced, m.compared = inventory.Misplaced(m.estate, entries), true // replaced, never changed
}

// known is what a row of the declared secret is made of. The caller holds the lock.
func (m *Model) known(declared *intent.Secret) inventory.Known {
	f := m.facts[declared.Path]
	unlooked := m.served && (f.seen == nil || f.seen.Looked.IsZero())
	return inventory.Known{Entry: f.entry, Seen: f.seen, Unlooked: unlooked, Misplaced: m.misplaced[declared.Path]}
}

// Rows are the rows of the declared secrets that are wanted, by name, then those of what the estate does not declare, by path. Want
// sees the documents alone, nil for what is not declared; nil wants all. They are what was known when Rows was called.
func (m *Model) Rows(now time.Time, want func(*intent.Secret) bool) iter.Seq[inventory.Row] {
	m.mu.Lock()
	m.compare()
	estate, misplaced := m.estate, m.misplaced
	var wanted []*intent.Secret
	var known []inventory.Known
	for _, name := range m.names {
		if declared := estate.Secrets[name]; want == nil || want(declared) {
			wanted, known = append(wanted, declared), append(known, m.known(declared))
		}
	}
	var strays []*journal.Entry
	if want == nil || want(nil) {
		strays = m.strays()
	}
	m.mu.Unlock()
	return func(yield func(inventory.Row) bool) {
		for i, declared := range wanted {
			if !yield(inventory.Of(estate, declared, known[i], now)) {
				return
			}
		}
		for _, entry := range strays {
			if row, is := inventory.Undeclared(estate, entry, misplaced); is && !yield(row) {
				return
			}
		}
	}
}

// strays are the entries at paths that the estate does not declare, in order. The caller holds the lock.
func (m *Model) strays() []*journal.Entry {
	var paths []authority.Path
	for path, known := range m.facts {
		if _, declared := m.paths[path]; !declared && known.entry != nil {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	entries := make([]*journal.Entry, len(paths))
	for i, path := range paths {
		entries[i] = m.facts[path].entry
	}
	return entries
}

// Row is the row of the secret that has or had this name; else of what lies at the path of that name or, where the estate does not
// declare it, was of that name.
func (m *Model) Row(name string, now time.Time) (inventory.Row, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compare()
	if m.estate != nil {
		declared, is := m.estate.ByName(name)
		if !is {
			declared, is = m.paths[authority.Path(name)]
		}
		if is {
			return inventory.Of(m.estate, declared, m.known(declared), now), true
		}
	}
	for _, entry := range m.strays() {
		if entry.Secret == name || string(entry.Path) == name {
			if row, is := inventory.Undeclared(m.estate, entry, m.misplaced); is {
				return row, true
			}
		}
	}
	return inventory.Row{}, false
}

// Places are where values may be known through consumers, by the histories that are known. Version tells whether they changed.
func (m *Model) Places() (places grant.Known, version uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	places = make(grant.Known, len(m.facts))
	for path, known := range m.facts {
		if known.entry != nil && known.entry.Begun() {
			places[path] = known.entry.Places
		}
	}
	return places, m.placed
}

// Placed is the version of Places.
func (m *Model) Placed() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.placed
}

// Unlooked are the declared secrets that no look has ended at.
func (m *Model) Unlooked() []authority.Path {
	m.mu.Lock()
	defer m.mu.Unlock()
	var paths []authority.Path
	for path := range m.paths {
		if seen := m.facts[path].seen; seen == nil || seen.Looked.IsZero() {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
