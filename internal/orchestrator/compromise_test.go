// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/trigger"
)

// reported submits a report of a compromise of the first secret.
func (r *rig) reported(process *orchestrator.Orchestrator, id string) {
	r.t.Helper()
	request := trigger.Request{ID: id, Path: r.secrets[0].Path, Secret: r.secrets[0].Subject.Secret, Kind: trigger.Compromise, By: "webhook siem", Reason: "found in a paste"}
	if _, err := process.Queue.(*trigger.Queue).Submit(r.t.Context(), request); err != nil {
		r.t.Fatal(err)
	}
	process.Wake(r.secrets[0].Path)
}

func (r *rig) entryOf(i int) *journal.Entry {
	r.t.Helper()
	entry, err := journal.New(r.store).Load(r.t.Context(), r.secrets[i].Path)
	if err != nil {
		r.t.Fatal(err)
	}
	return entry
}

// A compromised credential waited for its maintenance window, for the stagger set and for a person after failures.
func TestCompromiseWaitsForNothingThatRotationsWaitFor(t *testing.T) {
	for name, arrange := range map[string]func(*rig){
		"window": func(r *rig) {
			r.secrets[0].Policy.Windows = []journal.Window{{Start: 0, Duration: time.Minute, Zone: "UTC", Days: []time.Weekday{time.Now().Add(3 * day).Weekday()}}}
		},
		"stagger": func(r *rig) {
			for i := range r.secrets {
				r.secrets[i].Stagger = &orchestrator.Stagger{Set: "pair", Gap: day}
			}
		},
		"cap": func(r *rig) { r.maxTimed = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 2, func(r *rig) {
				arrange(r)
				process := r.start()
				r.pass(process, time.Hour)
				other := r.entryOf(1).Current
				old, err := r.store.Read(t.Context(), r.secrets[0].Path)
				if err != nil {
					t.Fatal(err)
				}
				r.reported(process, "leak")
				r.pass(process, time.Minute)
				last := r.entryOf(0).Last
				if last.Trigger.Kind != journal.Compromised || last.Result != journal.ResultCompleted || last.Compromise.Took() <= 0 || last.Compromise.Took() > time.Minute {
					t.Errorf("the last run is %+v with %+v, want one for the compromise, done within a minute", last, last.Compromise)
				}
				if r.accounts[0].Accepts(old.Value) {
					t.Error("the compromised credential is accepted")
				}
				if now := r.entryOf(1).Current; *now != *other {
					t.Errorf("the other secret went from %s to %s", other, now)
				}
				if open, err := r.queue().Open(t.Context()); err != nil || len(open) > 0 {
					t.Errorf("open are %+v, %v", open, err)
				}
			})
		})
	}
}

// A delivery that comes twice rotated twice; and a run that waits for a consumer kept the credential honoured.
func TestCompromiseOverAStuckRunIsServedOnce(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.OnCompromise = &journal.OnCompromise{BreakAfter: 10 * time.Minute}
		process := r.start()
		r.pass(process, time.Hour)
		r.consumers[0].IgnoreReloads(true)
		if _, err := process.Queue.(*trigger.Queue).Submit(t.Context(), trigger.Request{
			ID: "routine", Path: r.secrets[0].Path, Secret: "s0", Kind: trigger.Manual, By: "me", Reason: "routine",
		}); err != nil {
			t.Fatal(err)
		}
		r.pass(process, time.Hour)
		stuck := r.entryOf(0).Live
		if stuck == nil {
			t.Fatal("no run waits")
		}
		r.reported(process, "leak")
		r.pass(process, 11*time.Minute)
		for range 3 {
			r.reported(process, "leak")
			r.pass(process, time.Hour)
		}
		entry := r.entryOf(0)
		if entry.Live != nil || entry.Current.Number != 3 || entry.Last.Result != journal.ResultCompleted || len(entry.Last.Compromise.Broken) != 1 {
			t.Errorf("the secret is at %s after %+v, with %+v live; want the third version and one broken consumer", entry.Current, entry.Last, entry.Live)
		}
		if open, err := r.queue().Open(t.Context()); err != nil || len(open) > 0 {
			t.Errorf("open are %+v, %v; want the routine request served as well", open, err)
		}
		superseded := 0
		for event, err := range r.log.Events(t.Context(), audit.Filter{Run: stuck.ID}) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Step == "superseded" {
				superseded++
			}
		}
		if superseded != 1 {
			t.Errorf("the stuck run is superseded %d times on record", superseded)
		}
		r.consumers[0].Restart() // it runs on the version of record from now on
		r.pass(process, 30*time.Minute)
		if broken := r.entryOf(0).Last.Compromise.Broken; len(broken) > 0 {
			t.Errorf("%q are still said to be broken", broken)
		}
	})
}

// A lifetime that is shortened makes due what is older than that, at the next look and within windows.
func TestShorterLifetimeMakesDueWhatIsOverdue(t *testing.T) {
	estate(t, 2, func(r *rig) {
		for i := range r.secrets {
			r.secrets[i].Policy.TTL = 30 * day
		}
		process := r.start()
		r.pass(process, 3*day)
		if got := r.versions(); got != "[1 1]" {
			t.Fatalf("values are at versions %s", got)
		}
		r.secrets[0].Policy.TTL, r.secrets[0].Digest = 2*day, "changed"
		process.Use(r.secrets)
		r.pass(process, time.Hour)
		if got := r.versions(); got != "[2 1]" {
			t.Errorf("values are at versions %s, want the one whose lifetime was shortened at the second", got)
		}
	})
}
