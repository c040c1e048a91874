// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// held is an upstream whose changing calls do not end before release is closed.
type held struct {
	upstream.Upstream
	release chan struct{}
}

func (h *held) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	<-h.release
	return h.Upstream.Apply(ctx, run, current, candidate)
}

// record is a log that no checkpoint is ahead of, and which takes nothing while it is full.
type record struct {
	*auditmemory.Log
	full bool
}

var errFull = errors.New("no space left on device")

func (r *record) Append(ctx context.Context, event audit.Event) error {
	if r.full {
		return errFull
	}
	return r.Log.Append(ctx, event)
}

func (*record) Ahead() []audit.Outside { return nil }

func (*record) GiveUp(...[]byte) {}

func (*record) Size() uint64 { return 0 }

func (*record) Findings() []audit.Finding { return nil }

// older is a platform of one secret that has a value, whose state is found to be an older one. It knows of a request.
func older(t *testing.T, u upstream.Upstream, full *record) (*Platform, *authoritymemory.Store) {
	t.Helper()
	began := time.Now()
	store := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now})
	entries, runs := journal.New(store), 0
	newRun := func() authority.RunID { runs++; return authority.RunID(fmt.Sprintf("run-%d", runs)) }
	engine := rotation.New(rotation.Config{Authority: store, Journal: entries, Record: full, Now: time.Now, NewRun: newRun})
	queue := trigger.New(store, full, time.Now)
	secrets := []orchestrator.Secret{{First: true, Subject: rotation.Subject{
		Secret: "token", Path: "app/token", Upstream: u,
		Policy: journal.Policy{Name: "static", RotationType: "static", RevokeOld: true, FailureStrategy: "retry"},
	}}}
	estate := &intent.Estate{Digest: "1", Secrets: map[string]*intent.Secret{"token": {Name: "token", Path: "app/token"}}}
	var p *Platform
	conductor := orchestrator.New(orchestrator.Config{
		Journal: entries, Values: store, Record: full, Now: time.Now, NewRun: newRun, Queue: queue, Workers: 2,
		Clock:    trigger.NewClock(store, time.Now, func() time.Duration { return time.Since(began) }),
		Rotation: engine, Barred: func() string { return p.Recovering() },
	})
	p = New(Config{
		Authority: store, Journal: entries, Orchestrator: conductor, Record: full, Now: time.Now, NewRun: newRun, Queue: queue,
		Load:       func(*intent.Estate) (*intent.Estate, error) { return estate, nil },
		Bind:       func(*intent.Estate) ([]orchestrator.Secret, error) { return secrets, nil },
		SaveEstate: func(*intent.Estate) error { return nil },
		Grants:     ungrantedAll{}, Later: store.Later,
		Recovery: recovery.New(recovery.Config{
			Authority: store, Journal: entries, Record: full, Now: time.Now, NewRun: newRun, Requests: trigger.Prefix, Open: trigger.Open,
			Calls: outward.New(time.Now),
			Check: func(ctx context.Context, s recovery.Secret, v secret.Value) (upstream.Verdict, error) {
				return engine.Check(ctx, rotation.Subject{Secret: s.Name, Path: s.Path, Upstream: s.Upstream}, authority.Versioned{Value: v})
			},
		}),
	})
	if !p.Reload() {
		t.Fatal(p.Fault())
	}
	for range 20 { // its first value
		if _, err := conductor.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	if _, err := queue.Submit(t.Context(), trigger.Request{ID: "again", Path: "app/token", Secret: "token", Kind: trigger.Manual, By: "me", Reason: "leaked"}); err != nil {
		t.Fatal(err)
	}
	return p, store
}

func dual(t *testing.T) upstream.Upstream {
	t.Helper()
	u, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader, CallDeadline: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestAcceptingWaitsForLooksUnderWay: a run was given up while its call could still land.
func TestAcceptingWaitsForLooksUnderWay(t *testing.T) {
	for name, ends := range map[string]bool{"it ends": true, "it never ends": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := held{dual(t), make(chan struct{})}
				close(u.release)
				p, store := older(t, &u, &record{Log: auditmemory.New(time.Now)})
				u.release = make(chan struct{})
				if _, err := p.Orchestrator.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if busy, _ := p.Orchestrator.Unended(0); !slices.Equal(busy, []string{"token"}) {
					t.Fatalf("under way: %q, want the call of token's run", busy)
				}
				p.behind = "an older state"
				var err error
				done := make(chan struct{})
				go func() {
					_, err = p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{})
					close(done)
				}()
				synctest.Wait()
				if why := p.Recovering(); !strings.Contains(why, "waiting up to 2m0s for what was begun") || store.Incarnation() != "one" {
					t.Errorf("incarnation %s, while %q", store.Incarnation(), why)
				}
				if p.Reload() {
					t.Error("another estate came into force")
				}
				if ends {
					close(u.release)
				}
				<-done
				problem, _ := errors.AsType[*server.Problem](err)
				switch {
				case ends && (err != nil || store.Incarnation() == "one"):
					t.Errorf("%v, incarnation %s; want it to be accepted", err, store.Incarnation())
				case !ends && (problem == nil || !strings.Contains(problem.Text, "what was begun with token has not ended") || store.Incarnation() != "one"):
					t.Errorf("%v, incarnation %s; want it to say what has not ended, and nothing accepted", err, store.Incarnation())
				}
				if why := p.Recovering(); ends == (why != "") {
					t.Errorf("afterwards: %q", why)
				}
				if !ends {
					close(u.release)
				}
				p.Orchestrator.Wait()
			})
		})
	}
}

// TestAcceptingWaitsForALookAtTheEstate: a folder that hangs while the estate is read held an acceptance up for ever, and with it
// everything, while the status said two minutes.
func TestAcceptingWaitsForALookAtTheEstate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := older(t, dual(t), &record{Log: auditmemory.New(time.Now)})
		release, load := make(chan struct{}), p.Load
		p.Load = func(current *intent.Estate) (*intent.Estate, error) {
			<-release
			return load(current)
		}
		go p.Reload()
		synctest.Wait()
		p.behind = "an older state"
		began := time.Now()
		_, err := p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{})
		if problem, _ := errors.AsType[*server.Problem](err); problem == nil || !strings.Contains(problem.Text, "check of the estate") || time.Since(began) > endsWithin {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if why := p.accepts(); why != "" || store.Incarnation() != "one" {
			t.Errorf("incarnation %s, and %q", store.Incarnation(), why)
		}
		close(release)
		synctest.Wait()
		if _, err := p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{}); err != nil || store.Incarnation() == "one" {
			t.Errorf("once the look has ended: %v, incarnation %s", err, store.Incarnation())
		}
	})
}

// TestNothingActsBeforeWhatWasAcceptedIsOnRecord: events that came after newer ones of the same secret looked like an older
// copy at the next start.
func TestNothingActsBeforeWhatWasAcceptedIsOnRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &record{Log: auditmemory.New(time.Now)}
		p, store := older(t, dual(t), log)
		p.behind, log.full = "an older state", true
		report, err := p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{})
		if !errors.Is(err, errFull) || report.Incarnation == "" {
			t.Fatalf("got %+v, %v, want it accepted and not on record", report, err)
		}
		if err := p.refuseWhileRecovering(); err == nil || !strings.Contains(err.Error(), errFull.Error()) {
			t.Errorf("what changes something is refused with %v", err)
		}
		p.Orchestrator.WakeAll()
		if _, err := p.Orchestrator.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		for path, state := range p.Orchestrator.States() {
			if time.Since(state.Looked) < time.Second {
				t.Errorf("%s was looked at", path)
			}
		}
		log.full = false
		p.Reload()
		if why := p.Recovering(); why != "" {
			t.Errorf("with room on the disk again: %s", why)
		}
		if last, err := recovery.Last(t.Context(), store); err != nil || len(last.Owed) > 0 {
			t.Errorf("%+v, %v, want nothing owed", last, err)
		}
	})
}

// TestOlderEstateIsAcceptedOnlyIfAPersonSaysSo: what only a newer estate declares was kept without being tried, and nobody
// was told.
func TestOlderEstateIsAcceptedOnlyIfAPersonSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := older(t, dual(t), &record{Log: auditmemory.New(time.Now)})
		declared := p.Estate()
		p.Load = func(*intent.Estate) (*intent.Estate, error) { return nil, errors.New("policy.yaml:3: no such field") }
		p.SavedEstate = func() (*intent.Estate, error) { return declared, nil }
		p.estate, p.behind = nil, "an older state"
		if !p.Reload() {
			t.Fatal("the kept copy is not in force")
		}
		dry, err := p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{Dry: true})
		if err != nil || !strings.Contains(dry.Estate, "policy.yaml:3") {
			t.Errorf("a dry run says %q, %v", dry.Estate, err)
		}
		_, err = p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{})
		problem, _ := errors.AsType[*server.Problem](err)
		if problem == nil || !strings.Contains(problem.Hint, "custody recover accept --kept-estate --reason TEXT") || store.Incarnation() != "one" {
			t.Errorf("got %v", err)
		}
		if _, err := p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{KeptEstate: true}); err != nil || store.Incarnation() == "one" {
			t.Errorf("with --kept-estate: %v", err)
		}
	})
}

// given is a consumer that was given a version.
type given struct {
	materialize.Consumer
	version authority.VersionID
}

func (given) Name() string { return "app" }

func (g given) Given(context.Context, authority.Path) (authority.VersionID, bool, error) {
	return g.version, true, nil
}

// TestOlderCopyThatIsPutBackTwice: the versions that consumers were given after the first time are of an incarnation that the
// copy does not know, and compared with nothing.
func TestOlderCopyThatIsPutBackTwice(t *testing.T) {
	for incarnation, newer := range map[authority.Incarnation]bool{"one+": true, "another authority's": false} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := older(t, dual(t), &record{Log: auditmemory.New(time.Now)})
			consumer := given{version: authority.VersionID{Incarnation: incarnation, Run: "lost", Number: 1}}
			p.askConsumers([]orchestrator.Secret{{Subject: rotation.Subject{
				Secret: "token", Path: "app/token", Consumers: []rotation.Consumer{{Consumer: consumer}},
			}}})
			if why := p.Recovering(); newer != strings.Contains(why, "began after the authority's own") {
				t.Errorf("a consumer was given a version of %q: %q", incarnation, why)
			}
		})
	}
}

// TestStateFolderThatIsNotThePlatforms: an authority that was made in an empty folder knew of nothing, and issued everything
// anew over what another one's consumers have.
func TestStateFolderThatIsNotThePlatforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := older(t, dual(t), &record{Log: auditmemory.New(time.Now)})
		consumer := given{version: authority.VersionID{Incarnation: "another authority's", Run: "lost", Number: 3}}
		secrets := []orchestrator.Secret{{Subject: rotation.Subject{
			Secret: "new", Path: "app/new", Consumers: []rotation.Consumer{{Consumer: consumer}},
		}}}
		p.askConsumers(secrets)
		if why := p.Recovering(); !strings.Contains(why, "by another authority") || !strings.Contains(why, "custody recover accept") {
			t.Fatalf("a consumer was given a version by another authority, and this one has delivered nothing: %q", why)
		}
		if _, err := p.AcceptRecovery(t.Context(), "me", "the disk was lost", recovery.How{}); err != nil {
			t.Fatal(err)
		}
		p.askConsumers(secrets)
		if why := p.Recovering(); why != "" {
			t.Errorf("what a person gave up shows again: %q", why)
		}
	})
}
