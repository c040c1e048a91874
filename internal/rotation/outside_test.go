// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// deafRun is a rotation whose call to apply hangs whatever its context says, until release is closed; then it takes effect.
// asked counts sign-ins since the call began.
func deafRun(t *testing.T, shape upstreammemory.Shape) (r *rig, u *spy, release chan struct{}, asked *int) {
	t.Helper()
	r, u = spied(t, upstreammemory.Config{Shape: shape, IgnoresDeadlines: true})
	release, asked = make(chan struct{}), new(int)
	r.plan(t)
	u.apply = func() error {
		u.verify = func(secret.Value) (upstream.Verdict, error) { *asked++; return "", nil }
		<-release
		return nil
	}
	r.pass(t, time.Hour)
	synctest.Wait() // the call hangs
	if live := r.entry(t).Live; live == nil || live.Step != journal.Staged || *asked > 0 || u.applied != 1 {
		t.Fatalf("while the call goes on: run %+v, %d sign-ins, %d calls to apply", live, *asked, u.applied)
	}
	if waiting := r.entry(t).Live.Waiting; waiting == nil || !contains(waiting.Reason.Cause, "an earlier call to it was given up and has not ended") {
		t.Errorf("the run waits for %+v", waiting)
	}
	return r, u, release, asked
}

// pass advances for d, or until the run ends.
func (r *rig) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		outlook := r.advance(t)
		if outlook.Ended != "" {
			return
		}
		time.Sleep(min(max(outlook.Again.Sub(r.Now()), time.Millisecond), time.Until(until)))
	}
}

// A call that was given up may still land: nothing is decided beside it, and nothing is called.
func TestCallThatNeverReturnsIsWaitedFor(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite} {
		t.Run(string(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, release, _ := deafRun(t, shape)
				close(release)
				synctest.Wait()
				if got := r.finish(t, r.subject); got != "completed" {
					t.Errorf("the run %s", got)
				}
				if held := r.value(t); held.ID.Number != 2 || !r.account.Accepts(held.Value) {
					t.Errorf("the value is at %s", held.ID)
				}
			})
		})
	}
}

// What is taken back is taken back after the call that was given up, never beside it.
func TestCallThatNeverReturnsIsUndoneAfterIt(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite} {
		t.Run(string(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, release, asked := deafRun(t, shape)
				if err := r.Abort(t.Context(), r.subject, r.entry(t).Live.ID, "me", "stuck"); err != nil {
					t.Fatal(err)
				}
				r.pass(t, time.Hour)
				synctest.Wait()
				if live := r.entry(t).Live; live == nil || *asked > 0 {
					t.Fatalf("while the call goes on: run %+v, %d sign-ins", live, *asked)
				}
				close(release)
				synctest.Wait()
				if got := r.finish(t, r.subject); got != "undone" {
					t.Errorf("the run is %s", got)
				}
				if held := r.value(t); held.ID.Number != 1 || !r.account.Accepts(held.Value) {
					t.Errorf("the value is at %s, honoured: %t", held.ID, r.account.Accepts(held.Value))
				}
				if n := len(r.account.Credentials()); n != 1 {
					t.Errorf("%d runs left credentials upstream", n)
				}
			})
		})
	}
}

// A sign-in that was given up may be refused later: it counts against what locks the account out.
func TestSignInThatNeverReturnsCountsAsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, LockoutAfter: 2, LockoutFor: time.Hour})
		release := make(chan struct{})
		tried := 0
		u.verify = func(secret.Value) (upstream.Verdict, error) {
			if tried++; tried == 1 {
				<-release
				return upstream.Unknown, errors.New("too late")
			}
			return "", nil
		}
		time.Sleep(2 * time.Hour)
		r.plan(t)
		r.pass(t, 10*time.Minute)
		close(release)
		r.pass(t, 50*time.Minute)
		synctest.Wait()
		if tried != 1 {
			t.Errorf("%d sign-ins within the hour", tried)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run %s", got)
		}
	})
}
