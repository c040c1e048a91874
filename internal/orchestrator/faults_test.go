// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
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

func (r *rig) ask(i int, id string) {
	r.t.Helper()
	s := r.secrets[i]
	if _, err := r.queue().Submit(r.t.Context(), trigger.Request{ID: id, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "me", Reason: "now"}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) entry(i int) *journal.Entry {
	r.t.Helper()
	entry, err := journal.New(r.store).Load(r.t.Context(), r.secrets[i].Path)
	if err != nil {
		r.t.Fatal(err)
	}
	return entry
}

// unmarked is an account without a marker: a run of it is staged while the upstream is down.
type unmarked struct{ upstream.Upstream }

// The values of the run of a secret beneath another one's path are not the other one's.
func TestSecretsBeneathAreLeftAlone(t *testing.T) {
	estate(t, 2, func(r *rig) {
		r.secrets[1].Path = r.secrets[0].Path + "/admin"
		r.pass(r.start(), time.Minute)
		r.wantVersions(1, 1)
		r.accounts[1].SetDown(true)
		r.secrets[1].Upstream = unmarked{r.secrets[1].Upstream}
		r.ask(1, "a")
		process := r.start()
		r.pass(process, time.Hour)
		live := r.entry(1).Live
		if live == nil || live.Step != journal.Staged {
			t.Fatalf("the run beneath is %+v, want it staged", live)
		}
		if held, err := journal.New(r.store).LoadHeld(r.t.Context(), r.secrets[1].Path); err != nil || held.Pending == nil || held.Pending.Run != live.ID {
			t.Errorf("it holds %+v, %v, want the values of the live run", held.Pending, err)
		}
		r.accounts[1].SetDown(false)
		r.pass(r.start(), time.Hour)
		r.wantVersions(1, 2)
	})
}

// interrupting says that it overwrites its only credential.
type interrupting struct{ upstream.Upstream }

func (i interrupting) Kind() upstream.Kind {
	kind := i.Upstream.Kind()
	kind.Capability = upstream.Overwrite
	return kind
}

// A timed policy on what may not be rotated takes no start from what may.
func TestRunsThatNeverBeganAreNotCounted(t *testing.T) {
	estate(t, 3, func(r *rig) {
		r.pass(r.start(), day-time.Hour)
		r.wantVersions(1, 1, 1)
		r.maxTimed = 1
		r.secrets[0].Upstream, r.secrets[1].Upstream = nil, interrupting{r.accounts[1]}
		process := r.start()
		r.pass(process, 70*time.Minute)
		r.wantVersions(1, 1, 2)
		state := process.States()[r.secrets[0].Path]
		if !state.Waiting.Is(reason.NoSuccessor) {
			t.Errorf("the secret without an upstream waits because of %+v", state.Waiting)
		}
	})
}

func TestCapIsThatOfTheEstate(t *testing.T) {
	estate(t, 4, func(r *rig) {
		r.pass(r.start(), day-time.Hour)
		process := r.start()
		process.CapTimed(1)
		r.pass(process, 90*time.Minute)
		r.wantVersions(2, 1, 1, 1)
		process.CapTimed(3)
		r.pass(process, 15*time.Minute)
		last := r.wantSecond(3)
		if state := process.States()[r.secrets[last[0]].Path]; !state.Waiting.Is(reason.TimedRunsCapped) {
			t.Errorf("the last secret waits because of %+v", state.Waiting)
		}
	})
}

// meddling does something else while it is asked for a proof.
type meddling struct {
	materialize.Consumer
	meddle func()
}

func (m *meddling) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	if m.meddle != nil {
		m.meddle()
	}
	return m.Consumer.Prove(ctx, v)
}

// The estate may change while a secret is looked at: its new consumer is served at the next look, not ten minutes later.
func TestConsumerAddedDuringALookIsServedNext(t *testing.T) {
	estate(t, 1, func(r *rig) {
		nosy := &meddling{Consumer: r.consumers[0]}
		r.secrets[0].Consumers[0].Consumer = nosy
		process := r.start()
		r.pass(process, 9*time.Minute)
		added := materializememory.New(materializememory.Config{Name: "added", Clock: time.Now})
		nosy.meddle = func() {
			nosy.meddle = nil
			r.secrets[0].Consumers = append(slices.Clone(r.secrets[0].Consumers), rotation.Consumer{Consumer: added, Needs: materialize.Rolled})
			process.Use(r.secrets)
		}
		r.pass(process, 3*time.Minute) // it is looked at once
		if nosy.meddle != nil {
			t.Fatal("nobody looked")
		}
		if id, _ := added.Held(); id.Number != 1 {
			t.Errorf("the new consumer holds %s", id)
		}
	})
}

// A window that is shorter than the time between two looks is not slept through.
func TestShortWindowIsNotMissed(t *testing.T) {
	estate(t, 1, func(r *rig) {
		starts := time.Now().UTC().Add(day + 3*time.Hour + 3*time.Minute)
		r.secrets[0].Policy.Windows = []journal.Window{{
			Days: []time.Weekday{starts.Weekday()}, Zone: "UTC", Duration: 3 * time.Minute,
			Start: time.Duration(starts.Hour())*time.Hour + time.Duration(starts.Minute())*time.Minute,
		}}
		process := r.start()
		r.pass(process, day+3*time.Hour)
		r.wantVersions(1)
		r.pass(process, 10*time.Minute)
		r.wantVersions(2)
		if planned := r.entry(0).Last.Started; !planned.Equal(starts) {
			t.Errorf("the run began at %s, want the start of the window, %s", planned, starts)
		}
	})
}

// A run that nothing of the estate can finish any more is shown, and is not looked at without end.
func TestRunWithoutADeclarationIsShown(t *testing.T) {
	estate(t, 1, func(r *rig) {
		entry := r.entry(0)
		entry.Secret, entry.Live = "s0", &journal.Run{ID: "run-old", Workflow: journal.Handover, Step: journal.Planned}
		if err := journal.New(r.store).Save(r.t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		process, began := r.start(), time.Now()
		for range 3 {
			next, err := process.Tick(r.t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(next))
		}
		if took := time.Since(began); took < 20*time.Minute { // the second comes when its sweep does
			t.Errorf("three looks took %s", took)
		}
		state := process.States()[r.secrets[0].Path]
		if !state.Waiting.Is(reason.RunUnfinished) || state.Waiting.Args["run"] != "run-old" {
			t.Errorf("the secret waits because of %+v", state.Waiting)
		}
	})
}

// forgetful loses the records of a step.
type forgetful struct {
	audit.Recorder
	step string
}

var errLost = errors.New("the record is not reached")

func (f *forgetful) Append(ctx context.Context, event audit.Event) error {
	if event.Step == f.step {
		return errLost
	}
	return f.Recorder.Append(ctx, event)
}

// A policy is never enforced without a record of it, nor recorded twice.
func TestEnforcedPolicyIsRecordedAfterACrash(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Minute)
		r.secrets[0].Policy.Name = "longer"
		r.secrets[0].Policy.TTL = 4 * day
		process := r.start()
		process.Record = &forgetful{r.log, "policy-enforced"}
		r.pass(process, time.Minute)
		if policy := r.entry(0).Policy; policy.Name != "longer" {
			t.Fatalf("the policy in force is %s", policy.Name)
		}
		r.secrets[0].Policy.Name = "longest"
		for range 2 {
			r.pass(r.start(), time.Minute)
		}
		var got []string
		for event, err := range r.log.Events(r.t.Context(), audit.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Step == "policy-enforced" {
				got = append(got, event.Reason)
			}
		}
		if want := []string{"declared policy longer", "declared policy longest"}; !slices.Equal(got, want) {
			t.Errorf("on record is %q, want %q", got, want)
		}
	})
}

// throttled says when asking again makes sense.
type throttled struct{ asked int }

func (s *throttled) Value(context.Context, string) (secret.Value, error) {
	s.asked++
	return secret.Value{}, &upstream.Later{After: time.Hour, Err: errLost}
}

func TestLaterPutsTheNextLookOff(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].First = false
		r.secrets[0].Handover = &handover.Subject{Secret: "s0", Path: r.secrets[0].Path, Document: "s0.yaml"}
		source := &throttled{}
		process := r.start()
		process.Handover.Source = source
		r.pass(process, 59*time.Minute)
		if source.asked != 1 {
			t.Errorf("it was asked %d times within the hour", source.asked)
		}
		r.pass(process, 10*time.Minute)
		if source.asked != 2 {
			t.Errorf("it was asked %d times, want once more", source.asked)
		}
	})
}

func TestRequestsClosedLongAgoAreForgotten(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.RotationType = "static"
		process := r.start()
		process.Reconcile = day / 2
		r.pass(process, time.Minute)
		r.ask(0, "a")
		r.pass(process, time.Hour)
		r.wantVersions(2)
		done := func() int {
			records, err := r.store.List(r.t.Context(), "request/done/")
			if err != nil {
				t.Fatal(err)
			}
			return len(records)
		}
		r.pass(process, 29*day)
		if done() != 1 {
			t.Error("the request is forgotten within the month")
		}
		r.pass(process, 2*day)
		if done() != 0 {
			t.Error("the request is not forgotten")
		}
	})
}

// A person means the run that they have seen, whichever is live meanwhile.
func TestAnotherRunIsNeitherAbortedNorForced(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Minute)
		r.accounts[0].SetDown(true)
		r.ask(0, "a")
		process := r.start()
		r.pass(process, time.Minute)
		live := r.entry(0).Live
		if live == nil {
			t.Fatal("no run is live")
		}
		path := r.secrets[0].Path
		force := func(ctx context.Context, path authority.Path, id authority.RunID, by, reason string) error {
			_, err := process.Force(ctx, path, id, by, reason)
			return err
		}
		for name, do := range map[string]func(context.Context, authority.Path, authority.RunID, string, string) error{"abort": process.Abort, "force": force} {
			if err := do(r.t.Context(), path, "run-before", "me", "stuck"); !errors.Is(err, rotation.ErrNotAllowed) {
				t.Errorf("%s of a run that is over: %v", name, err)
			}
		}
		if got := r.entry(0).Live; got == nil || got.Aborted || got.Forced != "" {
			t.Errorf("the live run is %+v", got)
		}
		if err := process.Abort(r.t.Context(), path, live.ID, "me", "stuck"); err != nil {
			t.Error(err)
		}
	})
}

// What only time brings is by design; what a person must see to is not.
func TestWaitsByDesign(t *testing.T) {
	estate(t, 2, func(r *rig) {
		r.pass(r.start(), time.Minute)
		byDesign := func(process *orchestrator.Orchestrator, i int, code reason.Code, want bool) {
			t.Helper()
			state := process.States()[r.secrets[i].Path]
			if !state.Waiting.Is(code) || state.Waiting.ByDesign() != want {
				t.Errorf("%s waits because of %+v", r.secrets[i].Subject.Secret, state.Waiting)
			}
		}
		retry := func(retry journal.Retry) {
			entry := r.entry(0)
			entry.Retry = &retry
			if err := journal.New(r.store).Save(r.t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
		retry(journal.Retry{Attempts: 2, NotBefore: time.Now().Add(time.Hour), Reason: "refused"})
		process := r.start()
		r.pass(process, time.Minute)
		byDesign(process, 0, reason.RetryLater, true)
		retry(journal.Retry{Attempts: 5, Reason: "refused", Held: true})
		process = r.start()
		r.pass(process, time.Minute)
		byDesign(process, 0, reason.RetryHeld, false)

		for i := range r.secrets {
			r.secrets[i].Stagger = &orchestrator.Stagger{Set: "apart", Gap: time.Hour}
		}
		entry := r.entry(0)
		entry.Last.Ended = time.Now()
		if err := journal.New(r.store).Save(r.t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		r.ask(1, "b")
		process = r.start()
		r.pass(process, time.Minute)
		byDesign(process, 1, reason.StaggerGap, true)
	})
}

// A member of a group does not wait quietly for a leader that will not begin.
func TestGroupWhoseLeaderIsSuspendedIsShown(t *testing.T) {
	estate(t, 2, func(r *rig) {
		r.pair()
		r.pass(r.start(), time.Minute)
		r.secrets[0].Suspended = true
		process := r.start()
		r.pass(process, 25*time.Hour)
		state := process.States()[r.secrets[1].Path]
		if !state.Waiting.Is(reason.GroupLeaderHeld) {
			t.Errorf("the member waits because of %+v", state.Waiting)
		}
	})
}

// A person who asks for any member of a group that is held has it begin, once for each request: where the run is taken
// back again, the back-off stands.
func TestRequestOfAMemberEndsItsGroupsBackOff(t *testing.T) {
	for _, of := range []int{0, 1} {
		estate(t, 2, func(r *rig) {
			var refuses atomic.Bool
			refusing, err := upstreammemory.New(upstreammemory.Config{
				Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader, Refuses: func(secret.Value) bool { return refuses.Load() },
			})
			if err != nil {
				t.Fatal(err)
			}
			r.secrets[of].Subject.Upstream = refusing
			r.pair()
			process := r.start()
			r.pass(process, time.Minute)
			r.wantVersions(1, 1)
			refuses.Store(true)
			r.pass(process, 30*time.Hour)
			if retry := r.entry(0).Retry; retry == nil || !retry.Held {
				t.Fatalf("the leader's back-off is %+v, want it held", retry)
			}
			attempts := func() int { return r.entry(0).Retry.Attempts }
			before := attempts()
			r.ask(1, "member")
			r.pass(process, time.Hour)
			r.ask(0, "leader")
			r.pass(process, time.Hour)
			r.wantVersions(1, 1)
			if got := attempts() - before; got != 2 {
				t.Errorf("the group was tried %d times for 2 requests", got)
			}
			refuses.Store(false)
			r.pass(process, time.Hour)
			r.wantVersions(1, 1)
			r.ask(1, "member-again")
			r.pass(process, 10*time.Second)
			r.wantVersions(2, 2)
		})
	}
}
