// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
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

type store struct{ w *World }

var _ authority.Store = store{}

// subject is the secret that a value's path or a record's key is about.
func subject(name string) authority.Path {
	for _, prefix := range []string{"secret/", "custody/pending/"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if prefix == "custody/pending/" {
				rest = rest[:strings.LastIndex(rest, "/")]
			}
			return authority.Path(rest)
		}
	}
	return authority.Path(name)
}

func (s store) Incarnation() authority.Incarnation { return s.w.store.Incarnation() }

func (s store) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	return reach(ctx, s.w, "read value", "", func(ctx context.Context) (authority.Versioned, error) { return s.w.store.Read(ctx, path) })
}

func (s store) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	return reach(ctx, s.w, "read version", "", func(ctx context.Context) (authority.Versioned, error) {
		return s.w.store.ReadVersion(ctx, path, number)
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

func (s store) Remove(ctx context.Context, path authority.Path) error {
	return s.w.call(ctx, "remove pending", subject(string(path)), func(ctx context.Context) error { return s.w.store.Remove(ctx, path) })
}

func (s store) Paths(ctx context.Context, prefix string) ([]authority.Path, error) {
	return reach(ctx, s.w, "list paths", "", func(ctx context.Context) ([]authority.Path, error) { return s.w.store.Paths(ctx, prefix) })
}

func (s store) Get(ctx context.Context, key string) (authority.Record, error) {
	return reach(ctx, s.w, "get record", "", func(ctx context.Context) (authority.Record, error) { return s.w.store.Get(ctx, key) })
}

func (s store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	return reach(ctx, s.w, "put record", subject(key), func(ctx context.Context) (authority.Revision, error) {
		revision, err := s.w.store.Put(ctx, key, base, data)
		if id, done := strings.CutPrefix(key, "request/done/"); done && err == nil {
			s.w.done[id] = true
		}
		return revision, err
	})
}

func (s store) Delete(ctx context.Context, key string) error {
	return s.w.call(ctx, "delete record", "", func(ctx context.Context) error { return s.w.store.Delete(ctx, key) })
}

func (s store) List(ctx context.Context, prefix string) ([]authority.Record, error) {
	return reach(ctx, s.w, "list records", "", func(ctx context.Context) ([]authority.Record, error) { return s.w.store.List(ctx, prefix) })
}

func (s store) DigestKey(ctx context.Context, path authority.Path) ([]byte, error) {
	return s.w.store.DigestKey(ctx, path) // cached beside the values: no call of its own
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
)

func (a account) Kind() upstream.Kind { return a.to.Kind() }

func (a account) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return reach(ctx, a.w, "propose", "", func(ctx context.Context) (secret.Value, error) { return a.to.Propose(ctx, current) })
}

func (a account) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	return reach(ctx, a.w, "apply", "", func(ctx context.Context) (secret.Value, error) {
		v, err := a.to.Apply(ctx, run, current, candidate)
		a.landed(run, err)
		return v, err
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
		err := a.to.Revoke(ctx, run, old, successor)
		a.landed(run, err)
		return err
	})
}

func (a account) Collect(ctx context.Context, run authority.RunID) error {
	return a.w.call(ctx, "collect", "", func(ctx context.Context) error {
		err := a.to.Collect(ctx, run)
		a.landed(run, err)
		return err
	})
}

func (a account) List(ctx context.Context) ([]string, error) {
	return reach(ctx, a.w, "list credentials", "", a.to.List)
}

func (a account) Decoy(v secret.Value) (secret.Value, error) { return a.to.Decoy(v) }

func (a account) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	return reach(ctx, a.w, "ask for uses", "", func(ctx context.Context) ([]upstream.Use, error) { return a.to.Uses(ctx, old, since) })
}

// landed checks the invariants with the run whose change just took effect.
func (a account) landed(run authority.RunID, err error) {
	if err == nil {
		a.w.check(a.path, run)
	}
}

type consumer struct {
	w    *World
	path authority.Path
	materialize.Consumer
}

func (c consumer) Deliver(ctx context.Context, v authority.Versioned) error {
	return c.w.call(ctx, "deliver", c.path, func(ctx context.Context) error { return c.Consumer.Deliver(ctx, v) })
}

func (c consumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	return reach(ctx, c.w, "prove", "", func(ctx context.Context) (materialize.Proof, error) { return c.Consumer.Prove(ctx, v) })
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
