// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// counted counts what is asked of an authority.
type counted struct {
	*authoritymemory.Store
	calls, values, listings atomic.Int64
	holds                   chan struct{} // until it is closed, a value that is read is waited for
}

func (c *counted) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	c.calls.Add(1)
	c.values.Add(1)
	if c.holds != nil {
		<-c.holds
	}
	return c.Store.Read(ctx, path)
}

func (c *counted) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	c.calls.Add(1)
	return c.Store.ReadVersion(ctx, path, number)
}

func (c *counted) Get(ctx context.Context, key string) (authority.Document, error) {
	c.calls.Add(1)
	return c.Store.Get(ctx, key)
}

func (c *counted) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	c.calls.Add(1)
	c.listings.Add(1)
	return c.Store.Keys(ctx, prefix)
}

func (c *counted) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	c.calls.Add(1)
	return c.Store.Put(ctx, key, base, data)
}

// askedGrants count how often the histories are read for what is granted.
type askedGrants struct {
	ungrantedAll

	store *counted
}

func (g askedGrants) Missing(context.Context, *intent.Estate) ([]grant.Need, error) {
	g.store.calls.Add(1)
	return nil, nil
}

// questioned is a platform of two generated secrets, which nobody has looked at yet.
func questioned(t *testing.T) (*Platform, *counted) {
	t.Helper()
	began, log := time.Now(), &record{Log: auditmemory.New(time.Now)}
	store := &counted{Store: authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now})}
	entries, runs := journal.New(store), 0
	newRun := func() authority.RunID { runs++; return authority.RunID(fmt.Sprintf("run-%d", runs)) }
	estate := &intent.Estate{Digest: "1", Secrets: map[string]*intent.Secret{}}
	var secrets []orchestrator.Secret
	for _, name := range []string{"key", "token"} {
		account, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		path := authority.Path("app/" + name)
		declared := &intent.Secret{Name: name, Path: path}
		declared.Spec.Owner.Team = "team of " + name
		estate.Secrets[name] = declared
		consumer := materializememory.New(materializememory.Config{Name: "app", Clock: time.Now})
		secrets = append(secrets, orchestrator.Secret{First: true, Subject: rotation.Subject{
			Secret: name, Path: path, Upstream: account, Consumers: []rotation.Consumer{{Consumer: consumer, Needs: materialize.Rolled}},
			Policy: journal.Policy{Name: "static", RotationType: "static", RevokeOld: true, FailureStrategy: "retry"},
		}})
	}
	queue := trigger.New(store, log, time.Now)
	clock := trigger.NewClock(store, time.Now, func() time.Duration { return time.Since(began) })
	m := New(Config{}).Model
	watched := entries.Watch(m.Saw)
	p := New(Config{
		Authority: store, Journal: watched, Model: m, Record: log, Now: time.Now, NewRun: newRun, Queue: queue, Clock: clock, Initialised: true,
		Orchestrator: orchestrator.New(orchestrator.Config{
			Journal: watched, Values: store, Record: log, Now: time.Now, NewRun: newRun, Queue: queue, Clock: clock,
			Rotation: rotation.New(rotation.Config{Authority: store, Journal: watched, Record: log, Now: time.Now, NewRun: newRun, Calls: outward.Inline()}),
		}),
		Load:       func(*intent.Estate) (*intent.Estate, error) { return estate, nil },
		Bind:       func(*intent.Estate) ([]orchestrator.Secret, error) { return secrets, nil },
		SaveEstate: func(*intent.Estate) error { return nil },
		Grants:     askedGrants{store: store}, Identity: func() bool { return true },
		Readable: func(context.Context, string) error { return errors.New("nothing is handed over here") },
		Broken:   func() string { return "" },
	})
	if !p.Reload() {
		t.Fatal(p.Fault())
	}
	return p, store
}

// tick has every secret looked at for a minute.
func (p *Platform) tick(t *testing.T) {
	t.Helper()
	for range 60 {
		if _, err := p.Orchestrator.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

func (p *Platform) states(t *testing.T, filter server.Filter) map[string]string {
	t.Helper()
	rows, err := p.Inventory(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for row := range rows {
		states[row.Secret] = row.State
	}
	return states
}

// Each question listed the journal, and each scrape of the metrics led to one: with many secrets a server answered for minutes.
func TestAQuestionAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := questioned(t)
		p.Serving()
		p.tick(t)
		before := store.calls.Load()
		for name, ask := range map[string]func() error{
			"inventory": func() error {
				if got := p.states(t, server.Filter{}); got["key"] != "steady" || got["token"] != "steady" || len(got) != 2 {
					t.Errorf("inventory: %v", got)
				}
				return nil
			},
			"status": func() error {
				status, err := p.Status(t.Context(), server.Filter{})
				if len(status.Secrets) != 2 || len(status.Findings) > 0 || status.Unlooked != 0 || status.Oldest.IsZero() {
					t.Errorf("status: %+v", status)
				}
				return err
			},
			"plan":    func() error { _, err := p.Plan(t.Context(), server.Filter{}); return err },
			"summary": func() error { return p.Summarise(t.Context()) },
		} {
			if err := ask(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if asked := store.calls.Load() - before; asked > 0 {
				t.Errorf("%s asked the authority %d times", name, asked)
			}
			before = store.calls.Load()
		}
		if summary := p.Summary(); summary.States["steady"] != 2 || len(summary.Ends) != 2 {
			t.Errorf("summary: %+v", summary)
		}
	})
}

// What was asked about one secret, or of one run, listed the whole journal.
func TestOneRunIsFoundWithoutAListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := questioned(t)
		p.tick(t)
		before := store.listings.Load()
		for name, ask := range map[string]func() error{
			"run list of a secret": func() error {
				runs, err := p.Runs(t.Context(), "key")
				if err == nil && len(runs) != 1 {
					err = fmt.Errorf("%d runs, want 1", len(runs))
				}
				return err
			},
			"run abort": func() error {
				runs, err := p.Runs(t.Context(), "token")
				if err != nil || len(runs) != 1 {
					return fmt.Errorf("%d runs, want 1: %w", len(runs), err)
				}
				err = p.Abort(t.Context(), "me", runs[0].ID, "to see")
				if problem := server.Problems(err); !strings.Contains(problem.Text, "has ended") {
					return fmt.Errorf("aborting a run that has ended: %w", err)
				}
				return nil
			},
		} {
			if err := ask(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if listed := store.listings.Load() - before; listed > 0 {
				t.Errorf("%s listed the journal %d times", name, listed)
			}
			before = store.listings.Load()
		}
	})
}

// A process that began just now called every secret with a value steady, though nobody knew what its consumers hold.
func TestAnswersSayWhatWasNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, store := questioned(t)
		first.tick(t)
		entries, err := journal.New(store).All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, _ := questioned(t)
		for _, entry := range entries { // the start lists the journal
			p.Model.Saw(entry)
		}
		p.Serving()
		status, err := p.Status(t.Context(), server.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range status.Secrets {
			if row.State != "waiting" || !row.Waiting.Is(reason.FirstLook) || !row.Looked.IsZero() {
				t.Errorf("%s is %s, waiting because of %+v", row.Secret, row.State, row.Waiting)
			}
		}
		if status.Unlooked != 2 || len(status.Findings) > 0 {
			t.Errorf("%d were not looked at, findings %q", status.Unlooked, status.Findings)
		}
		first.Serving()
		time.Sleep(time.Hour)
		if status, err = first.Status(t.Context(), server.Filter{}); err != nil || time.Since(status.Oldest) < time.Hour || status.Unlooked != 0 {
			t.Errorf("an hour after the last look the oldest is of %s, %d were not looked at, %v", status.Oldest, status.Unlooked, err)
		}
	})
}

// A server whose looks all waited for each other showed no finding for as long as it ran.
func TestALookThatDoesNotEndIsAFinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := questioned(t)
		p.tick(t)
		p.Serving()
		found := func() bool {
			status, err := p.Status(t.Context(), server.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(status.Findings, func(f server.Finding) bool {
				return f.Is(reason.LooksUnended) && f.Args["secrets"] == "key"
			})
		}
		store.holds = make(chan struct{})
		time.Sleep(time.Hour)
		go func() { _, _ = p.Orchestrator.Tick(t.Context()) }()
		time.Sleep(time.Minute)
		if found() {
			t.Error("a look that takes a minute is a finding")
		}
		time.Sleep(time.Hour)
		if !found() {
			t.Error("a look that takes an hour is no finding")
		}
		close(store.holds)
		synctest.Wait()
		if found() {
			t.Error("looks that have ended are a finding")
		}
	})
}

// Without a server a question about one secret read every value and looked at every consumer's file.
func TestAQuestionAboutOneReadsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := questioned(t)
		p.tick(t)
		again, _ := questioned(t)
		again.Authority, again.Journal = store, journal.New(store).Watch(again.Model.Saw)
		again.Orchestrator.Journal, again.Orchestrator.Values = again.Journal, store
		var read []string
		again.Reading = func(done, of int) { read = append(read, fmt.Sprintf("%d of %d", done, of)) }
		before := store.values.Load()
		if got := again.states(t, server.Filter{Secret: "key"}); len(got) != 1 || got["key"] == "" || len(read) > 0 {
			t.Errorf("one: %v, read %q", got, read)
		}
		one := store.values.Load() - before
		again.states(t, server.Filter{})
		if all := store.values.Load() - before - one; one != 1 || all != 2 || !slices.Equal(read, []string{"0 of 2", "1 of 2"}) {
			t.Errorf("of one secret %d values were read, of both %d; told %q", one, all, read)
		}
	})
}

func TestFilterChooses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := questioned(t)
		p.Serving()
		p.tick(t)
		for want, filter := range map[string]server.Filter{
			"key,token": {}, "key": {Owner: "team of key"}, "token": {Secret: "token"},
		} {
			var got []string
			for name := range p.states(t, filter) {
				got = append(got, name)
			}
			slices.Sort(got)
			if strings.Join(got, ",") != want {
				t.Errorf("%+v takes %v", filter, got)
			}
		}
		for name, filter := range map[string]server.Filter{
			"another owner": {Owner: "nobody"}, "another state": {State: "rotating"}, "findings": {Findings: true}, "ends soon": {ExpiresWithin: time.Hour},
		} {
			if got := p.states(t, filter); len(got) > 0 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// A request is in the plan at once, and no longer once it was served.
func TestPlanKnowsOpenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := questioned(t)
		p.Serving()
		p.tick(t)
		if _, err := p.Queue.Submit(t.Context(), trigger.Request{ID: "a", Path: "app/key", Secret: "key", Kind: trigger.Manual, By: "me", Reason: "leaked"}); err != nil {
			t.Fatal(err)
		}
		before := store.calls.Load()
		steps, err := p.Plan(t.Context(), server.Filter{})
		if err != nil || len(steps) != 1 || steps[0].Why != "asked for by me: leaked" || store.calls.Load() != before {
			t.Errorf("plan: %+v, %v, %d calls", steps, err, store.calls.Load()-before)
		}
		p.tick(t)
		p.tick(t)
		if steps, err := p.Plan(t.Context(), server.Filter{}); err != nil || len(steps) != 0 {
			t.Errorf("once it was served: %+v, %v", steps, err)
		}
	})
}
