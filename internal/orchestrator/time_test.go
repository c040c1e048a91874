// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"fmt"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

const year = 365 * day

// shifted is an estate whose clocks can be set: the wall clock shows lead more than the time that passed, and the steady clock stood still
// for slept.
type shifted struct {
	*rig
	lead, slept time.Duration
	clock       *trigger.Clock
}

// shift has the clock of r set, which is the authority's too: it is on the same machine.
func shift(r *rig) *shifted {
	s := &shifted{rig: r}
	r.store = authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: s.now})
	return s
}

func (r *shifted) now() time.Time { return time.Now().Add(r.lead) }

// process is a new process.
func (r *shifted) process() *orchestrator.Orchestrator {
	entries := journal.New(r.store)
	newRun := func() authority.RunID { return authority.RunID(fmt.Sprintf("run-%d", r.runs.Add(1))) }
	r.clock = trigger.NewClock(r.store, r.now, func() time.Duration { return time.Since(r.began) + r.slept })
	process := orchestrator.New(orchestrator.Config{
		Journal: entries, Values: r.store, Record: r.log, Now: r.now, NewRun: newRun, MaxTimedPerHour: r.maxTimed,
		Queue: trigger.New(r.store, r.log, r.now), Clock: r.clock,
		Rotation: rotation.New(rotation.Config{Authority: r.store, Journal: entries, Record: r.log, Now: r.now, NewRun: newRun, Clock: r.clock}),
	})
	process.Use(r.secrets)
	return process
}

// lasts has d go by while the process runs.
func (r *shifted) lasts(process *orchestrator.Orchestrator, d time.Duration) {
	r.t.Helper()
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		next, err := process.Tick(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(min(max(next.Sub(r.now()), time.Millisecond), time.Until(until)))
	}
}

// confirm is a person who says that the time shown is right, as `custody clock confirm` does.
func (r *shifted) confirm(process *orchestrator.Orchestrator) {
	r.t.Helper()
	if err := r.clock.Confirm(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	process.WakeAll()
}

func (r *shifted) at(path authority.Path) authority.Version {
	r.t.Helper()
	held, err := r.store.Read(r.t.Context(), path)
	if err != nil {
		r.t.Fatal(err)
	}
	return held.ID.Number
}

// A clock that jumps by an hour, a day or a year, either way, starts nothing and loses nothing: consumers are kept, a person's request is
// served, and once the time is confirmed the clock starts runs again within the hour that the cap allows.
func TestClockJumpsStartNothingAndHoldNothingElse(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, day, year, -time.Hour, -day, -year} {
		t.Run(by.String(), func(t *testing.T) {
			estate(t, 2, func(rig *rig) {
				r := shift(rig)
				process := r.process()
				r.lasts(process, time.Hour)
				r.lead = by
				r.lasts(process, 10*time.Minute)
				if one, two := r.at("app/s0"), r.at("app/s1"); one != 1 || two != 1 {
					t.Fatalf("after a jump by %s the values are at versions %d and %d", by, one, two)
				}
				if _, err := trigger.New(r.store, r.log, r.now).Submit(r.t.Context(), trigger.Request{
					ID: "ask", Path: "app/s0", Secret: "s0", Kind: trigger.Manual, By: "me", Reason: "while the clock is wrong",
				}); err != nil {
					t.Fatal(err)
				}
				r.lasts(process, 10*time.Minute)
				if got := r.at("app/s0"); got != 2 {
					t.Errorf("a person's request was not served: version %d", got)
				}
				if running, _ := r.consumers[0].Running(); running.Number != 2 {
					t.Errorf("the consumer runs on %s", running)
				}
				r.confirm(process)
				r.lasts(process, 3*day) // the lifetime is two days, of which one is to be left
				if got := r.at("app/s1"); got < 2 || got > 5 {
					t.Errorf("once the time was confirmed the other value is at version %d", got)
				}
				if waiting := process.States()["app/s1"].Waiting; !waiting.None() {
					t.Errorf("it waits because of %+v", waiting)
				}
			})
		})
	}
}

// A clock that was wrong for a while and put right again leaves nothing dated in the future that holds a run up for a year.
func TestClockPutRightHoldsNothing(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, day, year} {
		t.Run(by.String(), func(t *testing.T) {
			estate(t, 3, func(rig *rig) {
				r := shift(rig)
				r.maxTimed = 1
				process := r.process()
				r.lasts(process, time.Hour)
				r.lead = by
				r.lasts(process, time.Minute)
				r.confirm(process) // nobody noticed that it is wrong
				r.lasts(process, 2*day)
				was := r.at("app/s0")
				if was == 1 {
					t.Fatal("no timed run began by the wrong clock")
				}
				r.lead = 0
				process = r.process() // times of day come from the journal
				r.lasts(process, time.Minute)
				r.confirm(process)
				r.lasts(process, 4*day)
				for i := range 3 {
					path := authority.Path(fmt.Sprintf("app/s%d", i))
					if state := process.States()[path]; state.Waiting.Is(reason.TimedRunsCapped) && state.Waiting.Until.Sub(r.now()) > time.Hour {
						t.Errorf("%s waits because of %+v", path, state.Waiting)
					}
				}
				if got := r.at("app/s0"); got < was+2 {
					t.Errorf("in four days the value came from version %d to %d", was, got)
				}
			})
		})
	}
}

// A machine that slept for three days goes on by itself, within the cap: its steady clock counts sleep.
func TestThreeDaysAsleep(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("a new process %v", restarted), func(t *testing.T) {
			estate(t, 5, func(rig *rig) {
				r := shift(rig)
				r.maxTimed = 2
				process := r.process()
				r.lasts(process, time.Hour)
				r.lead, r.slept = 3*day, 3*day
				if restarted {
					process = r.process()
				}
				r.lasts(process, 30*time.Minute)
				r.wantSecond(2)
				r.lasts(process, time.Hour)
				r.wantSecond(4)
				r.lasts(process, time.Hour)
				r.wantSecond(5)
			})
		})
	}
}

// A window in a zone whose clock changes in the middle of it opens once and for as long as it says; a timed run begins within it.
func TestTimedRunBeginsInAWindowOverTheChangeOfTheClock(t *testing.T) {
	for name, c := range map[string]struct {
		zone    string
		changes time.Time
	}{
		"spring, Berlin":   {"Europe/Berlin", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)},
		"autumn, Berlin":   {"Europe/Berlin", time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)},
		"spring, Santiago": {"America/Santiago", time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC)},
		"leap day, UTC":    {"UTC", time.Date(2028, 2, 29, 1, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 1, func(rig *rig) {
				r := shift(rig)
				zone, err := time.LoadLocation(c.zone)
				if err != nil {
					t.Fatal(err)
				}
				local := c.changes.Add(-30 * time.Minute).In(zone) // half an hour before the clock changes
				r.secrets[0].Policy.Windows = []journal.Window{{
					Days: []time.Weekday{local.Weekday()}, Start: time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute,
					Duration: time.Hour, Zone: c.zone,
				}}
				r.lead = time.Until(c.changes.Add(-36 * time.Hour)) // it is due twelve hours before the change
				process := r.process()
				r.lasts(process, 35*time.Hour+29*time.Minute)
				r.wantSecond(0)
				waiting := process.States()["app/s0"].Waiting
				if want := c.changes.Add(-30 * time.Minute); !waiting.Is(reason.MaintenanceWindow) || !waiting.Until.Equal(want) {
					t.Errorf("before its window it waits because of %+v, want until %s", waiting, want)
				}
				r.lasts(process, 5*time.Minute)
				r.wantSecond(1)
			})
		})
	}
}
