// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// stale answers reads of one record as it was.
type stale struct {
	authorityRecords
	was authority.Document
}

type authorityRecords interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

func (s *stale) Get(ctx context.Context, key string) (authority.Document, error) {
	if key == s.was.Key {
		return s.was, nil
	}
	return s.authorityRecords.Get(ctx, key)
}

// ask submits a request to rotate the first secret.
func (r *rig) askFirst(id string) {
	r.t.Helper()
	s := r.secrets[0]
	if _, err := r.queue().Submit(r.t.Context(), trigger.Request{ID: id, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "test", Reason: "asked"}); err != nil {
		r.t.Fatal(err)
	}
}

// An engine whose read of the journal is stale sees no run, and does not take its values.
func TestStaleReadTakesNoLiveRunsValues(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		was, err := r.store.Get(r.t.Context(), "secret/"+string(r.secrets[0].Path))
		if err != nil {
			t.Fatal(err)
		}
		r.consumers[0].IgnoreReloads(true)
		r.askFirst("now")
		r.pass(r.start(), time.Minute)
		live := r.entry(0).Live
		if live == nil {
			t.Fatal("no run is live")
		}
		// The stale engine sees the request open, and no run that took it.
		r.records = &stale{r.store, was}
		other := r.start()
		r.records = nil
		r.pass(other, 30*time.Minute)
		if held, err := journal.New(r.store).LoadHeld(r.t.Context(), r.secrets[0].Path); err != nil || held.Pending == nil || held.Pending.Run != live.ID {
			t.Errorf("held are %+v, %v, want the values of run %s", held.Pending, err, live.ID)
		}
	})
}

// events on record of a step.
func (r *rig) events(step string) []audit.Event {
	r.t.Helper()
	var found []audit.Event
	for event, err := range r.log.Events(r.t.Context(), audit.Filter{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.HasPrefix(event.Step, step) {
			found = append(found, event)
		}
	}
	return found
}

// A consumer that was changed by somebody else is on record with what it should hold: once, however often the same is found.
func TestDriftIsOnRecordOncePerChange(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		for range 3 { // a program that writes its own copy every few minutes
			r.consumers[0].Tamper(tampered(t))
			r.pass(process, 10*time.Minute)
		}
		events := r.events("drifted")
		if len(events) != 1 || events[0].Consumer != "app" || events[0].Version == nil || events[0].Version.Number != 1 || events[0].Secret != "s0" {
			t.Fatalf("on record: %+v, want one event that names consumer and version", events)
		}
		r.pass(process, time.Hour) // and it is right again
		r.consumers[0].Tamper(tampered(t))
		r.pass(process, time.Hour)
		if events := r.events("drifted"); len(events) != 2 {
			t.Errorf("%d events on record, want a second one for the second change", len(events))
		}
	})
}

// What is computed from a secret holds nothing that somebody else could have changed: before it was computed for the first
// time, and while a consumer of its own is put right, its input is not said to have drifted.
func TestWhatIsNotComputedYetDidNotDrift(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Minute)
		dependent := &derivation.Dependent{
			Secret: "url", Path: "derived/url", Input: "s0", Authority: r.store, Journal: journal.New(r.store), Wake: func(authority.Path) {},
		}
		r.secrets[0].Consumers = append(r.secrets[0].Consumers, rotation.Consumer{Consumer: dependent, Needs: materialize.Observed})
		process := r.start()
		r.pass(process, time.Hour)
		if events, drift := r.events("drifted"), process.States()[r.secrets[0].Path].Drift; len(events) > 0 || !drift.None() {
			t.Errorf("on record: %+v; told %q", events, drift)
		}
	})
}

func tampered(t *testing.T) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"key": "changed from elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Somebody reset the password upstream: it is a finding and on record once, and tried ever less often. A rotation mends it.
func TestResetUpstreamIsFoundBetweenRuns(t *testing.T) {
	for name, mend := range map[string]func(*rig, secret.Value){
		"rotated":   func(r *rig, _ secret.Value) { r.askFirst("mend") },
		"set again": func(r *rig, v secret.Value) { _ = r.accounts[0].Seed(v) },
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 1, func(r *rig) {
				counted := &counting{Upstream: r.accounts[0]}
				r.secrets[0].Subject.Upstream = counted
				r.secrets[0].Policy.VerifyEvery, r.secrets[0].Policy.RotationType = day, "event"
				r.pass(r.start(), time.Hour)
				process := r.start()
				before := counted.asked
				r.pass(process, 10*day)
				if asked := counted.asked - before; asked < 10 || asked > 20 {
					t.Errorf("%d sign-ins in ten days, want one every twelve to twenty-four hours", asked)
				}
				checked := func() *journal.Checked {
					entry, err := journal.New(r.store).Load(r.t.Context(), r.secrets[0].Path)
					if err != nil {
						t.Fatal(err)
					}
					return entry.CheckedNow()
				}
				held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
				if err != nil {
					t.Fatal(err)
				}
				r.accounts[0].Lose(held.Value)
				before = counted.asked
				r.pass(process, 10*day)
				if asked := counted.asked - before; asked < 10 || asked > 30 {
					t.Errorf("%d sign-ins in ten days while it is refused, want about one a day and the first few sooner", asked)
				}
				if events := r.events("value-refused"); len(events) != 1 || events[0].Version == nil || *events[0].Version != held.ID {
					t.Errorf("on record: %+v, want one event with the version", events)
				}
				if got := checked(); got == nil || !got.Refused {
					t.Errorf("got %+v, want it refused", got)
				}
				since := checked().At
				r.accounts[0].SetDown(true)
				r.pass(process, 3*day)
				if got := checked(); got == nil || !got.Refused || !got.At.Equal(since) {
					t.Errorf("unknown changed the answer to %+v", got)
				}
				r.accounts[0].SetDown(false)
				mend(r, held.Value)
				r.pass(process, 3*day)
				if got := checked(); got != nil && got.Refused {
					t.Errorf("got %+v after it was mended", got)
				}
				if got := len(r.events("value-accepted")); name == "set again" && got != 1 {
					t.Errorf("%d events that it is accepted again, want one", got)
				}
			})
		})
	}
}

// What doctor was answered is a finding of status and explain as well, until a look by the policy is answered otherwise.
func TestWhatSomebodyWasToldIsKept(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.VerifyEvery, r.secrets[0].Policy.RotationType = day, "event"
		process, path := r.start(), r.secrets[0].Path
		r.pass(process, time.Hour)
		held, err := r.store.Read(r.t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		tell := func(refused bool) *journal.Entry {
			t.Helper()
			if err := process.Told(r.t.Context(), path, held.ID, refused, "doctor"); err != nil {
				t.Fatal(err)
			}
			entry, err := journal.New(r.store).Load(r.t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return entry
		}
		if got := tell(false).CheckedNow(); got != nil {
			t.Errorf("it was known to be accepted, and noted all the same: %+v", got)
		}
		r.accounts[0].Lose(held.Value)
		entry := tell(true)
		if got := entry.CheckedNow(); got == nil || !got.Refused || got.By != "doctor" {
			t.Errorf("got %+v, want it refused", got)
		}
		if again := tell(true); again.CheckedNow().Tries != 1 || len(r.events("value-refused")) != 1 || r.events("value-refused")[0].By != "doctor" {
			t.Errorf("told twice: %+v, %+v", again.Checked, r.events("value-refused"))
		}
		_ = r.accounts[0].Seed(held.Value)
		r.pass(process, 3*day)
		if entry := tell(false); entry.CheckedNow().Refused || len(r.events("value-accepted")) != 1 {
			t.Errorf("after it was set again: %+v, %+v", entry.Checked, r.events("value-accepted"))
		}
	})
}

// Nobody signed in between runs with an admin credential that no upstream rotates: that it had stopped working was found by the next
// rotation that needed it. It is tried at what it opens, and while that refuses it never within two hours: accounts lock.
func TestStaticAdminIsTriedBetweenRuns(t *testing.T) {
	estate(t, 1, func(r *rig) {
		verdict, asked, last := upstream.Accepted, 0, time.Time{}
		s := &r.secrets[0]
		s.Subject.Upstream, s.SentTo, s.First = nil, "", false
		s.Policy = journal.Policy{RotationType: "static", RevokeOld: true, FailureStrategy: "retry", VerifyEvery: day}
		s.Subject.Opens = func(context.Context, secret.Value) (upstream.Verdict, error) {
			if verdict == upstream.Refused && time.Since(last) < 2*time.Hour {
				t.Errorf("refused twice within %s", time.Since(last))
			}
			asked, last = asked+1, time.Now()
			return verdict, nil
		}
		process := r.start()
		hand := func(password string) {
			t.Helper()
			v, err := secret.Text(map[string]string{"username": "admin", "password": password})
			if err == nil {
				_, err = process.Supply(r.t.Context(), s.Path, "me", "set there", v)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.pass(process, time.Hour)
		}
		hand("first")
		asked = 0
		r.pass(process, 10*day)
		if asked < 10 || asked > 20 {
			t.Errorf("%d sign-ins in ten days, want one every twelve to twenty-four hours", asked)
		}
		verdict = upstream.Refused
		r.pass(process, 3*day)
		if got := r.entry(0).CheckedNow(); got == nil || !got.Refused || len(r.events("value-refused")) != 1 {
			t.Errorf("got %+v, and %+v on record, want it refused, once", got, r.events("value-refused"))
		}
		r.pass(process, 10*day)
		verdict = upstream.Accepted
		hand("second")
		if got := r.entry(0).CheckedNow(); got != nil {
			t.Errorf("got %+v of the value that was handed in", got)
		}
		verdict, asked = "", 0 // it cannot be asked about
		r.pass(process, 10*day)
		if asked > 20 {
			t.Errorf("%d questions in ten days that nobody can answer", asked)
		}
	})
}

// verifyEvery holds also where it is shorter than the time between two looks at consumers.
func TestShortVerifyEveryIsNotRoundedUp(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.VerifyEvery, r.secrets[0].Policy.RotationType = 5*time.Minute, "event"
		process := r.start()
		r.pass(process, time.Hour+2*time.Minute) // consumers are looked at every ten
		held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		r.accounts[0].Lose(held.Value)
		r.pass(process, 5*time.Minute)
		if events := r.events("value-refused"); len(events) != 1 {
			t.Errorf("%d events on record five minutes after it was lost, want one", len(events))
		}
	})
}

// A policy that switches it off has nobody sign in between runs.
func TestNobodySignsInBetweenRunsWhereThatIsOff(t *testing.T) {
	estate(t, 1, func(r *rig) {
		counted := &counting{Upstream: r.accounts[0]}
		r.secrets[0].Subject.Upstream = counted
		r.secrets[0].Policy.RotationType = "static"
		process := r.start()
		r.pass(process, time.Hour)
		before := counted.asked
		r.pass(process, 10*day)
		if counted.asked != before {
			t.Errorf("%d sign-ins", counted.asked-before)
		}
	})
}

// counting counts sign-ins.
type counting struct {
	*upstreammemory.Upstream
	asked int
}

func (c *counting) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	c.asked++
	return c.Upstream.Verify(ctx, v)
}
