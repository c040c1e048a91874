// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/authoritytest"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// counted has the engine ask a store that counts.
func (r *rig) counted() *authoritytest.Counted {
	store := authoritytest.Count(r.store)
	r.Config.Authority, r.Config.Journal = store, journal.New(store)
	r.Engine = rotation.New(r.Config)
	return store
}

// TestWritesOfATimedRotation counts what the package's comment and docs/design/2026-12-02-one-document.md state. A write
// more is a cost that somebody has to mean.
func TestWritesOfATimedRotation(t *testing.T) {
	const document, value = "secret/app/db", "app/db"
	timed := journal.Trigger{Kind: "time", By: "policy", Reason: "due"}
	for shape, want := range map[upstreammemory.Shape][]authoritytest.Call{
		upstreammemory.Dual: {
			{Method: "Put", On: document},  // staged, with the values
			{Method: "Put", On: document},  // verified
			{Method: "Write", On: value},   // promoted
			{Method: "Put", On: document},  // before revoking
			{Method: "Put", On: document},  // closed, without the values
			{Method: "Destroy", On: value}, // of the old version
		},
		upstreammemory.Issued: {
			{Method: "Put", On: document}, // planned
			{Method: "Put", On: document}, // staged
			{Method: "Put", On: document}, // issued, with the values
			{Method: "Put", On: document},
			{Method: "Write", On: value},
			{Method: "Put", On: document},
			{Method: "Put", On: document},
			{Method: "Destroy", On: value},
		},
	} {
		t.Run(string(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := spied(t, upstreammemory.Config{Shape: shape})
				r.value(t) // it has one
				store := r.counted()
				if _, err := r.Plan(t.Context(), r.subject, timed); err != nil {
					t.Fatal(err)
				}
				if got := r.finish(t, r.subject); got != "completed" {
					t.Fatalf("the run is %s", got)
				}
				calls := store.Take()
				if got := calls.Writes(); !slices.Equal(got, want) {
					t.Errorf("a timed rotation makes %d writes, want %d:\n%s", len(got), len(want), got)
				}
				t.Logf("writes of a timed rotation (%s):\n%sand %d reads, %d listings", shape, calls.Writes(), len(calls.Reads()), len(calls.Listings()))
			})
		})
	}
}

// What fails after the close is owed: the next look does it, once.
func TestSpentValueIsDestroyedByTheNextLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		was := r.value(t)
		r.Authority = &indestructible{r.store, 1}
		r.plan(t)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Fatalf("the run is %s", got)
		}
		if _, err := r.store.ReadVersion(t.Context(), r.subject.Path, was.ID.Number); err != nil {
			t.Fatalf("the old value is gone, %v: nothing failed", err)
		}
		store := r.counted() // another process
		for range 2 {
			if err := r.Clean(t.Context(), r.entry(t)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.store.ReadVersion(t.Context(), r.subject.Path, was.ID.Number); err == nil {
			t.Error("the old value can still be read")
		}
		if destroyed := store.Take().ByMethod()["Destroy"]; destroyed != 1 {
			t.Errorf("it was destroyed %d times, want once", destroyed)
		}
	})
}

// The outcome that knows of a spent value is not replaced before that is destroyed.
func TestSpentValueIsDestroyedBeforeTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		was := r.value(t)
		r.Authority = &indestructible{r.store, 1}
		r.plan(t)
		r.finish(t, r.subject)
		r.plan(t)
		if _, err := r.store.ReadVersion(t.Context(), r.subject.Path, was.ID.Number); err == nil {
			t.Error("the next run began, and the old value can still be read")
		}
	})
}

// An authority that never destroys a value kept the secret from being rotated again. What is owed goes from outcome to outcome, also
// over a run that is taken back.
func TestWhatCannotBeDestroyedHoldsNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		denied := &indestructible{r.store, math.MaxInt}
		r.Authority = denied
		for _, want := range []string{"completed", "undone", "completed"} {
			u.apply = nil
			if want == "undone" {
				u.apply = func() error { return fmt.Errorf("no: %w", upstream.ErrRefusedCandidate) }
			}
			r.restart()
			r.plan(t)
			if got := r.finish(t, r.subject); got != want {
				t.Fatalf("the run is %s, want %s", got, want)
			}
			if err := r.Clean(t.Context(), r.entry(t)); err == nil {
				t.Error("nobody is told that a value is not destroyed")
			}
		}
		if got, want := r.entry(t).Last.Spent, []authority.Version{1, 2}; !slices.Equal(got, want) {
			t.Errorf("the versions %d are owed, want %d", got, want)
		}
		denied.fails = 0
		r.plan(t)
		r.finish(t, r.subject)
		if got, want := r.entry(t).Last.Spent, []authority.Version{3}; !slices.Equal(got, want) {
			t.Errorf("of the last run %d are spent, want %d", got, want)
		}
		for number := authority.Version(1); number < 4; number++ {
			if _, err := r.store.ReadVersion(t.Context(), r.subject.Path, number); err == nil {
				t.Errorf("version %d can still be read", number)
			}
		}
	})
}
