// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
)

// seeded are documents in Git that hold a value each.
type seeded struct{ r *rig }

func (s seeded) Value(_ context.Context, name string) (secret.Value, error) {
	for i := range s.r.secrets {
		if s.r.secrets[i].Subject.Secret == name {
			return secret.Text(map[string]string{"key": "from Git"})
		}
	}
	return secret.Value{}, errors.New("there is no document")
}

// chain makes every secret but the first one computed from the one before it.
func (r *rig) chain() {
	for i := len(r.secrets) - 1; i > 0; i-- {
		before, s := r.secrets[i-1].Subject, &r.secrets[i]
		compiled, err := formula.Compile(map[string]string{"key": "{{ .from.key }}."}, []string{"from"})
		if err != nil {
			r.t.Fatal(err)
		}
		s.First, s.Upstream = false, nil
		s.Derived = &derivation.Subject{
			Secret: s.Subject.Secret, Path: s.Path, Formula: compiled,
			Inputs: []derivation.Input{{Name: "from", Secret: before.Secret, Path: before.Path}},
		}
	}
}

// dependents has each secret of a chain count the next one among its consumers, as a process is told.
func (r *rig) dependents(wake func(authority.Path)) {
	for i := len(r.secrets) - 2; i >= 0; i-- {
		after := r.secrets[i+1]
		adapter := &derivation.Dependent{
			Secret: after.Subject.Secret, Path: after.Path, Input: "from", Authority: r.store, Journal: journal.New(r.store), Wake: wake,
		}
		for _, consumer := range after.Consumers {
			adapter.Consumers = append(adapter.Consumers, derivation.Consumer(consumer))
		}
		r.secrets[i].Consumers = append(slices.Clone(r.secrets[i].Consumers), rotation.Consumer{Consumer: adapter, Needs: materialize.Observed})
	}
}

// Secrets that all need one another go on with two workers, whose places nobody holds who waits.
func TestFewerWorkersThanSecretsThatWaitForEachOther(t *testing.T) {
	const many = 20
	for name, relate := range map[string]func(*rig){
		"group": (*rig).pair,
		"stagger set": func(r *rig) {
			for i := range r.secrets {
				r.secrets[i].Stagger = &orchestrator.Stagger{Set: "apart", Gap: time.Second}
			}
		},
		"chain": (*rig).chain,
		"handover": func(r *rig) {
			for i := range r.secrets {
				s := &r.secrets[i]
				s.First, s.Handover = false, &handover.Subject{Secret: s.Subject.Secret, Path: s.Path, Document: s.Subject.Secret, Policy: s.Policy}
				v, err := secret.Text(map[string]string{"key": "from Git"})
				if err != nil {
					r.t.Fatal(err)
				}
				if err := r.accounts[i].Seed(v); err != nil {
					r.t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, many, func(r *rig) {
				r.workers = 2
				for i := range r.secrets {
					r.secrets[i].Server, r.secrets[i].Consumers[0].Group = "one", "folder"
				}
				relate(r)
				r.records = outward.NewStore(r.store, outward.New(time.Now))
				process := r.start()
				if name == "chain" {
					r.dependents(process.Wake)
					process.Derivation = derivation.New(derivation.Config{
						Authority: r.store, Journal: journal.New(r.records), Record: r.log, Now: time.Now,
						NewRun: func() authority.RunID { return authority.RunID(fmt.Sprintf("derived-%d", r.runs.Add(1))) },
					})
					process.Use(r.secrets)
				}
				process.Handover.Source = seeded{r}
				r.serve(process, time.Minute)
				r.wantVersions(slices.Repeat([]authority.Version{1}, many)...)
				for i := range r.secrets {
					if r.secrets[i].Derived == nil {
						r.ask(i, fmt.Sprintf("ask-%d", i))
					}
				}
				r.serve(process, time.Hour)
				r.wantVersions(slices.Repeat([]authority.Version{2}, many)...)
				for i := range r.secrets {
					if live := r.entry(i).Live; live != nil {
						t.Errorf("the run of s%d waits: %+v", i, live.Waiting)
					}
				}
				process.Wait()
			})
		})
	}
}

// stuck answers no question about a secret before it is released, and counts those that were asked about.
type stuck struct {
	journal.Documents
	release chan struct{}
	mu      sync.Mutex
	asked   map[string]bool
}

func (s *stuck) Get(ctx context.Context, key string) (authority.Document, error) {
	if strings.HasPrefix(key, "secret/") {
		s.mu.Lock()
		s.asked[key] = true
		s.mu.Unlock()
		<-s.release
	}
	return s.Documents.Get(ctx, key)
}

func (s *stuck) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// While looks wait for one of few places, something may show that nothing may be done, or a person may begin to accept that: those
// looks do not begin, and nobody waits for them.
func TestLooksThatWaitForAPlaceDoNotBegin(t *testing.T) {
	for name, hold := range map[string]func(*rig, *orchestrator.Orchestrator) (release func()){
		"barred": func(_ *rig, process *orchestrator.Orchestrator) func() {
			var barred atomic.Bool
			process.Barred = func() string {
				if barred.Load() {
					return "recovering"
				}
				return ""
			}
			barred.Store(true)
			return func() { barred.Store(false) }
		},
		"paused": func(r *rig, process *orchestrator.Orchestrator) func() {
			resumes := make(chan func(), 1)
			go func() {
				resume, err := process.Pause(r.t.Context())
				if err != nil {
					r.t.Error(err)
				}
				resumes <- resume
			}()
			synctest.Wait() // until it waits
			return func() { (<-resumes)() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 20, func(r *rig) {
				r.workers = 2
				documents := &stuck{Documents: r.store, release: make(chan struct{}), asked: map[string]bool{}}
				r.records = documents
				process := r.start()
				if _, err := process.Begin(r.t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // until both places are taken
				release := hold(r, process)
				close(documents.release)
				process.Wait()
				if begun := documents.count(); begun > 2 {
					t.Errorf("looks at %d secrets began, want those two that had a place", begun)
				}
				release()
				r.pass(process, time.Hour)
				r.wantVersions(slices.Repeat([]authority.Version{1}, 20)...)
			})
		})
	}
}

// indestructible is an authority that destroys nothing, such as one that does not grant it.
type indestructible struct{ *authoritymemory.Store }

func (indestructible) Destroy(context.Context, authority.Path, authority.Version) error {
	return errors.New("permission denied")
}

// A value that cannot be destroyed keeps no consumer from what it needs, and is told.
func TestConsumersDoNotWaitForWhatCannotBeDestroyed(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Minute)
		process := r.start()
		process.Rotation.Authority = indestructible{r.store}
		r.ask(0, "a")
		r.pass(process, time.Hour)
		r.wantVersions(2)
		r.consumers[0].Tamper(tampered(t))
		r.pass(process, time.Hour)
		if id, v := r.consumers[0].Held(); id.Number != 2 || v.Equal(tampered(t)) {
			t.Errorf("the consumer holds %s, want version 2 again", id)
		}
		if waiting := process.States()[r.secrets[0].Path].Waiting; !strings.Contains(waiting.Text(), "permission denied") {
			t.Errorf("told is %q", waiting.Text())
		}
		r.ask(0, "b") // nor does the next run wait
		r.pass(process, time.Hour)
		r.wantVersions(3)
		if waiting := process.States()[r.secrets[0].Path].Waiting; !strings.Contains(waiting.Text(), "permission denied") {
			t.Errorf("told is %q after the next run", waiting.Text())
		}
		r.pass(r.start(), time.Hour)
		for number := authority.Version(1); number < 3; number++ {
			if _, err := r.store.ReadVersion(r.t.Context(), r.secrets[0].Path, number); err == nil {
				t.Errorf("version %d can still be read after the authority destroys again", number)
			}
		}
	})
}
