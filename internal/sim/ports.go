// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// The wrappers below let every outward call pass through World.call. They add nothing else.

// reach is call for methods that return a result. The result is zero when the call fails.
func reach[T any](ctx context.Context, w *World, name string, path authority.Path, effect func(context.Context) (T, error)) (T, error) {
	var result T
	err := w.call(ctx, name, path, func(ctx context.Context) (err error) {
		result, err = effect(ctx)
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return result, nil
}

// ask reads the authority, or the standby that the call in hand reached.
func ask[T any](ctx context.Context, w *World, name, key string, read func(context.Context, *authoritymemory.Store) (T, error)) (T, error) {
	if w.together {
		ctx = context.WithValue(ctx, askedKey{}, key)
	}
	return reach(ctx, w, name, "", func(ctx context.Context) (T, error) {
		v, err := read(ctx, w.asked(w.inHand))
		if w.keep && w.plain && w.counting {
			for _, stale := range []Fault{StaleByOne, StaleByMinute} {
				if other, failed := read(ctx, w.asked(stale)); !reflect.DeepEqual(other, v) || (failed == nil) != (err == nil) {
					point := &w.points[len(w.points)-1]
					point.Stale = append(point.Stale, stale)
				}
			}
		}
		return v, err
	})
}

// asked is the part of the authority that answers under a fault.
func (w *World) asked(fault Fault) *authoritymemory.Store {
	switch fault {
	case StaleByOne:
		return w.store.Behind()
	case StaleByMinute:
		return w.store.Earlier(staleFor)
	}
	return w.store
}

type store struct{ w *World }

var _ authority.Store = store{}

// subject is the secret that a value's path or a record's key is about.
func subject(name string) authority.Path {
	return authority.Path(strings.TrimPrefix(name, "secret/"))
}

func (s store) Incarnation() authority.Incarnation { return s.w.store.Incarnation() }

func (s store) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	return ask(ctx, s.w, "read value", string(path), func(ctx context.Context, from *authoritymemory.Store) (authority.Versioned, error) {
		return from.Read(ctx, path)
	})
}

func (s store) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	return ask(ctx, s.w, "read version", string(path), func(ctx context.Context, from *authoritymemory.Store) (authority.Versioned, error) {
		return from.ReadVersion(ctx, path, number)
	})
}

func (s store) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	return reach(ctx, s.w, "write value", subject(string(path)), func(ctx context.Context) (authority.VersionID, error) {
		return s.w.store.Write(ctx, path, base, run, v)
	})
}

func (s store) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	return s.w.call(ctx, "destroy version", path, func(ctx context.Context) error { return s.w.store.Destroy(ctx, path, number) })
}

func (s store) Get(ctx context.Context, key string) (authority.Document, error) {
	return ask(ctx, s.w, "get record", key, func(ctx context.Context, from *authoritymemory.Store) (authority.Document, error) {
		return from.Get(ctx, key)
	})
}

func (s store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	return reach(ctx, s.w, "put record", subject(key), func(ctx context.Context) (authority.Revision, error) {
		revision, err := s.w.store.Put(ctx, key, base, data)
		if id, is := strings.CutPrefix(key, trigger.Prefix); is && err == nil && !trigger.Open(authority.Document{Key: key, Data: data}) {
			s.w.done[id] = true
			s.w.serves(id, data)
		}
		return revision, err
	})
}

func (s store) Delete(ctx context.Context, key string, base authority.Revision) error {
	return s.w.call(ctx, "delete record", "", func(ctx context.Context) error { return s.w.store.Delete(ctx, key, base) })
}

func (s store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	keys, err := ask(ctx, s.w, "list records", prefix, func(ctx context.Context, from *authoritymemory.Store) ([]string, error) {
		return authority.Collect(from.Keys(ctx, prefix))
	})
	if err != nil {
		return authority.Failed(err)
	}
	return authority.Each(keys)
}

func (s store) DigestKey(ctx context.Context, path authority.Path) ([]byte, error) {
	return s.w.store.DigestKey(ctx, path) // derived: no call
}

type record struct{ w *World }

func (r record) Append(ctx context.Context, event audit.Event) error {
	return r.w.call(ctx, "append record", event.Path, func(ctx context.Context) error { return r.w.log.append(ctx, event) })
}

// ledger stands for the audit log: the steps of each run in order, each once. What the real log would refuse, it refuses.
type ledger map[authority.RunID][]string

func (l ledger) append(ctx context.Context, event audit.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.Contains(l[event.Run], event.Step) {
		return nil
	}
	if _, err := audit.Encode(event); err != nil {
		return err
	}
	l[event.Run] = append(l[event.Run], event.Step)
	return nil
}

type account struct {
	w    *World
	path authority.Path
	to   *upstreammemory.Upstream
}

var (
	_ upstream.Upstream  = account{}
	_ upstream.Collector = account{}
	_ upstream.Lister    = account{}
	_ upstream.Decoyer   = account{}
	_ upstream.Witness   = account{}
	_ upstream.Marked    = account{}
)

func (a account) Kind() upstream.Kind { return a.to.Kind() }

func (a account) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return reach(ctx, a.w, "propose", "", func(ctx context.Context) (secret.Value, error) { return a.to.Propose(ctx, current) })
}

func (a account) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	return reach(ctx, a.w, "apply", "", func(ctx context.Context) (v secret.Value, err error) {
		a.w.copied(a.path, run, candidate)
		return v, a.change(run, func() error {
			v, err = a.to.Apply(ctx, run, current, candidate)
			return err
		})
	})
}

func (a account) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	verdict := upstream.Unknown
	err := a.w.call(ctx, "verify", "", func(ctx context.Context) (err error) {
		verdict, err = a.to.Verify(ctx, v)
		return err
	})
	if err != nil {
		return upstream.Unknown, err
	}
	return verdict, nil
}

func (a account) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	return a.w.call(ctx, "revoke", "", func(ctx context.Context) error {
		a.w.settling(a.path, run, old)
		a.w.ending(a.path, run)
		return a.change(run, func() error { return a.to.Revoke(ctx, run, old, successor) })
	})
}

func (a account) Collect(ctx context.Context, run authority.RunID) error {
	return a.w.call(ctx, "collect", "", func(ctx context.Context) error {
		return a.change(run, func() error { return a.to.Collect(ctx, run) })
	})
}

func (a account) List(ctx context.Context) ([]string, error) {
	return reach(ctx, a.w, "list credentials", "", a.to.List)
}

func (a account) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	return reach(ctx, a.w, "read marker", "", func(ctx context.Context) (string, error) { return a.to.Stranger(ctx, known) })
}

func (a account) Decoy(v secret.Value) (secret.Value, error) { return a.to.Decoy(v) }

func (a account) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	return reach(ctx, a.w, "ask for uses", "", func(ctx context.Context) ([]upstream.Use, error) { return a.to.Uses(ctx, old, since) })
}

// change makes one, checks the invariants with the run whose change just took effect, and loses it where the call in hand
// is to be lost.
func (a account) change(run authority.RunID, do func() error) error {
	before := a.to.Snapshot()
	if err := do(); err != nil {
		return err
	}
	a.w.follows(a.path, run, before.Marker())
	a.w.check(a.path, run)
	a.w.lose(a, before)
	return nil
}

type consumer struct {
	w    *World
	path authority.Path
	*materializememory.Consumer
}

var _ materialize.Consumer = consumer{}

func (c consumer) Deliver(ctx context.Context, v authority.Versioned) error {
	return c.w.call(ctx, "deliver", c.path, func(ctx context.Context) error {
		if err := c.w.absent(c.Consumer); err != nil {
			return err
		}
		err := c.Consumer.Deliver(ctx, v)
		c.w.fallBack(c)
		return err
	})
}

func (c consumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	return reach(ctx, c.w, "prove", "", func(ctx context.Context) (materialize.Proof, error) {
		if err := c.w.absent(c.Consumer); err != nil {
			return materialize.Proof{Missing: err.Error()}, nil // as hub.Consumer does
		}
		proof, err := c.Consumer.Prove(ctx, v)
		c.w.fallBack(c)
		return proof, err
	})
}

func (c consumer) Withdraw(ctx context.Context, v authority.Versioned) error {
	return c.w.call(ctx, "withdraw", c.path, func(ctx context.Context) error {
		if err := c.w.absent(c.Consumer); err != nil {
			return err
		}
		return c.Consumer.Withdraw(ctx, v)
	})
}

// escrow keeps emergency copies.
type escrow struct{ w *World }

func (e escrow) Deposit(ctx context.Context, path authority.Path, run authority.RunID, candidate secret.Value) error {
	return e.w.call(ctx, "keep a copy", path, func(context.Context) error {
		e.w.escrowed[run] = candidate
		return nil
	})
}

type source struct{ w *World }

func (s source) Value(ctx context.Context, secretName string) (secret.Value, error) {
	return reach(ctx, s.w, "decrypt bootstrap", "", func(context.Context) (secret.Value, error) {
		for _, known := range s.w.secrets {
			if known.Subject.Secret == secretName {
				return known.Bootstrap, nil
			}
		}
		return secret.Value{}, authority.ErrNotFound
	})
}
