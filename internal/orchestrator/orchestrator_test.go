// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

const day = 24 * time.Hour

// rig is an estate over doubles that outlive the orchestrators.
type rig struct {
	t         *testing.T
	store     *authoritymemory.Store
	records   journal.Documents // of the journal; the store's by default
	log       *auditmemory.Log
	began     time.Time
	runs      atomic.Int64
	maxTimed  int
	workers   int
	secrets   []orchestrator.Secret
	consumers []*materializememory.Consumer
	accounts  []*upstreammemory.Upstream
}

// estate makes count generated secrets with one consumer each.
func estate(t *testing.T, count int, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, log: auditmemory.New(time.Now), began: time.Now()}
		r.store = authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now})
		for i := range count {
			account, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader})
			if err != nil {
				t.Fatal(err)
			}
			consumer := materializememory.New(materializememory.Config{Name: "app", Clock: time.Now})
			name := fmt.Sprintf("s%d", i)
			r.accounts, r.consumers = append(r.accounts, account), append(r.consumers, consumer)
			r.secrets = append(r.secrets, orchestrator.Secret{
				First: true,
				Subject: rotation.Subject{
					Secret: name, Path: authority.Path("app/" + name), Upstream: account,
					Consumers: []rotation.Consumer{{Consumer: consumer, Needs: materialize.Rolled}},
					Policy:    journal.Policy{Name: "short", RotationType: "time", TTL: 2 * day, RotateBefore: day, RevokeOld: true, FailureStrategy: "retry"},
				},
			})
		}
		test(r)
	})
}

func (r *rig) Value(context.Context, string) (secret.Value, error) {
	return secret.Value{}, errors.New("there is no document")
}

// start is a new process.
func (r *rig) start() *orchestrator.Orchestrator {
	var records journal.Documents = r.store
	if r.records != nil {
		records = r.records
	}
	entries := journal.New(records)
	newRun := func() authority.RunID { return authority.RunID(fmt.Sprintf("run-%d", r.runs.Add(1))) }
	process := orchestrator.New(orchestrator.Config{
		Journal: entries, Values: r.store, Record: r.log, Now: time.Now, NewRun: newRun, MaxTimedPerHour: r.maxTimed,
		Queue: r.queue(), Workers: r.workers,
		Clock: trigger.NewClock(r.store, time.Now, func() time.Duration { return time.Since(r.began) }),
		Handover: handover.New(handover.Config{
			Authority: r.store, Journal: entries, Record: r.log, Source: r, Now: time.Now, NewRun: newRun,
		}),
		Rotation: rotation.New(rotation.Config{Authority: r.store, Journal: entries, Record: r.log, Now: time.Now, NewRun: newRun}),
	})
	process.Use(r.secrets)
	return process
}

func (r *rig) queue() *trigger.Queue { return trigger.New(r.store, r.log, time.Now) }

// pass ticks for d.
func (r *rig) pass(process *orchestrator.Orchestrator, d time.Duration) {
	r.t.Helper()
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		next, err := process.Tick(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(min(max(time.Until(next), time.Millisecond), time.Until(until)))
	}
}

// wantSecond wants count secrets at their second version and the others, which are returned, at their first. Which secrets come first
// where only some may begin is not promised.
func (r *rig) wantSecond(count int) (others []int) {
	r.t.Helper()
	for i := range r.secrets {
		switch held, err := r.store.Read(r.t.Context(), r.secrets[i].Path); {
		case err != nil || held.ID.Number > 2:
			r.t.Fatalf("%s is at version %d, %v", r.secrets[i].Path, held.ID.Number, err)
		case held.ID.Number == 1:
			others = append(others, i)
		}
	}
	if len(r.secrets)-len(others) != count {
		r.t.Fatalf("values are at versions %s, want %d at the second", r.versions(), count)
	}
	return others
}

// versions are the numbers of the values of record.
func (r *rig) versions() string {
	r.t.Helper()
	var numbers []authority.Version
	for _, s := range r.secrets {
		held, err := r.store.Read(r.t.Context(), s.Path)
		if err != nil && !errors.Is(err, authority.ErrNotFound) {
			r.t.Fatal(err)
		}
		numbers = append(numbers, held.ID.Number)
	}
	return fmt.Sprint(numbers)
}

func (r *rig) wantVersions(want ...authority.Version) {
	r.t.Helper()
	if got := r.versions(); got != fmt.Sprint(want) {
		r.t.Errorf("values are at versions %s, want %v", got, want)
	}
}

// VSO #285, Reloader #1089, ESO #4231: a restart of the controller restarted every workload. vault PR 12563: it also
// rotated before its time.
func TestStartUpTouchesNothingThatIsRight(t *testing.T) {
	estate(t, 5, func(r *rig) {
		r.pass(r.start(), time.Hour)
		r.wantVersions(1, 1, 1, 1, 1)
		reloads := 0
		for _, consumer := range r.consumers {
			reloads += consumer.Reloads()
		}
		for range 10 {
			r.pass(r.start(), 30*time.Minute)
		}
		for _, consumer := range r.consumers {
			reloads -= consumer.Reloads()
		}
		if reloads != 0 {
			t.Errorf("restarts of the orchestrator reloaded consumers %d times", -reloads)
		}
		r.wantVersions(1, 1, 1, 1, 1)
	})
}

func TestNothingRotatesBeforeItsTimeAfterRestarts(t *testing.T) {
	estate(t, 1, func(r *rig) {
		for range 11 {
			r.pass(r.start(), 2*time.Hour)
		}
		r.wantVersions(1)
		r.pass(r.start(), 3*time.Hour)
		r.wantVersions(2)
	})
}

// Reloader #814: changes made while the controller was down were never acted on.
func TestDriftWhileDownIsRepaired(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		other, err := secret.Text(map[string]string{"key": "changed from elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		r.consumers[0].Tamper(other)
		process := r.start()
		r.pass(process, time.Minute)
		held, _ := r.store.Read(t.Context(), r.secrets[0].Path)
		if id, v := r.consumers[0].Held(); id != held.ID || !v.Equal(held.Value) {
			t.Errorf("the consumer holds %s, want %s", id, held.ID)
		}
	})
}

// A secret whose upstream is broken holds up no other one.
func TestFaultOfOneSecretStopsNoOther(t *testing.T) {
	estate(t, 3, func(r *rig) {
		r.accounts[1].SetDown(true)
		process := r.start()
		r.pass(process, time.Hour)
		r.wantVersions(1, 0, 1)
		states := process.States()
		for i, s := range r.secrets {
			if waits := !states[s.Path].Waiting.None(); waits != (i == 1) {
				t.Errorf("%s waits because of %+v", s.Secret, states[s.Path].Waiting)
			}
		}
		r.accounts[1].SetDown(false)
		r.pass(process, time.Hour)
		r.wantVersions(1, 1, 1)
	})
}

// ESO #1049: a missing value was shown as in order.
func TestLostValueIsReported(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.RotationType = "static"
		process := r.start()
		r.pass(process, time.Hour)
		if err := r.store.Remove(t.Context(), r.secrets[0].Path); err != nil {
			t.Fatal(err)
		}
		r.pass(process, time.Hour)
		if got := process.States()[r.secrets[0].Path].Waiting; !got.Is(reason.ValueGone) {
			t.Errorf("the secret reports %q", got)
		}
		r.wantVersions(0)
	})
}

func TestTimedRunsAreCapped(t *testing.T) {
	estate(t, 6, func(r *rig) {
		r.maxTimed = 2
		r.pass(r.start(), day-time.Hour)
		r.wantVersions(1, 1, 1, 1, 1, 1)
		process := r.start()
		r.pass(process, 90*time.Minute) // all are due at once
		r.wantVersions(2, 2, 1, 1, 1, 1)
		if got := process.States()[r.secrets[5].Path].Waiting; !got.Is(reason.TimedRunsCapped) {
			t.Errorf("the last secret reports %q", got)
		}
		r.pass(r.start(), 20*time.Minute) // a restart forgets no run
		r.wantVersions(2, 2, 1, 1, 1, 1)
		if _, err := r.queue().Submit(t.Context(), trigger.Request{ID: "a", Path: r.secrets[5].Path, Kind: trigger.Manual, By: "me", Reason: "now"}); err != nil {
			t.Fatal(err)
		}
		r.pass(r.start(), 5*time.Minute)
		r.wantVersions(2, 2, 1, 1, 1, 2) // a person is not held up
		r.pass(r.start(), 2*time.Hour)
		r.wantVersions(2, 2, 2, 2, 2, 2)
	})
}

func TestBarredEstateIsLeftAlone(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		process.Barred = func() string { return "recovering" }
		if next, err := process.Tick(r.t.Context()); err != nil || time.Until(next) < time.Minute {
			t.Errorf("the next look is in %s, %v", time.Until(next), err)
		}
		r.pass(process, time.Hour)
		r.wantVersions(0)
	})
}

// Secrets of one stagger set rotate one after the other, with the gap between them, however many are due or asked for.
func TestStaggeredSecretsKeepApart(t *testing.T) {
	const gap = 3 * time.Hour
	estate(t, 3, func(r *rig) {
		for i := range r.secrets {
			r.secrets[i].Stagger = &orchestrator.Stagger{Set: "apart", Gap: gap}
		}
		r.pass(r.start(), time.Minute)
		r.wantVersions(1, 1, 1) // a first issue is not held up
		for _, s := range r.secrets {
			if _, err := r.queue().Submit(r.t.Context(), trigger.Request{ID: "ask-" + s.Subject.Secret, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "test", Reason: "all at once"}); err != nil {
				t.Fatal(err)
			}
		}
		r.workers = 3
		process := r.start()
		var ends []time.Time
		for range 4 {
			r.pass(process, gap+time.Minute)
			r.pass(r.start(), time.Second) // a restart forgets nothing
		}
		entries := journal.New(r.store)
		for _, s := range r.secrets {
			entry, err := entries.Load(r.t.Context(), s.Path)
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, entry.Last.Ended)
		}
		r.wantVersions(2, 2, 2)
		slices.SortFunc(ends, time.Time.Compare)
		for i := 1; i < len(ends); i++ {
			if apart := ends[i].Sub(ends[i-1]); apart < gap {
				t.Errorf("two rotations ended %s apart, want %s or more", apart, gap)
			}
		}
	})
}

// pair makes the secrets a group.
func (r *rig) pair() {
	group := &rotation.Group{Name: "pair", Leader: r.secrets[0].Path}
	for i := range r.secrets {
		group.Members = append(group.Members, rotation.Member{Secret: r.secrets[i].Subject.Secret, Path: r.secrets[i].Path})
		r.secrets[i].Group = group
	}
}

// A group waits for a member that cannot begin, and says for which.
func TestGroupWaitsForItsMembers(t *testing.T) {
	estate(t, 2, func(r *rig) {
		r.pair()
		r.pass(r.start(), time.Minute)
		r.wantVersions(1, 1)
		r.secrets[1].Suspended = true
		process := r.start()
		r.pass(process, 25*time.Hour)
		r.wantVersions(1, 1)
		if waiting := process.States()[r.secrets[0].Path].Waiting; !waiting.Is(reason.GroupMemberHeld) || waiting.Args["member"] != r.secrets[1].Subject.Secret {
			t.Errorf("the leader waits because of %+v, want the suspended member", waiting)
		}
		r.secrets[1].Suspended = false
		r.pass(r.start(), time.Hour)
		r.wantVersions(2, 2)
	})
}

// A member that looked before its group began, and asks for it after, has been served by that run.
func TestMemberAsksWhileItsGroupBegins(t *testing.T) {
	estate(t, 2, func(r *rig) {
		t := r.t
		r.pair()
		slow := &slowRecords{Documents: r.store, of: string(r.secrets[0].Path), release: make(chan struct{})}
		r.records, r.workers = slow, 2
		process := r.start()
		r.pass(process, time.Minute)
		r.wantVersions(1, 1)
		ask := func(i int) {
			s := r.secrets[i]
			if _, err := r.queue().Submit(r.t.Context(), trigger.Request{ID: "ask-" + s.Subject.Secret, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "test", Reason: "both"}); err != nil {
				t.Fatal(err)
			}
			if _, err := process.Begin(r.t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		slow.armed.Store(true)
		ask(1)
		ask(0)
		close(slow.release)
		r.pass(process, time.Hour)
		r.wantVersions(2, 2)
	})
}

// slowRecords answer the next question about a secret late, with what was true when it was asked.
type slowRecords struct {
	journal.Documents
	of      string
	armed   atomic.Bool
	release chan struct{}
}

func (s *slowRecords) Get(ctx context.Context, key string) (authority.Document, error) {
	record, err := s.Documents.Get(ctx, key)
	if strings.HasSuffix(key, s.of) && s.armed.CompareAndSwap(true, false) {
		<-s.release
	}
	return record, err
}

// What waits for the end of another's run is looked at when that has ended.
func TestStaggeredBeginsWhenTheGapIsOver(t *testing.T) {
	estate(t, 2, func(r *rig) {
		for i := range r.secrets {
			r.secrets[i].Stagger = &orchestrator.Stagger{Set: "apart", Gap: 5 * time.Second}
		}
		r.pass(r.start(), time.Minute)
		release := make(chan struct{})
		r.secrets[0].Upstream = hanging{r.secrets[0].Upstream, release}
		r.workers = 2
		process := r.start()
		for _, s := range r.secrets {
			if _, err := r.queue().Submit(r.t.Context(), trigger.Request{ID: "ask-" + s.Subject.Secret, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "test", Reason: "both"}); err != nil {
				r.t.Fatal(err)
			}
			if _, err := process.Begin(r.t.Context()); err != nil {
				r.t.Fatal(err)
			}
			synctest.Wait()
		}
		r.wantVersions(1, 1)
		close(release)
		r.pass(process, 20*time.Second)
		r.wantVersions(2, 2)
	})
}

// A secret whose upstream hangs holds up no other one.
func TestHangingUpstreamHoldsUpNoOther(t *testing.T) {
	estate(t, 3, func(r *rig) {
		r.workers = 2
		release := make(chan struct{})
		r.secrets[0].Upstream = hanging{r.secrets[0].Upstream, release}
		process := r.start()
		for range 200 {
			if _, err := process.Begin(r.t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		r.wantVersions(0, 1, 1)
		if names, _ := process.Unended(10 * time.Second); !slices.Equal(names, []string{"s0"}) {
			t.Errorf("the looks at %v have not ended", names)
		}
		close(release)
		process.Wait()
		if names, _ := process.Unended(0); len(names) > 0 {
			t.Errorf("the looks at %v have not ended", names)
		}
		r.pass(process, time.Minute)
		r.wantVersions(1, 1, 1)
	})
}

// hanging takes changes only once it is released.
type hanging struct {
	upstream.Upstream
	release chan struct{}
}

func (h hanging) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	<-h.release
	return h.Upstream.Propose(ctx, current)
}
