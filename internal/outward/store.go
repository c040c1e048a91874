// SPDX-License-Identifier: Apache-2.0

package outward

import (
	"context"
	"iter"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// storeTimeout bounds a call to the authority.
const storeTimeout = 30 * time.Second

// The parts that an authority is: changes and questions are kept apart.
const (
	Questions = "questions to the authority"
	Changes   = "changes to the authority"
)

// Store is an authority whose calls are bounded. A change that was given up may land later: every change of the port is
// conditional on what it follows, or may be repeated, so whoever reads again sees what became of it. Changes and questions
// are kept apart: while a change hangs, questions are still asked.
type Store struct {
	store authority.Store
	calls *Calls
}

var _ authority.Store = Store{}

// NewStore bounds the calls to store.
func NewStore(store authority.Store, calls *Calls) Store { return Store{store, calls} }

func asked[T any](ctx context.Context, s Store, fn func(context.Context) (T, error)) (T, error) {
	return Do(ctx, s.calls, Call{Part: Questions, Limit: storeTimeout, Own: true}, fn)
}

func changed[T any](ctx context.Context, s Store, fn func(context.Context) (T, error)) (T, error) {
	return Do(ctx, s.calls, Call{Part: Changes, Limit: storeTimeout, Own: true}, fn)
}

func nothing(err error) (struct{}, error) { return struct{}{}, err }

// Incarnation implements authority.Store.
func (s Store) Incarnation() authority.Incarnation { return s.store.Incarnation() }

// Read implements authority.Store.
func (s Store) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	return asked(ctx, s, func(ctx context.Context) (authority.Versioned, error) { return s.store.Read(ctx, path) })
}

// ReadVersion implements authority.Store.
func (s Store) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	return asked(ctx, s, func(ctx context.Context) (authority.Versioned, error) { return s.store.ReadVersion(ctx, path, number) })
}

// Write implements authority.Store.
func (s Store) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	return changed(ctx, s, func(ctx context.Context) (authority.VersionID, error) { return s.store.Write(ctx, path, base, run, v) })
}

// Destroy implements authority.Store.
func (s Store) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	_, err := changed(ctx, s, func(ctx context.Context) (struct{}, error) { return nothing(s.store.Destroy(ctx, path, number)) })
	return err
}

// Get implements authority.Store.
func (s Store) Get(ctx context.Context, key string) (authority.Document, error) {
	return asked(ctx, s, func(ctx context.Context) (authority.Document, error) { return s.store.Get(ctx, key) })
}

// Put implements authority.Store.
func (s Store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	return changed(ctx, s, func(ctx context.Context) (authority.Revision, error) { return s.store.Put(ctx, key, base, data) })
}

// Delete implements authority.Store.
func (s Store) Delete(ctx context.Context, key string, base authority.Revision) error {
	_, err := changed(ctx, s, func(ctx context.Context) (struct{}, error) { return nothing(s.store.Delete(ctx, key, base)) })
	return err
}

// Keys implements authority.Store. The keys are collected before the loop begins: what it does is not bounded.
func (s Store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		keys, err := asked(ctx, s, func(ctx context.Context) ([]string, error) { return authority.Collect(s.store.Keys(ctx, prefix)) })
		if err != nil {
			yield("", err)
			return
		}
		authority.Each(keys)(yield)
	}
}

// DigestKey implements authority.Store. It asks nobody.
func (s Store) DigestKey(ctx context.Context, path authority.Path) ([]byte, error) {
	return s.store.DigestKey(ctx, path)
}
