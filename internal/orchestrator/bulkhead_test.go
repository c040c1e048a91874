// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// swallowed is an account on a server that swallows packets once hangs is set: each call ends with its context.
type swallowed struct {
	upstream.Upstream
	hangs *atomic.Bool
}

func (s swallowed) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return secret.Value{}, ctx.Err()
	}
	return s.Upstream.Apply(ctx, run, current, candidate)
}

func (s swallowed) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return upstream.Unknown, ctx.Err()
	}
	return s.Upstream.Verify(ctx, v)
}

// serve begins looks as a server does, for d.
func (r *rig) serve(process *orchestrator.Orchestrator, d time.Duration) {
	r.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if _, err := process.Begin(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// took is how long the process needs until done says so, an hour at most.
func (r *rig) took(process *orchestrator.Orchestrator, done func() bool) time.Duration {
	r.t.Helper()
	began := time.Now()
	for !done() && time.Since(began) < time.Hour {
		r.serve(process, 100*time.Millisecond)
		synctest.Wait()
	}
	return time.Since(began)
}

func (r *rig) version(i int) authority.Version {
	held, err := r.store.Read(r.t.Context(), r.secrets[i].Path)
	if err != nil {
		r.t.Fatal(err)
	}
	return held.ID.Number
}

// overwriting makes a secret one that has a single account with a single password.
func (r *rig) overwriting(i int) {
	r.t.Helper()
	account, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Overwrite, Clock: time.Now, Random: rand.Reader})
	if err != nil {
		r.t.Fatal(err)
	}
	r.accounts[i] = account
	r.secrets[i].Upstream, r.secrets[i].AllowInterruption = account, true
}

// 400 secrets on one upstream that swallows packets delayed an unrelated rotation by 11 minutes.
func TestSwallowingUpstreamDelaysNoOther(t *testing.T) {
	const many = 400
	estate(t, many+1, func(r *rig) {
		var hangs atomic.Bool
		r.workers = 16
		for i := range many {
			r.secrets[i].Upstream, r.secrets[i].Server = swallowed{r.accounts[i], &hangs}, "swallowing"
		}
		process := r.start()
		r.pass(process, time.Minute)
		for i := range many {
			r.ask(i, fmt.Sprintf("ask-%d", i))
		}
		hangs.Store(true)
		r.serve(process, 5*time.Second)
		r.ask(many, "unrelated")
		if got := r.took(process, func() bool { return r.entry(many).Live == nil && r.version(many) == 2 }); got > 5*time.Second {
			t.Errorf("the unrelated rotation took %s", got)
		}
		hangs.Store(false)
		r.pass(process, 10*time.Minute)
		for i := range many {
			if r.version(i) != 2 {
				t.Errorf("%s is at version %d once its upstream is back", r.secrets[i].Subject.Secret, r.version(i))
			}
		}
	})
}

// applying is an account that tells when it took a change, and answers once it is released.
type applying struct {
	upstream.Upstream
	armed          *atomic.Bool
	taken, release chan struct{}
}

func (a applying) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	v, err := a.Upstream.Apply(ctx, run, current, candidate)
	if a.armed.CompareAndSwap(true, false) {
		close(a.taken)
		<-a.release
	}
	return v, err
}

// Between applying and delivery nobody can sign in to what has one password: such a run goes before all others at its own
// upstream, and those that hang there never take all of it.
func TestInterruptedConsumersGoFirst(t *testing.T) {
	const many = 400
	estate(t, many+1, func(r *rig) {
		var hangs, armed atomic.Bool
		r.workers = 16
		for i := range many {
			r.secrets[i].Upstream, r.secrets[i].Server = swallowed{r.accounts[i], &hangs}, "one"
		}
		r.overwriting(many)
		slow := applying{r.accounts[many], &armed, make(chan struct{}), make(chan struct{})}
		r.secrets[many].Upstream, r.secrets[many].Server = slow, "one"
		process := r.start()
		r.pass(process, time.Minute)
		armed.Store(true)
		r.ask(many, "overwrite")
		r.serve(process, time.Second)
		<-slow.taken
		hangs.Store(true)
		for i := range many {
			r.ask(i, fmt.Sprintf("ask-%d", i))
		}
		r.serve(process, 10*time.Second)
		close(slow.release)
		holds := func() bool { id, _ := r.consumers[many].Held(); return id.Number == 2 }
		if got := r.took(process, holds); got > 5*time.Second {
			t.Errorf("consumers were refused for %s more", got)
		}
		hangs.Store(false)
		r.pass(process, 2*time.Minute)
	})
}

// Many servers that hang at once leave workers for the others.
func TestManySwallowingUpstreamsDelayNoOther(t *testing.T) {
	const many = 100
	estate(t, many+1, func(r *rig) {
		var hangs atomic.Bool
		r.workers = 4
		for i := range many {
			r.secrets[i].Upstream, r.secrets[i].Server = swallowed{r.accounts[i], &hangs}, fmt.Sprintf("swallowing-%d", i)
		}
		process := r.start()
		r.pass(process, time.Minute)
		hangs.Store(true)
		for i := range many {
			r.ask(i, fmt.Sprintf("ask-%d", i))
		}
		r.serve(process, 5*time.Second)
		r.ask(many, "unrelated")
		if got := r.took(process, func() bool { return r.version(many) == 2 }); got > 5*time.Second {
			t.Errorf("the unrelated rotation took %s", got)
		}
		hangs.Store(false)
		r.pass(process, 2*time.Minute)
	})
}

// deafConsumer never ends a call once it is stuck, whatever its context says.
type deafConsumer struct {
	materialize.Consumer
	stuck   atomic.Bool
	calls   atomic.Int64 // begun since it was stuck
	release chan struct{}
}

func (d *deafConsumer) hang() {
	if d.stuck.Load() {
		d.calls.Add(1)
		<-d.release
	}
}

func (d *deafConsumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	d.hang()
	return d.Consumer.Prove(ctx, v)
}

func (d *deafConsumer) Deliver(ctx context.Context, v authority.Versioned) error {
	d.hang()
	return d.Consumer.Deliver(ctx, v)
}

// A consumer that hangs for ever while secrets are kept on their versions stopped the platform, for days of virtual time.
func TestDeafConsumerStopsNobody(t *testing.T) {
	for name, workers := range map[string]int{"one after the other": 1, "many at once": 4} {
		t.Run(name, func(t *testing.T) {
			estate(t, 2, func(r *rig) {
				r.workers = workers
				deaf := &deafConsumer{Consumer: r.consumers[0], release: make(chan struct{})}
				for i := range r.secrets {
					r.secrets[i].Policy.RotationType = "static"
				}
				r.secrets[0].Consumers = []rotation.Consumer{{Consumer: deaf, Needs: materialize.Rolled, Group: "mount"}}
				process := r.start()
				r.pass(process, time.Minute)
				deaf.stuck.Store(true)
				r.pass(process, time.Hour)
				other, err := secret.Text(map[string]string{"key": "changed from elsewhere"})
				if err != nil {
					t.Fatal(err)
				}
				r.consumers[1].Tamper(other)
				r.pass(process, time.Hour)
				if id, v := r.consumers[1].Held(); id.Number != 1 || v.Equal(other) {
					t.Error("the other secret's consumer was left with what somebody else wrote")
				}
				if waiting := process.States()[r.secrets[0].Path].Waiting; !strings.Contains(waiting, "an earlier call to it was given up and has not ended") {
					t.Errorf("the secret waits for %q", waiting)
				}
				if calls := deaf.calls.Load(); calls != 1 {
					t.Errorf("%d calls were made while the first went on", calls)
				}
				deaf.stuck.Store(false)
				close(deaf.release)
				r.pass(process, time.Hour)
				if waiting := process.States()[r.secrets[0].Path].Waiting; waiting != "" {
					t.Errorf("once the consumer answers, the secret waits for %q", waiting)
				}
			})
		})
	}
}

// Consumers of one folder that hang delay neither those of another nor the rotation of others at the same upstream.
func TestDeafFolderDelaysNoOther(t *testing.T) {
	const many = 40
	estate(t, many+1, func(r *rig) {
		r.workers = 4
		release := make(chan struct{})
		var all []*deafConsumer
		for i := range r.secrets {
			r.secrets[i].Server = "one"
			r.secrets[i].Consumers[0].Group = "healthy"
			if i < many {
				deaf := &deafConsumer{Consumer: r.consumers[i], release: release}
				all = append(all, deaf)
				r.secrets[i].Consumers = []rotation.Consumer{{Consumer: deaf, Needs: materialize.Rolled, Group: "mount"}}
			}
		}
		process := r.start()
		r.pass(process, time.Minute)
		for i, deaf := range all {
			deaf.stuck.Store(true)
			r.ask(i, fmt.Sprintf("ask-%d", i))
		}
		r.serve(process, 10*time.Second)
		r.ask(many, "healthy")
		if got := r.took(process, func() bool { return r.version(many) == 2 && r.entry(many).Live == nil }); got > 5*time.Second {
			t.Errorf("the healthy consumer's rotation took %s", got)
		}
		going := int64(0)
		for _, deaf := range all {
			going += deaf.calls.Load()
		}
		if going > outward.Width {
			t.Errorf("%d calls to one folder went on at once", going)
		}
		for _, deaf := range all {
			deaf.stuck.Store(false)
		}
		close(release)
		r.pass(process, 15*time.Minute)
		if got := r.version(0); got != 2 {
			t.Errorf("a secret of the folder is at version %d once it answers", got)
		}
	})
}

// After a restart, runs that an earlier process left under way are looked at before anything new.
func TestRunsUnderWayAreLookedAtFirst(t *testing.T) {
	estate(t, 20, func(r *rig) {
		r.pass(r.start(), time.Minute)
		last := len(r.secrets) - 1
		r.accounts[last].SetDown(true)
		r.secrets[last].Upstream = unmarked{r.secrets[last].Upstream}
		r.ask(last, "left")
		r.pass(r.start(), time.Minute)
		if live := r.entry(last).Live; live == nil || live.Step != journal.Staged {
			t.Fatalf("the run is %+v", live)
		}
		var order []string
		var mu sync.Mutex
		r.records = &watched{Documents: r.store, seen: func(key string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, key)
		}}
		r.workers = 2
		process := r.start()
		if _, err := process.Begin(r.t.Context()); err != nil {
			t.Fatal(err)
		}
		process.Wait()
		at := -1
		for i, key := range order {
			if strings.HasSuffix(key, string(r.secrets[last].Path)) {
				at = i
				break
			}
		}
		if at < 0 || at > 30 {
			t.Errorf("the run under way was looked at after %d other questions", at)
		}
		r.accounts[last].SetDown(false)
		r.pass(process, time.Hour)
	})
}

// watched tells of each question about a secret.
type watched struct {
	journal.Documents
	seen func(key string)
}

func (w *watched) Get(ctx context.Context, key string) (authority.Document, error) {
	if strings.HasPrefix(key, "secret/") {
		w.seen(key)
	}
	return w.Documents.Get(ctx, key)
}
