// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/trigger"
)

// What mutants of fromsentences_test.go lived by: dangers that no scenario had.

// A run that was taken back replaced nothing: the value lives no longer for it.
func TestRunThatWasTakenBackRenewsNothing(t *testing.T) {
	declared := dual()
	declared.RefuseFirst = 1
	within(t, declared, func(l live) {
		l.pass(31 * day)
		l.wantEnded(journal.Undone, 1)
		if held, err := l.store.Read(context.Background(), l.s.Path); err != nil || time.Since(held.Created) > l.s.Policy.TTL {
			l.violate("liveness", l.s, "version %s lives for %s, and its policy says %s (%v)", held.ID, time.Since(held.Created), l.s.Policy.TTL, err)
		}
		l.Final()
	})
}

// pair is a world of two secrets that were handed over.
func pair(t *testing.T, test func(w *World, one, two *Secret)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := New(1)
		w.reconcile = 10 * time.Minute
		var declared []*Secret
		for _, name := range []string{"one", "two"} {
			d := dual()
			d.Name = name
			s, err := w.Declare(d)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, s)
		}
		if w.drive(time.Now().Add(time.Hour), w.Settled); !w.Settled() {
			t.Fatal("the secrets were not handed over")
		}
		test(w, declared[0], declared[1])
		w.Final()
		for _, violation := range w.Violations {
			t.Error(violation)
		}
		all.add(0, 1, w.Checks, len(w.Violations))
	})
}

func never() bool { return false }

// Both are due at one moment, and the clock may start one in an hour; processes live for ten minutes.
func TestCapOutlivesTheProcess(t *testing.T) {
	pair(t, func(w *World, one, _ *Secret) {
		w.maxTimed = 1
		seen, last := map[authority.RunID]bool{}, time.Time{}
		w.saved = func(entry *journal.Entry) {
			run := entry.Live
			if run == nil || run.Trigger.Kind != trigger.Time || seen[run.ID] {
				return
			}
			seen[run.ID] = true
			if since := run.Started.Sub(last); since < time.Hour {
				w.violate("cap", one, "a timed run begins %s after another, and one an hour is allowed", since)
			}
			last = run.Started
		}
		w.drive(w.began.Add(29*day-time.Hour), never)
		for range 18 {
			w.drive(time.Now().Add(10*time.Minute), never)
		}
		if len(seen) != 2 {
			t.Errorf("%d timed runs began, want 2", len(seen))
		}
	})
}

// Both are asked for at one moment; the second waits for the gap.
func TestStaggerSetIsKeptApart(t *testing.T) {
	pair(t, func(w *World, one, two *Secret) {
		const gap = 6 * time.Hour
		one.Stagger, two.Stagger = &orchestrator.Stagger{Set: "set", Gap: gap}, &orchestrator.Stagger{Set: "set", Gap: gap}
		w.changed()
		seen := map[authority.RunID]bool{}
		w.saved = func(entry *journal.Entry) {
			run := entry.Live
			if run == nil || seen[run.ID] {
				return
			}
			seen[run.ID] = true
			other := w.entry(two.Path)
			if entry.Path == two.Path {
				other = w.entry(one.Path)
			}
			switch last := other.Last; {
			case other.Live != nil:
				w.violate("kept-apart", one, "run %s begins beside run %s", run.ID, other.Live.ID)
			case last != nil && last.Workflow == journal.Rotation && run.Started.Sub(last.Ended) < gap:
				w.violate("kept-apart", one, "run %s begins %s after run %s ended, want %s", run.ID, run.Started.Sub(last.Ended), last.Run, gap)
			}
		}
		for _, s := range []*Secret{one, two} {
			if err := w.Request(s); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			w.drive(time.Now().Add(3*time.Hour), never)
		}
		if len(seen) != 2 {
			t.Errorf("%d runs began, want 2", len(seen))
		}
	})
}
