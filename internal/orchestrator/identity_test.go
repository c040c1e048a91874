// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// sealed is a document in Git that never changes.
type sealed struct{ value secret.Value }

func (s sealed) Value(context.Context, string) (secret.Value, error) { return s.value, nil }

// wantMisplaced wants the secrets to wait for a person, their values and consumers to stay as they are, and what can be asked
// about them to be refused. It lets 30 days pass, by which each would have been rotated many times.
func (r *rig) wantMisplaced(process *orchestrator.Orchestrator, code reason.Code, held ...int) {
	r.t.Helper()
	type seen struct {
		id      authority.VersionID
		reloads int
	}
	look := func() (all []seen) {
		for _, consumer := range r.consumers {
			id, _ := consumer.Held()
			all = append(all, seen{id, consumer.Reloads()})
		}
		return all
	}
	paths := func() []authority.Path {
		paths, err := r.store.Paths(r.t.Context(), "")
		if err != nil {
			r.t.Fatal(err)
		}
		return paths
	}
	before, stored := look(), paths()
	r.pass(process, 30*day)
	for _, i := range held {
		s := r.secrets[i]
		state := process.States()[s.Path]
		if !state.Waiting.Is(code) {
			r.t.Errorf("%s waits because of %+v, want %s", s.Subject.Secret, state.Waiting, code)
		}
		if after := look()[i]; after != before[i] {
			r.t.Errorf("the consumer of %s was given something: %v, before %v", s.Subject.Secret, after, before[i])
		}
		value, err := secret.Text(map[string]string{"key": "handed in"})
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := process.Supply(r.t.Context(), s.Path, "me", "trying", value); !errors.Is(err, rotation.ErrNotAllowed) {
			r.t.Errorf("supplying %s: %v", s.Subject.Secret, err)
		}
	}
	if got := paths(); !slices.Equal(got, stored) {
		r.t.Errorf("values stand at %v, before at %v", got, stored)
	}
}

// The sealed value in Git was handed over again, and delivered over the newer one.
func TestAPathEditBringsNoGitValueBack(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		estate(t, 1, func(r *rig) {
			value, err := secret.Text(map[string]string{"key": "from Git"})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.accounts[0].Seed(value); err != nil {
				t.Fatal(err)
			}
			declare := func(path authority.Path) {
				r.secrets[0].Path = path
				r.secrets[0].First = false
				r.secrets[0].Handover = &handover.Subject{Secret: "s0", Path: path, Document: "s0.yaml", Policy: r.secrets[0].Policy}
			}
			start := func() *orchestrator.Orchestrator {
				process := r.start()
				process.Handover.Source = sealed{value}
				return process
			}
			declare("app/s0")
			process := start()
			r.pass(process, 2*day)
			r.wantVersions(2)
			declare("app/moved")
			if restarts {
				process = start()
			} else {
				process.Use(r.secrets)
			}
			r.wantMisplaced(process, reason.HistoryElsewhere, 0)
			declare("app/s0")
			process.Use(r.secrets)
			r.pass(process, time.Minute)
			r.wantVersions(3)
			if waits := process.States()["app/s0"].Waiting; !waits.None() {
				t.Errorf("with its path again it waits because of %+v", waits)
			}
		})
	}
}

// Each was delivered the other's value.
func TestSwappedPathsSwapNoValues(t *testing.T) {
	estate(t, 2, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		r.secrets[0].Path, r.secrets[1].Path = r.secrets[1].Path, r.secrets[0].Path
		process.Use(r.secrets)
		r.wantMisplaced(process, reason.HistorySwapped, 0, 1)
	})
}

// lagging lists what a standby knows that is a minute behind.
type lagging struct{ *authoritymemory.Store }

func (l lagging) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return l.Earlier(time.Minute).Keys(ctx, prefix)
}

// A listing that did not show the history yet was believed: it began anew at the other path.
func TestALaggingListingDecidesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(a, b *orchestrator.Secret)
		want reason.Code
	}{
		"path edited":   {func(a, _ *orchestrator.Secret) { a.Path = "app/moved" }, reason.HistoryElsewhere},
		"paths swapped": {func(a, b *orchestrator.Secret) { a.Path, b.Path = b.Path, a.Path }, reason.HistorySwapped},
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 2, func(r *rig) {
				r.store.Remember(time.Minute)
				r.records = lagging{r.store}
				process := r.start()
				for range 5 * 60 { // it shows after one minute
					r.pass(process, time.Second)
					if paths, err := r.store.Paths(t.Context(), "app/"); err == nil && len(paths) == 2 {
						break
					}
				}
				if paths, err := r.store.Paths(t.Context(), "app/"); err != nil || len(paths) != 2 {
					t.Fatalf("values stand at %v (%v)", paths, err)
				}
				r.secrets = slices.Clone(r.secrets)
				test.edit(&r.secrets[0], &r.secrets[1])
				r.wantMisplaced(r.start(), test.want, 0)
			})
		})
	}
}

// listed counts the listings of a journal. Each takes a second, so that all who want one meet.
type listed struct {
	*authoritymemory.Store
	listings atomic.Int64
}

func (l *listed) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	l.listings.Add(1)
	time.Sleep(time.Second)
	return l.Store.Keys(ctx, prefix)
}

// Each of the secrets that began their histories together listed the whole journal: 1500 of them held 4 GB. With more secrets than
// workers, those that waited for the listing kept the places of all workers, one of which the listing needed to go on.
func TestSecretsThatBeginTogetherListOnce(t *testing.T) {
	for name, workers := range map[string]int{"as many workers": 40, "fewer workers": 4} {
		t.Run(name, func(t *testing.T) {
			estate(t, 40, func(r *rig) {
				r.workers = workers
				journals := &listed{Store: r.store}
				r.records = outward.NewStore(journals, outward.New(time.Now))
				process := r.start()
				r.pass(process, time.Hour)
				r.wantVersions(slices.Repeat([]authority.Version{1}, 40)...)
				// One at the start, one to place them all, and one to confirm that they are new.
				if got := journals.listings.Load(); got > 3 {
					t.Errorf("the journal was listed %d times", got)
				}
			})
		})
	}
}

// gated holds the first write up.
type gated struct {
	journal.Documents
	once          sync.Once
	entered, gate chan struct{}
}

func (g *gated) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	g.once.Do(func() {
		g.entered <- struct{}{}
		<-g.gate
	})
	return g.Documents.Put(ctx, key, base, data)
}

// An edit that comes while the first look is under way finds no history yet.
func TestAPathEditDuringTheFirstRunIsSeen(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.workers = 2
		entered, gate := make(chan struct{}, 1), make(chan struct{})
		r.records = &gated{Documents: r.store, entered: entered, gate: gate}
		process := r.start()
		if _, err := process.Begin(r.t.Context()); err != nil {
			t.Fatal(err)
		}
		<-entered
		r.secrets = slices.Clone(r.secrets)
		r.secrets[0].Path = "app/moved"
		process.Use(r.secrets)
		if _, err := process.Begin(r.t.Context()); err != nil {
			t.Fatal(err)
		}
		close(gate)
		process.Wait()
		r.pass(process, time.Hour)
		if paths, err := r.store.Paths(r.t.Context(), "app/"); err != nil || slices.Contains(paths, "app/moved") {
			t.Errorf("values stand at %v (%v)", paths, err)
		}
	})
}

// A secret that uses the value of one that is held is held too: it would take another's value.
func TestWhatReadsAMovedSecretIsHeld(t *testing.T) {
	estate(t, 3, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		r.secrets[2].Reads = []authority.Path{"app/moved"}
		r.secrets[0].Path = "app/moved"
		process.Use(r.secrets)
		r.wantMisplaced(process, reason.NeededSecretHeld, 2)
		r.wantMisplaced(process, reason.HistoryElsewhere, 0)
		if held, err := r.store.Read(r.t.Context(), "app/s1"); err != nil || held.ID.Number < 2 {
			t.Errorf("a secret that has nothing to do with it stands at version %d (%v)", held.ID.Number, err)
		}
	})
}

// A rename that lists the former name goes on with what there is.
func TestARenameKeepsItsHistory(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		r.secrets[0].Subject.Secret, r.secrets[0].Former = "renamed", []string{"s0"}
		process.Use(r.secrets)
		r.pass(process, day)
		r.wantVersions(2)
		r.secrets[0].Former = nil // as an estate may do once the rename is known
		process.Use(r.secrets)
		r.pass(process, day)
		r.wantVersions(3)
		r.secrets[0].Subject.Secret = "other"
		process.Use(r.secrets)
		r.wantMisplaced(process, reason.HistoryOfAnother, 0)
	})
}

// counted counts what it is given.
type counted struct {
	*upstreammemory.Upstream
	calls atomic.Int64
}

func (c *counted) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	c.calls.Add(1)
	return c.Upstream.Propose(ctx, current)
}

func (c *counted) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	c.calls.Add(1)
	return c.Upstream.Verify(ctx, v)
}

// Whoever gave somebody else's secret the upstream of another one in use had its value sent there.
func TestAnUpstreamEditSendsNoValue(t *testing.T) {
	for name, c := range map[string]struct{ before, back string }{
		"another upstream": {"ours", "write `upstreamRef: ours` again"},
		"none before":      {"", "take `upstreamRef: theirs` out again"},
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 2, func(r *rig) {
				ours, theirs := r.secrets[0].Upstream, &counted{Upstream: r.accounts[1]}
				r.secrets[0].SentTo = c.before
				process := r.start()
				r.pass(process, time.Hour)
				r.secrets = r.secrets[:1]
				r.secrets[0].SentTo, r.secrets[0].Upstream = "theirs", theirs
				for range 2 { // and after a start
					process.Use(r.secrets)
					r.wantMisplaced(process, reason.UpstreamNotGranted, 0)
					if back := process.States()["app/s0"].Waiting.Args["back"]; back != c.back {
						t.Errorf("it says %q, want %q", back, c.back)
					}
					process = r.start()
				}
				if got := theirs.calls.Load(); got != 0 {
					t.Errorf("their upstream was given something %d times", got)
				}
				r.secrets[0].SentTo, r.secrets[0].Upstream = c.before, ours
				process.Use(r.secrets)
				r.pass(process, 2*day)
				if waits := process.States()["app/s0"].Waiting; !waits.None() {
					t.Errorf("as it was before it waits because of %+v", waits)
				}
			})
		})
	}
}

// What was granted goes on, and is then what its history names.
func TestAGrantedUpstreamIsTaken(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		r.secrets[0].SentTo = "new"
		process.Use(r.secrets)
		r.wantMisplaced(process, reason.UpstreamNotGranted, 0)
		r.secrets[0].Allowed = true
		process.Use(r.secrets)
		r.pass(process, 2*day)
		r.wantVersions(3)
		r.secrets[0].Allowed, r.secrets[0].SentTo = false, "" // one that is only left out is still known
		process.Use(r.secrets)
		r.pass(process, time.Hour)
		r.secrets[0].SentTo = "new"
		process.Use(r.secrets)
		r.pass(process, 2*day)
		r.wantVersions(6)
	})
}

// An edit that comes while the first look is under way finds no history yet.
func TestAnUpstreamEditDuringTheFirstRunIsSeen(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.workers = 2
		entered, gate := make(chan struct{}, 1), make(chan struct{})
		r.records = &gated{Documents: r.store, entered: entered, gate: gate}
		r.secrets[0].SentTo = "ours"
		process := r.start()
		if _, err := process.Begin(r.t.Context()); err != nil {
			t.Fatal(err)
		}
		<-entered
		r.secrets = slices.Clone(r.secrets)
		r.secrets[0].SentTo = "theirs"
		process.Use(r.secrets)
		if _, err := process.Begin(r.t.Context()); err != nil {
			t.Fatal(err)
		}
		if waits, err := process.Held(r.t.Context(), r.secrets[0]); err != nil || !waits.Is(reason.UpstreamNotGranted) || waits.Args["known"] != "upstream ours alone" {
			t.Errorf("while the look goes on it waits because of %+v (%v)", waits, err)
		}
		close(gate)
		process.Wait()
		r.wantMisplaced(process, reason.UpstreamNotGranted, 0)
	})
}

// revoking takes the upstream's grant back once, in the middle of a call to it.
type revoking struct {
	counted
	during string
	revoke func()
	last   int64 // the call that it was taken back in
}

func (u *revoking) at(call string) {
	if u.during == call {
		u.during = ""
		u.revoke()
		u.last = u.calls.Load()
	}
}

func (u *revoking) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	u.calls.Add(1)
	defer u.at("apply")
	return u.Upstream.Apply(ctx, run, current, candidate)
}

func (u *revoking) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	verdict, err := u.counted.Verify(ctx, v)
	if verdict == upstream.Accepted {
		u.at("verify")
	}
	return verdict, err
}

// A run that was within its steps when a grant was revoked ended its look first.
func TestWhatIsRevokedIsGivenNothingMore(t *testing.T) {
	for _, during := range []string{"apply", "verify"} {
		t.Run(during, func(t *testing.T) {
			estate(t, 1, func(r *rig) {
				account := &revoking{counted: counted{Upstream: r.accounts[0]}, during: during}
				r.secrets[0].Upstream = account
				process := r.start()
				account.revoke = func() {
					held := slices.Clone(r.secrets)
					held[0].Upstream, held[0].Broken = nil, reason.New(reason.GrantMissing, nil)
					process.Use(held)
				}
				r.pass(process, time.Hour)
				if got := account.calls.Load(); account.last == 0 || got != account.last {
					t.Errorf("it was asked %d times, %d of them before its grant was revoked", got, account.last)
				}
				if id, _ := r.consumers[0].Held(); id != (authority.VersionID{}) {
					t.Errorf("the consumer was given %v", id)
				}
				if waits := process.States()["app/s0"].Waiting; !waits.Is(reason.GrantMissing) {
					t.Errorf("it waits because of %+v", waits)
				}
				process.Use(r.secrets)
				r.pass(process, time.Hour)
				r.wantVersions(1)
			})
		})
	}
}
