// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// Nobody uses a credential that somebody removed upstream, of which the upstream can then tell nothing.
func TestRemovedOldCredentialHasNoUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, Witnesses: true})
		old := r.value(t).Value
		u.uses = func() error { return errors.New("the list has nothing that is this credential") }
		id := r.plan(t)
		r.wait(t, reason.OldUsesUnknown)
		if r.account.Accepts(old) == false {
			t.Fatal("the old credential was revoked though its uses are not known")
		}
		if err := r.account.Revoke(t.Context(), id, old, secret.Value{}); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// What an upstream asks to be waited for may be a person's to lift: it is shown, and a person can give the run up.
func TestUpstreamThatIsToBeAskedLaterIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		locked := func() error {
			return &upstream.Later{After: time.Hour, Err: fmt.Errorf("the account is locked: %w", upstream.ErrNotApplied)}
		}
		u.apply = locked
		id := r.plan(t)
		outlook := r.advance(t)
		if outlook.Waiting.ByDesign() || time.Until(outlook.Again) < 59*time.Minute || !contains(outlook.Waiting.Cause, "locked") {
			t.Errorf("it waits because of %+v for %s; want it shown, and an hour", outlook.Waiting, time.Until(outlook.Again))
		}
		u.revoke = locked
		if err := r.Abort(t.Context(), r.subject, id, "me", "locked for good"); err != nil {
			t.Fatal(err)
		}
		r.wait(t, reason.CandidateNotRemoved)
		if _, err := r.Force(t.Context(), r.subject, id, "me", "seen to"); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "undone" {
			t.Errorf("the run is %s", got)
		}
	})
}

// Where a kind cannot undo and its candidate is refused for good, both moves that the run names take it further.
func TestRunThatCannotBeUndoneHasAMove(t *testing.T) {
	for _, force := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Rotated})
			u.kind = func(kind *upstream.Kind) { kind.LostReply = upstream.Recover }
			refuse := true
			u.verify = func(secret.Value) (upstream.Verdict, error) {
				if refuse {
					return upstream.Refused, nil
				}
				return "", nil
			}
			id := r.plan(t)
			if _, err := r.supply(t, token(t, "early")); !errors.Is(err, rotation.ErrNotAllowed) {
				t.Errorf("before anything was issued: %v", err)
			}
			r.wait(t, reason.UndoImpossible)
			want := "completed"
			if force {
				want = "undone"
				if _, err := r.Force(t.Context(), r.subject, id, "me", "made one by hand"); err != nil {
					t.Fatal(err)
				}
			} else {
				byHand := r.hand(t)
				u.verify = func(v secret.Value) (upstream.Verdict, error) {
					if v.Equal(byHand) {
						return upstream.Accepted, nil
					}
					return upstream.Refused, nil
				}
				if _, err := r.supply(t, byHand); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.finish(t, r.subject); got != want {
				t.Errorf("the run is %s, want %s", got, want)
			}
			if run := r.entry(t).Last; run.Run != id {
				t.Errorf("run %s ended, want %s", run.Run, id)
			}
		})
	}
}

// Undoing by applying the old credential again spares the call only where that is the one credential of the account.
func TestReapplyingOfTwoTakesTheCandidateOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		u.kind = func(kind *upstream.Kind) { kind.Undo = upstream.Reapply }
		u.apply = func() error { return errLost }
		u.verify = func(secret.Value) (upstream.Verdict, error) { return upstream.Unknown, errors.New("away") }
		id := r.plan(t)
		r.advance(t)
		if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); err != nil {
			t.Fatal(err)
		}
		before := u.applied
		candidate, err := r.Candidate(t.Context(), r.subject.Path)
		if err != nil || candidate.Empty() {
			t.Fatalf("no candidate: %v", err)
		}
		u.apply = func() error { return u.Upstream.Revoke(t.Context(), id, candidate, secret.Value{}) } // as its kind says
		u.verify = nil
		if got := r.finish(t, r.subject); got != "undone" || u.applied == before {
			t.Errorf("the run is %s after %d calls, want undone after one more than %d", got, u.applied, before)
		}
	})
}

// A pipe that failed gives nothing, and nothing is no value.
func TestEmptyValueIsNotSupplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := static(t)
		if _, err := r.supply(t, token(t, "")); !errors.Is(err, rotation.ErrNotAllowed) || r.entry(t).Live != nil {
			t.Errorf("got %v and run %+v, want ErrNotAllowed and none", err, r.entry(t).Live)
		}
		first := r.subject
		r.subject.Path = "app/never"
		if _, err := r.supply(t, token(t, "")); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("as the first value: got %v, want ErrNotAllowed", err)
		}
		r.subject = first
		with, err := token(t, "second").With("note", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.supply(t, with); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("with a further field, empty: got %v, want ErrNotAllowed", err)
		}
	})
}

// unready never says what it can do.
type unready struct{ *spy }

func (unready) Ready(context.Context) error { return errors.New("starting") }

// A run is planned while the rest of its stagger set waits: nothing outside is asked meanwhile, which may hang.
func TestPlanUnderAGateAsksNothingOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.subject.Upstream = unready{u}
		if _, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "manual"}); !errors.Is(err, rotation.ErrNotNow) {
			t.Errorf("got %v, want ErrNotNow", err)
		}
		r.subject.PlanOnly = true
		r.plan(t)
		r.wait(t, reason.UpstreamNotReady, "starting")
	})
}
