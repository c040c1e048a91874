// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var (
	// steps are those that a process is told of as it begins them. What is done at one is done before anything of it.
	steps  = []journal.Step{journal.Staged, journal.Applied, journal.Verified, journal.Promoted, journal.Delivered, journal.Revoked}
	shapes = []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued}
)

// untold is the longest that a consumer may be refused while no finding names a command: verifyEvery, and an hour.
const untold = day + time.Hour

// attacked is a rotation that somebody disturbs. Its consumer runs on the version before.
type attacked struct {
	*rig
	t        *testing.T
	u        *spy
	consumer *memory.Consumer
	was      secret.Value
	// refused is since when the consumer is refused, and nothing is told that a person can do about it.
	refused time.Time
}

func newAttacked(t *testing.T, account upstreammemory.Config) *attacked {
	t.Helper()
	a := &attacked{t: t}
	a.rig, a.u = spied(t, account)
	a.subject.Policy.Settle, a.subject.Policy.VerifyEvery = 30*time.Minute, day
	a.consumer = a.consumed("api")[0]
	held := a.value(t)
	a.was = held.Value
	if err := a.consumer.Deliver(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	return a
}

// attacks does something to a rotation of each shape as it comes to each step: to one whose process goes on, and to one whose process
// is gone for three hours.
func attacks(t *testing.T, attack func(a *attacked, at journal.Step, restarted bool)) {
	t.Helper()
	for _, shape := range shapes {
		for _, at := range steps {
			for _, restarted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, restarted %v", shape, at, restarted), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						a := newAttacked(t, upstreammemory.Config{Shape: shape})
						a.runTo(at)
						attack(a, at, restarted)
					})
				})
			}
		}
	}
}

// runTo has the run come to a step, or end. It begins one where there is none.
func (a *attacked) runTo(at journal.Step) {
	a.t.Helper()
	goOn := a.stopAt(at)
	if a.entry(a.t).Live == nil {
		a.plan(a.t)
	}
	if at == journal.Completed {
		a.finish(a.t, a.subject)
	} else {
		a.wait(a.t, reason.CustodyStopping)
	}
	goOn(false)
}

// goesOn has the run looked at until it ends, for three days, by the same process or, three hours later, by another. All the time the
// consumer is honoured, or a finding names a command.
func (a *attacked) goesOn(restarted bool) (ended string) {
	a.t.Helper()
	if restarted {
		time.Sleep(3 * time.Hour)
		a.restart()
	}
	for until := time.Now().Add(3 * day); time.Now().Before(until); {
		outlook := a.advance(a.t)
		a.told(outlook.Waiting)
		if outlook.Ended != "" || outlook.Run == "" {
			return string(outlook.Ended)
		}
		next := max(outlook.Again.Sub(a.Now()), time.Millisecond)
		if next > 30*time.Second { // nobody hurries what waits for long
			next = time.Hour
		}
		time.Sleep(next)
	}
	return ""
}

func (a *attacked) told(why reason.Reason) {
	a.t.Helper()
	_, held := a.consumer.Running()
	if a.account.Accepts(held) || !why.None() && len(why.Commands()) > 0 {
		a.refused = time.Time{}
		return
	}
	if a.refused.IsZero() {
		a.refused = time.Now()
	}
	if refused := time.Since(a.refused); refused > untold {
		a.t.Fatalf("the consumer is refused for %s, and told is only %q", refused, why.Text())
	}
}

// honoured wants the consumer to run on the version of record, and that alone to be honoured.
func (a *attacked) honoured() {
	a.t.Helper()
	id, held := a.consumer.Running()
	a.ofRecord(a.t, a.value(a.t).ID.Number)
	if now := a.value(a.t); id != now.ID || !held.Equal(now.Value) {
		a.t.Errorf("the consumer runs on %s, the same value: %v; of record is %s", id, held.Equal(now.Value), now.ID)
	}
}

// Somebody drops, by hand, the account or the key that the run made or changed: the run is taken back, makes it again, or tells
// within verifyEvery, and takes what a person made.
func TestAccountDroppedInMidRun(t *testing.T) {
	attacks(t, func(a *attacked, at journal.Step, restarted bool) {
		made := a.value(a.t).Value
		if held, err := a.Journal.LoadHeld(a.t.Context(), a.subject.Path); err == nil && held.Pending != nil {
			made = held.Pending.Candidate
		}
		switch {
		case a.u.Kind().Capability == upstream.Overwrite:
			a.account.FailOver(upstreammemory.Snapshot{}) // there is one account
		case !made.Equal(a.was):
			if err := a.account.Revoke(a.t.Context(), "by-hand", made, a.was); err != nil {
				a.t.Fatal(err)
			}
		}
		ended := a.goesOn(restarted)
		if ended == "" {
			byHand, err := a.value(a.t).Value.With(a.account.Field(), []byte("made by hand"))
			if err == nil {
				err = a.account.Seed(byHand)
			}
			if err == nil {
				_, err = a.supply(a.t, byHand)
			}
			if err != nil {
				a.t.Fatalf("%v; the run is %+v", err, a.entry(a.t).Live)
			}
			if ended = a.goesOn(false); ended == "" {
				a.t.Fatalf("the run does not end: %+v", a.entry(a.t).Live)
			}
		}
		if ended == "completed" && at == journal.Revoked && !restarted {
			return // right after the last look at it; verifyEvery finds it
		}
		a.honoured()
	})
}

// An older state of the run itself is put back, as it was when it came to an earlier step: also after it was completed.
func TestOlderStateOfTheRunInMidRun(t *testing.T) {
	for _, shape := range shapes {
		for i, from := range steps {
			for _, to := range append(steps[i+1:len(steps):len(steps)], journal.Completed) {
				for _, marked := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s after %s, marked %v", shape, from, to, marked), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							a := newAttacked(t, upstreammemory.Config{Shape: shape, EnforcesRun: marked})
							a.runTo(from)
							older := a.store.Snapshot()
							a.runTo(to)
							a.putBack(older)
							if ended := a.goesOn(true); ended != "completed" {
								t.Fatalf("the run is %q: %+v", ended, a.entry(t).Live)
							}
							a.honoured()
						})
					})
				}
			}
		}
	}
}

// opened is an account that only its admin changes.
type opened struct {
	*spy
	admin func() error
}

func (o opened) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if err := o.admin(); err != nil {
		return secret.Value{}, err
	}
	return o.spy.Apply(ctx, run, current, candidate)
}

func (o opened) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	if err := o.admin(); err != nil {
		return err
	}
	return o.spy.Revoke(ctx, run, old, successor)
}

func (o opened) Collect(ctx context.Context, run authority.RunID) error {
	if err := o.admin(); err != nil {
		return err
	}
	return o.spy.Collect(ctx, run)
}

// The admin credential that a run needs is rotated by its own run meanwhile, which may stand still between two steps for a day.
func TestAdminRotatedInMidRun(t *testing.T) {
	for _, stands := range steps {
		t.Run("stands at "+string(stands), func(t *testing.T) {
			attacks(t, func(a *attacked, _ journal.Step, restarted bool) {
				admin := newAttacked(a.t, upstreammemory.Config{Shape: upstreammemory.Overwrite}) // it is refused until its run has promoted
				a.subject.Upstream = opened{a.u, func() error {
					if !admin.account.Accepts(admin.value(a.t).Value) {
						return fmt.Errorf("signing in as the admin: %w", upstream.ErrNotApplied)
					}
					return nil
				}}
				admin.runTo(stands)
				for range 24 {
					a.told(a.advance(a.t).Waiting)
					time.Sleep(time.Hour)
				}
				if ended := admin.goesOn(restarted); ended != "completed" {
					a.t.Errorf("the admin's run is %q", ended)
				}
				if ended := a.goesOn(restarted); ended != "completed" && a.entry(a.t).Live != nil {
					a.t.Errorf("the run is %q: %+v", ended, a.entry(a.t).Live)
				}
				admin.honoured()
				a.honoured()
			})
		})
	}
}

// The clock was a year off while the run came to a step. It is put right, and a person confirms that, which dates anew what was dated
// ahead.
func TestClockConfirmedInMidRun(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": 365 * day, "behind": -365 * day} {
		for _, shape := range shapes {
			for _, at := range steps {
				t.Run(fmt.Sprintf("%s, %s, %s", name, shape, at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						a := newAttacked(t, upstreammemory.Config{Shape: shape})
						a.Now = func() time.Time { return time.Now().Add(off) }
						a.runTo(at)
						a.Now = time.Now
						entry := a.entry(t)
						for _, when := range []*time.Time{&entry.Rotated, &entry.Live.Started} {
							if rotation.Ahead(*when, time.Now()) {
								*when = time.Now()
							}
						}
						if err := a.Journal.Save(t.Context(), entry); err != nil {
							t.Fatal(err)
						}
						a.restart() // what a process counts by the steady clock is not off
						if ended := a.goesOn(false); ended != "completed" {
							t.Fatalf("the run is %q: %+v", ended, a.entry(t).Live)
						}
						a.honoured()
						for range 3 { // another one begins within minutes
							_, err := a.Plan(t.Context(), a.subject, journal.Trigger{Kind: "manual", By: "me", Reason: "test"})
							if err == nil {
								break
							}
							time.Sleep(time.Minute)
						}
						if ended := a.goesOn(false); ended != "completed" {
							t.Errorf("the next run is %q", ended)
						}
						a.honoured()
					})
				})
			}
		}
	}
}
