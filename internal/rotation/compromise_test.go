// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// report is a trigger that says that the secret is compromised since now.
func report(id string) journal.Trigger {
	return journal.Trigger{Kind: journal.Compromised, By: "webhook siem", Reason: "found in a paste", Requests: []string{id}, At: time.Now()}
}

// stuck has a run wait for the proof of a consumer that never comes, and returns the old credential and that consumer.
func (r *rig) stuck(t *testing.T, after time.Duration) (old secret.Value, stale *memory.Consumer) {
	t.Helper()
	r.subject.Policy.OnCompromise = &journal.OnCompromise{BreakAfter: after, EndSessions: true}
	old = r.value(t).Value
	c := r.consumed("api", "stale")
	for _, consumer := range c {
		if err := consumer.Deliver(t.Context(), r.value(t)); err != nil {
			t.Fatal(err)
		}
	}
	c[1].IgnoreReloads(true)
	return old, c[1]
}

func (r *rig) eventsOf(t *testing.T, step string) []audit.Event {
	t.Helper()
	var found []audit.Event
	for event, err := range r.Record.(*auditmemory.Log).Events(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Step == step {
			found = append(found, event)
		}
	}
	return found
}

// A run that waits for a consumer kept a compromised credential honoured for ever. Superseded, both its old and its new credential go, within
// the policy's time, and so do their open sessions.
func TestCompromiseSupersedesAStuckRun(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Issued, upstreammemory.Overwrite} {
		t.Run(string(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := spied(t, upstreammemory.Config{Shape: shape})
				r.subject.Upstream, r.subject.AllowInterruption = r.account, true
				first, _ := r.stuck(t, 10*time.Minute)
				id := r.plan(t)
				r.wait(t, reason.ProofMissing)
				second := r.value(t).Value
				if !r.account.Open(second) {
					t.Fatal("the second credential is not honoured")
				}
				time.Sleep(time.Hour)
				began := time.Now()
				if err := r.Compromised(t.Context(), r.subject, report("leak")); err != nil {
					t.Fatal(err)
				}
				entry := r.entry(t)
				if entry.Live.ID == id || entry.Last.Run != id || entry.Last.Result != journal.ResultSuperseded || entry.Live.Supersedes != id {
					t.Fatalf("live is %+v after %+v, want a run that superseded %s", entry.Live, entry.Last, id)
				}
				if got := r.finish(t, r.subject); got != "completed" {
					t.Fatalf("the run is %s", got)
				}
				if took := time.Since(began); took > 11*time.Minute {
					t.Errorf("it took %s, the policy says 10m", took)
				}
				third := r.value(t).Value
				if r.account.Accepts(first) || r.account.Accepts(second) || !r.account.Accepts(third) {
					t.Errorf("accepted are %t, %t, %t; want only the third", r.account.Accepts(first), r.account.Accepts(second), r.account.Accepts(third))
				}
				if r.account.Sessions(second) != 0 {
					t.Error("a session that began with the compromised credential is open")
				}
				c := r.entry(t).Last.Compromise
				if c == nil || !slices.Equal(c.Broken, []string{"stale"}) || c.Took() <= 0 || c.Took() > 11*time.Minute {
					t.Errorf("the outcome is %+v, want the stale consumer named as broken, and the time", c)
				}
				for _, step := range []string{"superseded", "compromised", "sessions-ended", "waived-consumer stale"} {
					if len(r.eventsOf(t, step)) != 1 {
						t.Errorf("%s is on record %d times", step, len(r.eventsOf(t, step)))
					}
				}
			})
		})
	}
}

// Consumers that prove the new version are waited for, and nothing is broken.
func TestCompromiseWaitsForConsumersWithinItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Alternate})
		old, stale := r.stuck(t, 10*time.Minute)
		if _, err := r.Plan(t.Context(), r.subject, report("leak")); err != nil {
			t.Fatal(err)
		}
		r.wait(t, reason.CompromiseProofMissing, "stale")
		if !r.account.Accepts(old) {
			t.Error("the old credential is revoked though a consumer has not moved and the time is not over")
		}
		stale.Restart()
		if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(old) {
			t.Errorf("the run is %s, the old credential is accepted: %t", got, r.account.Accepts(old))
		}
		if c := r.entry(t).Last.Compromise; len(c.Broken) > 0 {
			t.Errorf("broken are %q", c.Broken)
		}
	})
}

// Without onCompromise in the policy nobody is broken, however long it takes.
func TestCompromiseWithoutPolicyBreaksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Alternate})
		old, _ := r.stuck(t, 0)
		r.subject.Policy.OnCompromise = nil
		if _, err := r.Plan(t.Context(), r.subject, report("leak")); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if outlook, err := r.Advance(t.Context(), r.subject); err != nil || outlook.Ended != "" {
				t.Fatalf("%+v, %v", outlook, err)
			}
			time.Sleep(time.Hour)
		}
		if !r.account.Accepts(old) {
			t.Error("the old credential is revoked though a consumer has not moved")
		}
	})
}

// A run that has promoted nothing yet serves the report itself, and a second report of the same changes nothing.
func TestCompromiseJoinsARunThatHasPromotedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, Propagation: time.Hour})
		id := r.plan(t)
		for _, request := range []string{"leak", "leak", "again"} {
			if err := r.Compromised(t.Context(), r.subject, report(request)); err != nil {
				t.Fatal(err)
			}
		}
		if run := r.entry(t).Live; run.ID != id || run.Compromise == nil || !slices.Equal(run.Trigger.Requests, []string{"leak", "again"}) {
			t.Errorf("live is %+v, want run %s with both requests", run, id)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// A report that comes while a run replaces a compromised credential, and has promoted, does not begin anew: reports that keep coming would
// keep the first credential from ever being revoked.
func TestSecondReportDoesNotPutOffTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		old, _ := r.stuck(t, 10*time.Minute)
		id, err := r.Plan(t.Context(), r.subject, report("first"))
		if err != nil {
			t.Fatal(err)
		}
		r.wait(t, reason.CompromiseProofMissing)
		if err := r.Compromised(t.Context(), r.subject, report("second")); err != nil {
			t.Fatal(err)
		}
		if run := r.entry(t).Live; run.ID != id || slices.Contains(run.Trigger.Requests, "second") {
			t.Errorf("live is %+v, want %s, and the second request open for the next run", run, id)
		}
		if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(old) {
			t.Errorf("the run is %s", got)
		}
	})
}

// What a superseding run took over and did not revoke is the next run's.
func TestUndoneSupersedingRunLeavesWhatItTookOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		first, _ := r.stuck(t, 10*time.Minute)
		r.plan(t)
		r.wait(t, reason.ProofMissing)
		second := r.value(t).Value
		u.apply = func() error { return upstream.ErrRefusedCandidate }
		if err := r.Compromised(t.Context(), r.subject, report("leak")); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "undone" {
			t.Fatalf("the run is %s", got)
		}
		if retry := r.entry(t).Retry; retry == nil || retry.Held || time.Until(retry.NotBefore) > 5*time.Minute {
			t.Errorf("the next attempt is %+v, want one soon", retry)
		}
		u.apply = nil
		time.Sleep(10 * time.Minute)
		if _, err := r.Plan(t.Context(), r.subject, report("leak")); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(first) || r.account.Accepts(second) {
			t.Errorf("the run is %s; accepted are %t and %t, want neither", got, r.account.Accepts(first), r.account.Accepts(second))
		}
	})
}

// superseding is a compromise that is reported while a run waits for a consumer, for a process that is killed over it.
func superseding(shape upstreammemory.Shape) asking {
	var olds []secret.Value
	return asking{
		shape: shape,
		before: func(t *testing.T, r *rig) {
			olds = []secret.Value{r.value(t).Value}
			r.stuck(t, 10*time.Minute)
			r.plan(t)
			r.wait(t, reason.ProofMissing)
			olds = append(olds, r.value(t).Value)
			time.Sleep(time.Minute)
		},
		ask: func(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
			return engine.Compromised(ctx, s, report("leak"))
		},
		ending: func(t *testing.T, r *rig, _ *auditmemory.Log, _ secret.Value) {
			last := r.entry(t).Last
			if last.Result != journal.ResultCompleted || last.Compromise == nil || !slices.Equal(last.Compromise.Broken, []string{"stale"}) {
				t.Errorf("it ended as %+v with %+v", last, last.Compromise)
			}
			for i, old := range olds {
				if r.account.Accepts(old) {
					t.Errorf("old credential %d is accepted", i+1)
				}
			}
			if !r.account.Accepts(r.value(t).Value) {
				t.Error("the credential of record is not accepted")
			}
			for _, step := range []string{"superseded", "compromised", "completed", "waived-consumer stale"} {
				if got := len(r.eventsOf(t, step)); got != 1 && step != "completed" || got == 0 {
					t.Errorf("%s is on record %d times", step, got)
				}
			}
		},
	}
}

// behind is an authority whose next reads of a value show nothing yet.
type behind struct {
	rotation.Authority
	reads int
}

func (b *behind) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	if b.reads > 0 {
		b.reads--
		return authority.Versioned{}, authority.ErrNotFound
	}
	return b.Authority.Read(ctx, path)
}

// A read that was behind had a run that had promoted taken for one that had not: the credential that it made stayed, though it may be what
// was reported.
func TestCompromiseAfterAReadThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.subject.Upstream = r.account
		r.stuck(t, 10*time.Minute)
		id := r.plan(t)
		r.wait(t, reason.ProofMissing)
		why := report("leak")
		r.Authority = &behind{r.store, 1}
		if err := r.Compromised(t.Context(), r.subject, why); err != nil {
			t.Fatal(err)
		}
		if live := r.entry(t).Live; live.ID != id || slices.Contains(live.Trigger.Requests, "leak") {
			t.Errorf("run %s takes the requests %q, want none of the report, which may be about what it promoted", live.ID, live.Trigger.Requests)
		}
	})
}
