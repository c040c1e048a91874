// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var errDead = errors.New("the process is gone")

// death kills a process at one of its calls that change something: before the call has its effect, or after.
type death struct {
	at    int
	after bool
	calls int
}

// through makes a call of the process that may be its last.
func through[T any](d *death, call func() (T, error)) (T, error) {
	var zero T
	d.calls++
	switch {
	case d.calls > d.at, d.calls == d.at && !d.after:
		return zero, errDead
	case d.calls == d.at:
		_, _ = call()
		return zero, errDead
	}
	return call()
}

func (d *death) do(call func() error) error {
	_, err := through(d, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// mortal is what a process that is to be killed has of the authority.
type mortal struct {
	*authoritymemory.Store
	*death
}

func (m mortal) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	return through(m.death, func() (authority.VersionID, error) { return m.Store.Write(ctx, path, base, run, v) })
}

func (m mortal) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	return through(m.death, func() (authority.Revision, error) { return m.Store.Put(ctx, key, base, data) })
}

func (m mortal) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	return m.do(func() error { return m.Store.Destroy(ctx, path, number) })
}

// mortalLog is what it has of the record.
type mortalLog struct {
	*auditmemory.Log
	*death
}

func (m mortalLog) Append(ctx context.Context, event audit.Event) error {
	return m.do(func() error { return m.Log.Append(ctx, event) })
}

// mortalAccount is what it has of the upstream.
type mortalAccount struct {
	*upstreammemory.Upstream
	*death
}

func (m mortalAccount) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	return through(m.death, func() (secret.Value, error) { return m.Upstream.Apply(ctx, run, current, candidate) })
}

func (m mortalAccount) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	return m.do(func() error { return m.Upstream.Revoke(ctx, run, old, successor) })
}

var (
	_ upstream.Upstream  = mortalAccount{}
	_ rotation.Authority = mortal{}
	_ audit.Recorder     = mortalLog{}
)

// process is a new process over what the rig has, which d kills, if it is not nil.
func (r *rig) process(log *auditmemory.Log, d *death) (*rotation.Engine, rotation.Subject) {
	s := r.subject
	config := rotation.Config{Authority: r.store, Journal: journal.New(r.store), Record: log, Now: time.Now, NewRun: r.NewRun}
	if d != nil {
		m := mortal{r.store, d}
		config.Authority, config.Journal, config.Record = m, journal.New(m), mortalLog{log, d}
		if s.Upstream != nil {
			s.Upstream = mortalAccount{r.account, d}
		}
	}
	return rotation.New(config), s
}

// until advances the live run until there is none, or the process is dead. Each step comes within the fence and the back-off of a run.
func until(t *testing.T, engine *rotation.Engine, s rotation.Subject, d *death) {
	t.Helper()
	for range 200 {
		outlook, err := engine.Advance(t.Context(), s)
		switch {
		case errors.Is(err, errDead) || d != nil && d.calls >= d.at:
			return
		case err != nil:
			t.Fatal(err)
		case outlook.Run == "" || outlook.Ended != "":
			return
		}
		time.Sleep(max(time.Until(outlook.Again), time.Millisecond))
	}
	t.Fatal("the run does not end")
}

// asking is what a person asks for in mid-run, with what is to be so at the end whenever the process was killed over it.
type asking struct {
	shape upstreammemory.Shape // "" for a secret whose values only people make
	// before leads up to it; ask is done again while it fails, unless it is refused.
	before func(*testing.T, *rig)
	ask    func(context.Context, *rotation.Engine, rotation.Subject) error
	ending func(*testing.T, *rig, *auditmemory.Log, secret.Value)
}

// A process that is killed at any call over what a person asked for leaves a run that the next process ends, as it was asked for.
func TestKilledOverWhatAPersonAskedFor(t *testing.T) {
	for name, c := range askings(t) {
		t.Run(name, func(t *testing.T) { c.killedAnywhere(t) })
	}
}

// killedAnywhere kills the process at each of its calls, before it and after it.
func (c asking) killedAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			d := &death{at: at, after: after}
			t.Run(fmt.Sprintf("call %d, after %v", at, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.killed(t, d) })
			})
			if d.calls < at { // it came to its end
				break
			}
		}
	}
}

func (c asking) killed(t *testing.T, d *death) {
	var r *rig
	if c.shape == "" {
		r = static(t)
	} else {
		r, _ = spied(t, upstreammemory.Config{Shape: c.shape})
		r.subject.Upstream, r.subject.AllowInterruption = r.account, true
	}
	was := r.value(t).Value
	log := r.Record.(*auditmemory.Log)
	c.before(t, r)
	engine, s := r.process(log, d)
	err := c.ask(t.Context(), engine, s)
	if err == nil {
		until(t, engine, s, d)
	}
	engine, s = r.process(log, nil)
	for tries := 0; err != nil && tries < 20; tries++ { // the person tries again
		if err = c.ask(t.Context(), engine, s); errors.Is(err, rotation.ErrNotAllowed) {
			break
		}
		if err != nil {
			time.Sleep(time.Minute)
		}
	}
	until(t, engine, s, nil)
	if err := engine.Clean(t.Context(), r.entry(t)); err != nil {
		t.Fatal(err)
	}
	if live := r.entry(t).Live; live != nil {
		t.Errorf("the run waits at %s: %+v", live.Step, live.Waiting)
	}
	c.ending(t, r, log, was)
}

func askings(t *testing.T) map[string]asking {
	t.Helper()
	second := token(t, "second")
	supplied := func(v secret.Value) func(context.Context, *rotation.Engine, rotation.Subject) error {
		return func(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
			_, err := engine.Supply(ctx, s, "me", "it expires", v)
			return err
		}
	}
	all := map[string]asking{
		"supply of a static secret": {
			before: func(*testing.T, *rig) {}, ask: supplied(second),
			ending: func(t *testing.T, r *rig, log *auditmemory.Log, _ secret.Value) { taken(t, r, log, second) },
		},
	}
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Overwrite} {
		var byHand secret.Value // of the try at hand
		all["supply of what was set by hand, "+string(shape)] = asking{
			shape: shape,
			before: func(t *testing.T, r *rig) {
				var err error
				old := r.value(t).Value
				if byHand, err = r.account.Propose(t.Context(), old); err == nil {
					_, err = r.account.Apply(t.Context(), "by-hand", old, byHand)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			ask: func(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
				return supplied(byHand)(ctx, engine, s)
			},
			ending: func(t *testing.T, r *rig, log *auditmemory.Log, was secret.Value) {
				taken(t, r, log, byHand)
				if !r.account.Accepts(byHand) || r.account.Accepts(was) {
					t.Errorf("the new one is honoured: %v, the old one: %v", r.account.Accepts(byHand), r.account.Accepts(was))
				}
			},
		}
		all["abort, "+string(shape)] = asking{
			shape: shape,
			before: func(t *testing.T, r *rig) {
				r.plan(t) // it is staged with that
			},
			ask: func(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
				entry, err := engine.Journal.Load(ctx, s.Path)
				if err != nil || entry.Live == nil {
					return err
				}
				return engine.Abort(ctx, s, entry.Live.ID, "me", "stop")
			},
			ending: func(t *testing.T, r *rig, _ *auditmemory.Log, was secret.Value) {
				if last := r.entry(t).Last; last.Result != "undone" || !last.Aborted {
					t.Errorf("the run ended %+v", last)
				}
				if !r.account.Accepts(was) || !r.value(t).Value.Equal(was) {
					t.Error("the credential of before is not honoured or not of record")
				}
				if honoured := len(r.account.Credentials()); honoured != 1 {
					t.Errorf("%d credentials are honoured, want the one of before", honoured)
				}
			},
		}
		all["force, "+string(shape)] = asking{
			shape: shape,
			before: func(t *testing.T, r *rig) {
				r.consumed("deaf")[0].IgnoreReloads(true)
				r.plan(t)
				engine, s := r.process(r.Record.(*auditmemory.Log), nil)
				for range 40 {
					if _, err := engine.Advance(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
			},
			ask: func(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
				entry, err := engine.Journal.Load(ctx, s.Path)
				if err != nil || entry.Live == nil {
					return err
				}
				_, err = engine.Force(ctx, s, entry.Live.ID, "me", "scrapped")
				return err
			},
			ending: func(t *testing.T, r *rig, _ *auditmemory.Log, was secret.Value) {
				if last := r.entry(t).Last; last.Result != "completed" || last.Forced == "" {
					t.Errorf("the run ended %+v", last)
				}
				if len(r.waived(t)) == 0 {
					t.Error("what was waived is not on record")
				}
				if !r.account.Accepts(r.value(t).Value) || r.account.Accepts(was) {
					t.Error("the new one is refused, or the old one honoured")
				}
			},
		}
	}
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Issued} {
		all["compromise over a run that waits, "+string(shape)] = superseding(shape)
	}
	return all
}

// taken wants v to be the value of record, by a run that says on record who handed it in.
func taken(t *testing.T, r *rig, log *auditmemory.Log, v secret.Value) {
	t.Helper()
	held := r.value(t)
	if !held.Value.Equal(v) {
		t.Fatalf("version %s is not what was handed in", held.ID)
	}
	told := false
	for event, err := range log.Events(t.Context(), audit.Filter{Run: held.ID.Run}) {
		if err != nil {
			t.Fatal(err)
		}
		told = told || event.Step == "supplied" && event.Detail == "by me: it expires"
	}
	if last := r.entry(t).Last; !told || last.Run != held.ID.Run || last.Result != "completed" {
		t.Errorf("on record who handed it in: %v; the last run is %+v", told, last)
	}
}
