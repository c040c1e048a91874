// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// change edits the journal entry of a secret.
func (r *rig) change(i int, edit func(*journal.Entry)) {
	r.t.Helper()
	entry := r.entry(i)
	edit(entry)
	if err := journal.New(r.store).Save(r.t.Context(), entry); err != nil {
		r.t.Fatal(err)
	}
}

// paired is a group of count whose members have their first values, and the process that made those.
func paired(t *testing.T, count int, test func(*rig, *orchestrator.Orchestrator)) {
	t.Helper()
	estate(t, count, func(r *rig) {
		r.pair()
		process := r.start()
		r.pass(process, time.Minute)
		test(r, process)
	})
}

// wantHeld wants every member held by an abort, with no request left, and to stay at version 1 over restarts.
func (r *rig) wantHeld(process *orchestrator.Orchestrator) {
	r.t.Helper()
	r.pass(process, time.Hour)
	for range 3 {
		r.pass(r.start(), 25*time.Hour)
	}
	for i := range r.secrets {
		if id := r.entry(i).Current; id == nil || id.Number != 1 {
			r.t.Errorf("s%d is at %s after the group was aborted", i, id)
		}
		if last := r.entry(i).Last; last.Result != "completed" && !last.Aborted {
			r.t.Errorf("the last run of s%d is %+v, want it aborted", i, last)
		}
	}
	if open, err := r.queue().Open(r.t.Context()); err != nil || len(open) > 0 {
		r.t.Errorf("open are still %+v, %v", open, err)
	}
	r.ask(1, "new")
	r.pass(r.start(), time.Minute)
	for i := range r.secrets {
		if id := r.entry(i).Current; id.Number != 2 {
			r.t.Errorf("s%d is at %s, want a new request to begin the group", i, id)
		}
	}
}

// Whichever run of a group a person aborts, the group is aborted: its requests are closed, and only a new one starts another.
func TestAbortStopsTheGroup(t *testing.T) {
	for _, asks := range []int{0, 1} {
		for _, aborts := range []int{0, 1} {
			t.Run(fmt.Sprintf("s%d asks, s%d is aborted", asks, aborts), func(t *testing.T) {
				paired(t, 3, func(r *rig, process *orchestrator.Orchestrator) {
					r.accounts[1].SetDown(true)
					r.ask(asks, "old")
					r.pass(process, 20*time.Second)
					if err := process.Abort(r.t.Context(), r.secrets[aborts].Path, r.entry(aborts).Live.ID, "me", "stop"); err != nil {
						r.t.Fatal(err)
					}
					r.accounts[1].SetDown(false)
					r.wantHeld(process)
				})
			})
		}
	}
}

// An abort counts where a member has not joined yet: the run took its request.
func TestAbortBeforeAMemberJoined(t *testing.T) {
	paired(t, 2, func(r *rig, process *orchestrator.Orchestrator) {
		r.accounts[0].SetDown(true)
		r.ask(1, "old")
		for range 10 {
			if r.entry(0).Live != nil {
				break
			}
			if _, err := process.Tick(r.t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		leader := r.entry(0).Live
		if leader == nil || r.entry(1).Live != nil {
			t.Fatal("want the leader's run alone")
		}
		if err := process.Abort(r.t.Context(), r.secrets[0].Path, leader.ID, "me", "stop"); err != nil {
			t.Fatal(err)
		}
		r.accounts[0].SetDown(false)
		r.wantHeld(process)
	})
}

// Each request makes a group that is held begin once, whoever of its members made it, and however often Custody starts
// meanwhile.
func TestRequestsOfMembersCountOnceOverRestarts(t *testing.T) {
	estate(t, 3, func(r *rig) {
		refuses := false
		refusing, err := upstreammemory.New(upstreammemory.Config{
			Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader, Refuses: func(secret.Value) bool { return refuses },
		})
		if err != nil {
			t.Fatal(err)
		}
		r.secrets[0].Subject.Upstream = refusing
		r.pair()
		r.pass(r.start(), time.Minute)
		refuses = true
		r.pass(r.start(), 30*time.Hour)
		before := r.entry(0).Retry.Attempts
		for i, asks := range []int{1, 2, 0, 1} {
			r.ask(asks, fmt.Sprintf("request-%d", i))
			for range 3 {
				r.pass(r.start(), 20*time.Minute)
			}
			if got := r.entry(0).Retry.Attempts - before; got != i+1 {
				t.Errorf("the group was tried %d times for %d requests", got, i+1)
			}
		}
		refuses = false
		r.pass(r.start(), time.Hour)
		r.wantVersions(1, 1, 1)
		r.ask(2, "last")
		r.pass(r.start(), time.Minute)
		r.wantVersions(2, 2, 2)
		if open, err := r.queue().Open(r.t.Context()); err != nil || len(open) > 0 {
			t.Errorf("open are still %+v, %v", open, err)
		}
	})
}

// Every run of a group says who asked for it and why; each member's own request outranks another's.
func TestRunsOfAGroupSayWhoAsked(t *testing.T) {
	paired(t, 3, func(r *rig, process *orchestrator.Orchestrator) {
		r.ask(1, "a")
		r.pass(process, time.Minute)
		r.wantVersions(2, 2, 2)
		for i, want := range []string{"s1, of the same group: now", "now", "s1, of the same group: now"} {
			if why := r.entry(i).Last.Trigger; why.Kind != trigger.Manual || why.By != "me" || why.Reason != want {
				t.Errorf("s%d was rotated for %+v, want %q by me", i, why, want)
			}
		}
		r.ask(0, "b")
		r.ask(2, "c")
		r.pass(process, time.Minute)
		r.wantVersions(3, 3, 3)
		for i := range r.secrets {
			if why := r.entry(i).Last.Trigger; why.Kind != trigger.Manual || why.By != "me" || why.Reason != "now" {
				t.Errorf("s%d was rotated for %+v", i, why)
			}
		}
		r.pass(process, 25*time.Hour)
		r.wantVersions(4, 4, 4)
		for event, err := range r.log.Events(r.t.Context(), audit.Filter{}) {
			if err != nil || event.Workflow == audit.Workflow(journal.Rotation) && (event.By == "" || event.Reason == "") {
				t.Errorf("on record is %+v, %v", event, err)
			}
		}
		if why := r.entry(1).Last.Trigger; why.Kind != trigger.Time {
			t.Errorf("the timed run is for %+v", why)
		}
	})
}

// A request for a member is not held up with the timed run that its leader is due for.
func TestRequestOfAMemberIsNotHeldWithTheClock(t *testing.T) {
	paired(t, 2, func(r *rig, process *orchestrator.Orchestrator) {
		process.Clock = jumped("the clock jumped")
		r.pass(process, 25*time.Hour)
		r.wantVersions(1, 1)
		r.ask(1, "a")
		r.pass(process, time.Minute)
		r.wantVersions(2, 2)
	})
}

type jumped string

func (j jumped) Check(context.Context) (string, error) { return string(j), nil }

// Dates of a clock that ran ahead hold nothing up once it was put right, and start nothing while it is not believed.
func TestClockThatRanAhead(t *testing.T) {
	const year = 365 * day
	ahead := func(entry *journal.Entry) {
		entry.Rotated, entry.Last.Ended = entry.Rotated.Add(year), entry.Last.Ended.Add(year)
	}
	t.Run("lifetime", func(t *testing.T) {
		estate(t, 4, func(r *rig) {
			r.maxTimed = 2
			process := r.start()
			r.pass(process, 2*time.Hour)
			for i := range r.secrets {
				r.change(i, ahead)
			}
			process.Clock = jumped("the clock jumped")
			r.pass(process, day)
			r.wantVersions(1, 1, 1, 1)
			process.Clock = jumped("")
			r.pass(process, 30*time.Minute)
			r.wantSecond(2)
			r.pass(process, time.Hour)
			r.wantVersions(2, 2, 2, 2)
			r.pass(process, 20*time.Hour)
			r.wantVersions(2, 2, 2, 2)
		})
	})
	t.Run("next attempt", func(t *testing.T) {
		estate(t, 1, func(r *rig) {
			process := r.start()
			r.pass(process, 25*time.Hour)
			r.wantVersions(2)
			r.change(0, func(entry *journal.Entry) {
				entry.Retry = &journal.Retry{Attempts: 1, NotBefore: time.Now().Add(year), Reason: "refused"}
			})
			r.pass(process, 25*time.Hour)
			r.wantVersions(3)
		})
	})
	t.Run("stagger", func(t *testing.T) {
		estate(t, 2, func(r *rig) {
			for i := range r.secrets {
				r.secrets[i].Stagger = &orchestrator.Stagger{Set: "apart", Gap: time.Hour}
			}
			process := r.start()
			r.pass(process, time.Minute)
			r.change(1, func(entry *journal.Entry) { entry.Last.Ended = entry.Last.Ended.Add(year) })
			r.ask(0, "a")
			r.pass(process, time.Minute)
			r.wantVersions(2, 1)
		})
	})
	t.Run("call of a member", func(t *testing.T) {
		paired(t, 2, func(r *rig, process *orchestrator.Orchestrator) {
			r.change(1, func(entry *journal.Entry) { entry.QuietUntil = time.Now().Add(year) })
			r.ask(0, "a")
			r.pass(process, 5*time.Second)
			r.wantVersions(1, 1) // one may still land
			r.pass(process, 5*time.Minute)
			r.wantVersions(2, 2)
		})
	})
}

// What members of a group wait for in each other is seen at once: nobody's consumers are refused while another sleeps.
func TestMembersWakeEachOther(t *testing.T) {
	paired(t, 3, func(r *rig, process *orchestrator.Orchestrator) {
		r.secrets[2].Upstream, r.secrets[2].AllowInterruption = interrupting{r.accounts[2]}, true
		for i := range r.secrets {
			r.secrets[0].Group.Members[i].Upstream = r.secrets[i].Upstream
		}
		process.Use(r.secrets)
		r.accounts[1].SetDown(true)
		r.ask(0, "a")
		ticks := 0
		for until := time.Now().Add(2 * time.Hour); time.Now().Before(until); ticks++ {
			next, err := process.Tick(r.t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(max(time.Until(next), time.Millisecond))
		}
		if ticks > 3*120+100 {
			t.Errorf("%d ticks in two hours of waiting", ticks)
		}
		r.accounts[1].SetDown(false)
		ready := func() bool {
			live := r.entry(1).Live
			return live == nil || live.Step != journal.Planned && live.Step != journal.Staged
		}
		for until := time.Now().Add(5 * time.Minute); !ready() && time.Now().Before(until); {
			r.pass(process, 100*time.Millisecond)
		}
		r.pass(process, 2*time.Second)
		r.wantVersions(2, 2, 2)
	})
}

// stalled is a group whose leader has completed while its second member was ready and then lost its upstream, and whose
// third has completed too.
func stalled(t *testing.T, count int, test func(*rig, *orchestrator.Orchestrator)) {
	t.Helper()
	paired(t, count, func(r *rig, process *orchestrator.Orchestrator) {
		r.accounts[0].SetDown(true)
		r.ask(0, "a")
		for until := time.Now().Add(time.Hour); r.entry(1).Live == nil || r.entry(1).Live.Step != journal.Applied; {
			if r.pass(process, 100*time.Millisecond); time.Now().After(until) {
				t.Fatalf("the second member is %+v", r.entry(1).Live)
			}
		}
		process = r.start() // it asks its upstream again
		r.accounts[0].SetDown(false)
		r.accounts[1].SetDown(true)
		r.pass(process, 10*time.Minute)
		if last, live := r.entry(0).Last, r.entry(1).Live; last.Group != last.Run || live == nil || live.Step != journal.Applied {
			t.Fatalf("the leader's last run is %+v, the second member's live one %+v", last, live)
		}
		test(r, process)
	})
}

// byHand sets another value of the leader upstream and supplies that.
func (r *rig) byHand(process *orchestrator.Orchestrator) error {
	r.t.Helper()
	held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
	if err != nil {
		r.t.Fatal(err)
	}
	set, err := r.accounts[0].Propose(r.t.Context(), held.Value)
	if err == nil {
		_, err = r.accounts[0].Apply(r.t.Context(), "by-hand", held.Value, set)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = process.Supply(r.t.Context(), r.secrets[0].Path, "me", "expired", set)
	return err
}

// How a group's run ended is not hidden by a supply from the member that still has to know.
func TestSupplyWaitsForTheGroup(t *testing.T) {
	stalled(t, 2, func(r *rig, process *orchestrator.Orchestrator) {
		if err := r.byHand(process); !errors.Is(err, rotation.ErrNotNow) || !strings.Contains(err.Error(), "s1") {
			t.Errorf("got %v, want it refused until s1 has gone forward", err)
		}
		r.accounts[1].SetDown(false)
		r.pass(process, 20*time.Minute)
		r.wantVersions(2, 2)
		if err := r.byHand(process); err != nil {
			t.Error(err)
		}
		r.pass(process, time.Minute)
		r.wantVersions(3, 2)
	})
}

// A member whose leader's entry tells nothing any more goes where the others went.
func TestMemberFollowsTheOthersOfItsGroup(t *testing.T) {
	stalled(t, 3, func(r *rig, process *orchestrator.Orchestrator) {
		r.change(0, func(entry *journal.Entry) { entry.Last.Run, entry.Last.Group = "run-later", "" })
		r.accounts[1].SetDown(false)
		r.pass(process, 20*time.Minute)
		r.wantVersions(2, 2, 2)
		if results := []journal.Result{r.entry(1).Last.Result, r.entry(2).Last.Result}; !slices.Equal(results, []journal.Result{journal.ResultCompleted, journal.ResultCompleted}) {
			t.Errorf("the members ended %s", results)
		}
	})
}
