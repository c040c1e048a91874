// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// settling is a rig whose run waits out half an hour between its last proof and revocation.
func settling(t *testing.T, shape upstreammemory.Shape) (*rig, *spy) {
	t.Helper()
	r, u := spied(t, upstreammemory.Config{Shape: shape})
	r.subject.Policy.Settle = 30 * time.Minute
	r.plan(t)
	r.wait(t, reason.SettleTime)
	return r, u
}

// A fail-over lost the new credential after it was verified: the old one, which alone still works, is not revoked.
func TestNewCredentialLostBeforeRevocation(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Issued} {
		for _, restarted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r, u := settling(t, shape)
				old, err := r.store.ReadVersion(t.Context(), r.subject.Path, 1)
				if err != nil {
					t.Fatal(err)
				}
				lost := r.value(t)
				r.account.Lose(lost.Value)
				if restarted {
					r.restart()
				}
				time.Sleep(2 * time.Hour)
				r.wait(t, reason.NewCredentialRefused, "db")
				for range 50 { // whatever happens meanwhile
					time.Sleep(time.Minute)
					r.advance(t)
				}
				if u.revoked != 0 || !r.account.Accepts(old.Value) || r.advance(t).Waiting.ByDesign() {
					t.Fatalf("%s: %d calls to revoke; the old credential is honoured: %v", shape, u.revoked, r.account.Accepts(old.Value))
				}
				byHand, err := lost.Value.With(upstreammemory.Key, []byte("by-hand"))
				if shape == upstreammemory.Alternate {
					byHand, err = lost.Value.With(upstreammemory.Password, []byte("by-hand"))
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := r.account.Seed(byHand); err != nil {
					t.Fatal(err)
				}
				if _, err := r.supply(t, byHand); err != nil {
					t.Fatal(err)
				}
				if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(old.Value) || !r.value(t).Value.Equal(byHand) {
					t.Errorf("%s: the run is %s; the old credential is honoured: %v", shape, got, r.account.Accepts(old.Value))
				}
				for _, number := range []authority.Version{1, 2} {
					if _, err := r.store.ReadVersion(t.Context(), r.subject.Path, number); err == nil {
						t.Errorf("%s: version %d, which is over, is kept", shape, number)
					}
				}
			})
		}
	}
}

// What was lost comes back: a replica caught up. The run goes on by itself.
func TestNewCredentialThatComesBackIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := settling(t, upstreammemory.Dual)
		held := r.value(t).Value
		r.account.Lose(held)
		time.Sleep(2 * time.Hour)
		r.wait(t, reason.NewCredentialRefused)
		if err := r.account.Seed(held); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" || r.entry(t).Last.Run != "run-3" {
			t.Errorf("run %s is %s", r.entry(t).Last.Run, got)
		}
	})
}

// An upstream that cannot say whether the new credential works holds revocation too.
func TestUnknownNewCredentialHoldsRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := settling(t, upstreammemory.Dual)
		held := r.value(t).Value
		u.verify = func(v secret.Value) (upstream.Verdict, error) {
			if v.Equal(held) {
				return upstream.Unknown, errors.New("starting")
			}
			return "", nil
		}
		time.Sleep(2 * time.Hour)
		r.wait(t, reason.NewCredentialUndecided, "starting")
		if u.revoked != 0 {
			t.Errorf("%d calls to revoke", u.revoked)
		}
	})
}

// Where applying was the revocation, and where there is nothing to revoke, the run does not complete on a credential that
// is refused.
func TestRefusedNewCredentialHoldsCompletion(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T) (*rig, *spy){
		"overwrite": func(t *testing.T) (*rig, *spy) { return settling(t, upstreammemory.Overwrite) },
		"revokeOld off": func(t *testing.T) (*rig, *spy) {
			r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
			r.subject.Policy.RevokeOld = false
			return r, u
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := prepare(t)
				base := r.value(t).ID.Number
				if r.entry(t).Live == nil {
					r.plan(t)
					base++
				}
				u.verify = func(v secret.Value) (upstream.Verdict, error) {
					if held := r.value(t); held.ID.Number == base && v.Equal(held.Value) {
						return upstream.Refused, nil
					}
					return "", nil
				}
				time.Sleep(2 * time.Hour)
				r.wait(t, reason.NewCredentialRefused)
				if run := r.entry(t).Live; run == nil || !run.Refused || run.Step == journal.Completed {
					t.Errorf("the run is %+v", run)
				}
			})
		})
	}
}

// The process died over revoking, at an upstream that locks accounts out: the refused old credential and the new one are
// tried in an order in which both can be.
func TestRevocationCutOffWhereAccountsAreLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, LockoutAfter: 5, LockoutFor: 10 * time.Minute})
		old := r.value(t).Value
		u.revoke = func() error { return errors.New("the reply was lost") }
		id := r.plan(t)
		r.wait(t, reason.OldNotRevoked, "the reply was lost")
		if err := r.account.Revoke(t.Context(), id, old, r.value(t).Value); err != nil {
			t.Fatal(err)
		}
		r.restart()
		u.revoke = nil
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// jumping is a guard over a clock that says what it is told to, from its nth question on.
type jumping struct {
	why   string
	from  int
	asked int
}

func (j *jumping) Check(context.Context) (string, error) {
	if j.asked++; j.asked < j.from {
		return "", nil
	}
	return j.why, nil
}

// The clock jumped ahead when the quiet time was nearly over: what somebody does with the old credential by the upstream's clock lay
// before the time that uses were asked from, and the credential was revoked. However late in the look it jumps, that holds the run;
// once the clock is believed, the quiet time begins anew.
func TestClockJumpDatesNoUse(t *testing.T) {
	for name, from := range map[string]int{"before uses are asked for": 0, "while they are": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, Witnesses: true})
				r.subject.Policy.QuietWindow = 10 * time.Minute
				old := r.value(t).Value
				clock := &jumping{}
				r.Config.Clock = clock
				r.restart()
				r.plan(t)
				r.wait(t, reason.QuietWindow)
				uses := func() {
					if !r.account.SignIn("somebody", old) {
						t.Fatal("the old credential, which is in use, is revoked")
					}
				}
				for range 11 {
					time.Sleep(time.Minute)
					uses()
				}
				*clock = jumping{why: "the clock jumped by 24h", from: from}
				r.Engine.Now = func() time.Time { return time.Now().Add(day) }
				r.wait(t, reason.OldUsesUndated, "jumped")
				if u.revoked != 0 {
					t.Fatalf("%d calls to revoke", u.revoked)
				}
				*clock, r.Engine.Now = jumping{}, time.Now
				r.wait(t, reason.QuietWindow)
				for range 11 {
					time.Sleep(time.Minute)
					uses()
				}
				r.wait(t, reason.OldInUse, "somebody")
				time.Sleep(time.Hour)
				if got := r.finish(t, r.subject); got != "completed" || u.revoked != 1 {
					t.Errorf("the run is %s, with %d calls to revoke", got, u.revoked)
				}
			})
		})
	}
}
