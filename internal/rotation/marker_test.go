// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// putBack is another process over the state as it was: runs that began since are not known to it.
func (r *rig) putBack(older authoritymemory.Snapshot) {
	r.store = authoritymemory.Restore(authoritymemory.Config{Incarnation: "one", Clock: time.Now}, older)
	r.Config.Authority, r.Config.Journal = r.store, journal.New(r.store)
	r.restart()
}

// A restored older state took the user of a pair that was in use, and set its password.
func TestOlderStateLeavesTheAccountAlone(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Alternate, upstreammemory.Dual, upstreammemory.Overwrite, upstreammemory.Issued} {
		t.Run(string(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: shape, EnforcesRun: true})
				r.plan(t)
				r.finish(t, r.subject)
				older := r.store.Snapshot()
				r.plan(t)
				r.finish(t, r.subject)
				inUse := r.value(t).Value
				r.putBack(older)
				u.applied, u.revoked = 0, 0
				id := r.plan(t)
				r.wait(t, reason.AccountMarkerUnknown, string(id))
				if run := r.entry(t).Live; u.applied+u.revoked > 0 || !r.account.Accepts(inUse) || run.Step != journal.Planned {
					t.Errorf("the account is changed %d times at %s; what is in use is honoured: %v", u.applied+u.revoked, run.Step, r.account.Accepts(inUse))
				}
				if said, err := r.Force(t.Context(), r.subject, id, "me", "nobody uses it"); err != nil || len(said) != 1 || len(r.waived(t)) != 1 {
					t.Errorf("waived %q, %v; %d on record", said, err, len(r.waived(t)))
				}
				r.advance(t) // what it makes of the older value is for the upstream to say
				if got := r.entry(t); u.applied == 0 || len(got.Taken) != 1 {
					t.Errorf("applied %d times, taken %q", u.applied, got.Taken)
				}
			})
		})
	}
}

// What a run of the older state had begun is not gone on with where another came after it, whatever the marker still remembers.
func TestOlderRunIsHeldByAStranger(t *testing.T) {
	for name, c := range map[string]struct {
		until journal.Step
		then  func(*testing.T, *rig)
	}{
		"before it is applied": {journal.Staged, func(*testing.T, *rig) {}},
		"taken back": {journal.Staged, func(t *testing.T, r *rig) {
			if err := r.Abort(t.Context(), r.subject, r.entry(t).Live.ID, "me", "older"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite, EnforcesRun: true})
				var older authoritymemory.Snapshot
				u.apply = func() error {
					if older = r.store.Snapshot(); r.entry(t).Live.Step != c.until {
						t.Errorf("at %s, want %s", r.entry(t).Live.Step, c.until)
					}
					return nil
				}
				r.plan(t)
				r.finish(t, r.subject)
				u.apply = nil
				for range 70 { // more than the marker remembers
					r.plan(t)
					r.finish(t, r.subject)
				}
				inUse := r.value(t).Value
				r.putBack(older)
				c.then(t, r)
				u.applied = 0
				r.wait(t, reason.AccountMarkerUnknown)
				if u.applied > 0 || !r.account.Accepts(inUse) {
					t.Errorf("the account is changed; what is in use is honoured: %v", r.account.Accepts(inUse))
				}
			})
		})
	}
}

// Runs that changed nothing, or whose change was lost, are no strangers to their own journal.
func TestOwnRunsAreNoStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Alternate, EnforcesRun: true})
		before := r.account.Snapshot()
		for range 3 {
			u.apply = func() error { return errors.New("the reply is lost") }
			id := r.plan(t)
			r.advance(t)
			if err := r.Abort(t.Context(), r.subject, id, "me", "test"); err != nil {
				t.Fatal(err)
			}
			u.apply = nil
			r.finish(t, r.subject)
			r.restart()
		}
		r.account.FailOver(before)
		r.plan(t)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// Who hands a value in says what the account is used with: neither that run nor the next waits for them once more.
func TestSuppliedValueTakesTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite, EnforcesRun: true})
		older := r.store.Snapshot()
		r.plan(t)
		r.finish(t, r.subject)
		inUse := r.value(t).Value
		r.putBack(older)
		if _, err := r.Supply(t.Context(), r.subject, "me", "from the consumer's file", inUse); err != nil {
			t.Fatal(err)
		}
		for _, run := range []string{"supplied", "next"} {
			if run == "next" {
				r.plan(t)
			}
			if got := r.finish(t, r.subject); got != "completed" {
				t.Errorf("the %s run is %s", run, got)
			}
		}
	})
}

// An upstream that cannot be asked holds a run as one that cannot be changed does.
func TestMarkerThatCannotBeReadHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Alternate, EnforcesRun: true})
		r.account.SetDown(true)
		r.plan(t)
		r.wait(t, reason.AccountMarkerUnread)
		if u.applied > 0 {
			t.Error("the account is changed")
		}
		r.account.SetDown(false)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}
