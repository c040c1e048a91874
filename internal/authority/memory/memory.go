// SPDX-License-Identifier: Apache-2.0

// Package memory is the in-memory double of authority.Store, for tests and the simulator only.
//
// It keeps every promise of the port except durability. It starts no goroutine, and uses only the clock and the
// incarnation that it is given, so a run replays exactly. Snapshot and Restore simulate a backup that is restored under
// a new incarnation; Behind and Earlier simulate standbys that answer with old data. Values are kept by reference
// (secret.Value is immutable); documents are copied on the way in and out. Cost: one map access for each call; the
// first write to a path or document also updates a sorted list of names.
package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// Config is all that a Store depends on.
type Config struct {
	Incarnation authority.Incarnation
	// Clock stamps writes.
	Clock func() time.Time
}

// Store is an authority.Store in memory. It is safe for concurrent use.
type Store struct {
	config Config
	mu     sync.Mutex
	state  state
	keep   time.Duration
	past   []before // in order of time
}

// before is the content that a change at that time replaced.
type before struct {
	at    time.Time
	store *Store
}

var (
	_ authority.Store   = (*Store)(nil)
	_ authority.Renewer = (*Store)(nil)
)

type version struct {
	authority.Versioned
	destroyed bool
}

type document struct {
	revision authority.Revision
	data     []byte
}

type state struct {
	master    []byte // digest keys are derived from it; it outlives a restore
	values    map[authority.Path][]version
	paths     []authority.Path // sorted
	documents map[string]document
	keys      []string // sorted
}

// Snapshot is a Store's whole content at one moment. It never changes.
type Snapshot struct{ state state }

// New returns an empty Store.
func New(config Config) *Store {
	master := sha256.Sum256([]byte("digest keys of " + string(config.Incarnation)))
	return &Store{config: config, state: state{
		master:    master[:],
		values:    map[authority.Path][]version{},
		documents: map[string]document{},
	}}
}

// Restore returns a Store with the snapshot's content under config's incarnation. Versions written before keep theirs.
func Restore(config Config, from Snapshot) *Store {
	return &Store{config: config, state: from.state.clone()}
}

// Snapshot copies the Store's content.
func (s *Store) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Snapshot{s.state.clone()}
}

func (st state) clone() state {
	copied := state{
		master:    st.master,
		values:    make(map[authority.Path][]version, len(st.values)),
		paths:     slices.Clone(st.paths),
		documents: maps.Clone(st.documents), // data is replaced, never changed in place
		keys:      slices.Clone(st.keys),
	}
	for path, versions := range st.values {
		copied.values[path] = slices.Clone(versions)
	}
	return copied
}

// Remember keeps, from now on, what a standby that lags by as much would still answer with; see Behind and Earlier. Each
// change then costs a copy of the content.
func (s *Store) Remember(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = lag
}

// Behind is a standby that has not the last change yet. It is for reading. Nothing is behind without Remember.
func (s *Store) Behind() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.past) == 0 {
		return s
	}
	return s.past[len(s.past)-1].store
}

// Earlier is a standby that lags by as much. It is for reading. Nothing lags by more than what Remember was told.
func (s *Store) Earlier(lag time.Duration) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.config.Clock().Add(-lag)
	for _, one := range s.past {
		if one.at.After(seen) {
			return one.store
		}
	}
	return s
}

// changing is called before every change.
func (s *Store) changing() {
	if s.keep == 0 {
		return
	}
	now := s.config.Clock()
	gone := slices.IndexFunc(s.past, func(one before) bool { return one.at.After(now.Add(-s.keep)) })
	if gone < 0 {
		gone = len(s.past)
	}
	s.past = append(s.past[gone:], before{now, &Store{config: s.config, state: s.state.clone()}})
}

// Incarnation identifies this Store.
func (s *Store) Incarnation() authority.Incarnation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.Incarnation
}

// Renew implements authority.Renewer. The next incarnation is named after the present one.
func (s *Store) Renew(ctx context.Context, from authority.Incarnation, plan func(authority.Incarnation) (authority.Renewal, error)) (authority.Incarnation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config.Incarnation != from {
		return "", fmt.Errorf("renewing incarnation %s, which is over: %w", from, authority.ErrConflict)
	}
	next := from + "+"
	what, err := plan(next)
	if err != nil {
		return "", fmt.Errorf("renewing incarnation %s: %w", from, err)
	}
	renewed := &Store{config: Config{Incarnation: next, Clock: s.config.Clock}, state: s.state.clone()}
	for _, v := range what.Values {
		if _, err := renewed.Write(ctx, v.Path, v.Base, v.Run, v.Value); err != nil {
			return "", fmt.Errorf("renewing incarnation %s: %w", from, err)
		}
	}
	for _, r := range what.Documents {
		if _, err := renewed.Put(ctx, r.Key, r.Revision, r.Data); err != nil {
			return "", fmt.Errorf("renewing incarnation %s: %w", from, err)
		}
	}
	for _, key := range what.Gone {
		if err := renewed.Delete(ctx, key, renewed.state.documents[key].revision); err != nil {
			return "", fmt.Errorf("renewing incarnation %s: %w", from, err)
		}
	}
	s.config.Incarnation, s.state = next, renewed.state
	return next, nil
}

// Later implements authority.Renewer.
func (s *Store) Later(i authority.Incarnation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.HasPrefix(string(i), string(s.config.Incarnation)+"+")
}

// Read implements authority.Store.
func (s *Store) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(ctx, path, authority.Version(len(s.state.values[path])))
}

// ReadVersion implements authority.Store.
func (s *Store) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(ctx, path, number)
}

func (s *Store) read(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	if err := ctx.Err(); err != nil {
		return authority.Versioned{}, fmt.Errorf("reading %s: %w", path, err)
	}
	versions := s.state.values[path]
	if number == 0 || number > authority.Version(len(versions)) || versions[number-1].destroyed {
		return authority.Versioned{}, fmt.Errorf("reading version %d of %s: %w", number, path, authority.ErrNotFound)
	}
	return versions[number-1].Versioned, nil
}

// Write implements authority.Store.
func (s *Store) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return authority.VersionID{}, fmt.Errorf("writing %s: %w", path, ctx.Err())
	case path == "":
		return authority.VersionID{}, errors.New("writing value: the path is empty")
	}
	versions := s.state.values[path]
	newest := authority.Version(len(versions))
	if base < newest {
		made := versions[base]
		if !made.destroyed && made.ID.Run == run && made.Value.Equal(v) {
			return made.ID, nil
		}
	}
	if base != newest {
		return authority.VersionID{}, fmt.Errorf("writing %s on version %d, which is at %d: %w", path, base, newest, authority.ErrConflict)
	}
	s.changing()
	if newest == 0 {
		at, _ := slices.BinarySearch(s.state.paths, path)
		s.state.paths = slices.Insert(s.state.paths, at, path)
	}
	made := version{Versioned: authority.Versioned{
		Path:    path,
		ID:      authority.VersionID{Incarnation: s.config.Incarnation, Run: run, Number: base + 1},
		Created: s.config.Clock().UTC(),
		Value:   v,
	}}
	s.state.values[path] = append(versions, made)
	return made.ID, nil
}

// Destroy implements authority.Store.
func (s *Store) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("destroying version %d of %s: %w", number, path, err)
	}
	if versions := s.state.values[path]; number > 0 && number <= authority.Version(len(versions)) {
		s.changing()
		versions[number-1].destroyed = true
		versions[number-1].Value = secret.Value{}
	}
	return nil
}

// Remove forgets a path altogether, as somebody does who gets at the medium. It is no part of the port.
func (s *Store) Remove(ctx context.Context, path authority.Path) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	if at, found := slices.BinarySearch(s.state.paths, path); found {
		s.changing()
		s.state.paths = slices.Delete(s.state.paths, at, at+1)
		delete(s.state.values, path)
	}
	return nil
}

// Paths yields the paths below prefix that hold at least one version, in order. It is for tests to look at, and no part of
// the port.
func (s *Store) Paths(ctx context.Context, prefix string) ([]authority.Path, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing paths below %q: %w", prefix, err)
	}
	return slices.Clone(span(s.state.paths, prefix)), nil
}

// Get implements authority.Store.
func (s *Store) Get(ctx context.Context, key string) (authority.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return authority.Document{}, fmt.Errorf("getting document %s: %w", key, err)
	}
	found, ok := s.state.documents[key]
	if !ok {
		return authority.Document{}, fmt.Errorf("getting document %s: %w", key, authority.ErrNotFound)
	}
	return authority.Document{Key: key, Revision: found.revision, Data: bytes.Clone(found.data)}, nil
}

// Put implements authority.Store.
func (s *Store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("putting document %s: %w", key, ctx.Err())
	case key == "":
		return 0, errors.New("putting document: the key is empty")
	}
	held := s.state.documents[key]
	switch {
	case held.revision == base+1 && bytes.Equal(held.data, data):
		return held.revision, nil
	case held.revision != base:
		return 0, fmt.Errorf("putting document %s on revision %d, which is at %d: %w", key, base, held.revision, authority.ErrConflict)
	}
	s.changing()
	if held.revision == 0 {
		at, _ := slices.BinarySearch(s.state.keys, key)
		s.state.keys = slices.Insert(s.state.keys, at, key)
	}
	s.state.documents[key] = document{revision: base + 1, data: append([]byte{}, data...)}
	return base + 1, nil
}

// Delete implements authority.Documents.
func (s *Store) Delete(ctx context.Context, key string, base authority.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("deleting document %s: %w", key, err)
	}
	at, found := slices.BinarySearch(s.state.keys, key)
	if !found {
		return nil
	}
	if held := s.state.documents[key].revision; held != base {
		return fmt.Errorf("deleting document %s at revision %d, which is at %d: %w", key, base, held, authority.ErrConflict)
	}
	s.changing()
	s.state.keys = slices.Delete(s.state.keys, at, at+1)
	delete(s.state.documents, key)
	return nil
}

// Keys implements authority.Documents. It yields those of the moment at which the loop begins.
func (s *Store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		keys, err := s.keys(ctx, prefix)
		if err != nil {
			yield("", err)
			return
		}
		authority.Each(keys)(yield)
	}
}

func (s *Store) keys(ctx context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing documents below %q: %w", prefix, err)
	}
	return slices.Clone(span(s.state.keys, prefix)), nil
}

// List returns the documents whose key begins with prefix as they are at one moment. It is for tests to look at, and no
// part of the port.
func (s *Store) List(ctx context.Context, prefix string) ([]authority.Document, error) {
	keys, err := s.keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var found []authority.Document
	for _, key := range keys {
		held, err := s.Get(ctx, key)
		if err == nil {
			found = append(found, held)
		}
	}
	return found, nil
}

// DigestKey implements authority.Store.
func (s *Store) DigestKey(ctx context.Context, path authority.Path) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("deriving digest key of %s: %w", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return authority.DeriveDigestKey(s.state.master, path)
}

// span returns the part of a sorted list that begins with prefix.
func span[S ~string](sorted []S, prefix string) []S {
	from, _ := slices.BinarySearch(sorted, S(prefix))
	to := from
	for to < len(sorted) && strings.HasPrefix(string(sorted[to]), prefix) {
		to++
	}
	return sorted[from:to]
}
