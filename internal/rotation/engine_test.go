// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// rig is an engine over doubles, with one generated secret that has no consumers.
type rig struct {
	*rotation.Engine
	store   *authoritymemory.Store
	account *upstreammemory.Upstream
	subject rotation.Subject
	runs    int
}

func newRig(t *testing.T, account upstreammemory.Config) *rig {
	t.Helper()
	account.Clock, account.Random = time.Now, rand.Reader
	double, err := upstreammemory.New(account)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now}), account: double}
	r.subject = rotation.Subject{
		Secret: "db", Path: "app/db", Upstream: double,
		Policy: journal.Policy{RotationType: "time", TTL: 30 * day, RevokeOld: true, FailureStrategy: "retry"},
	}
	r.Engine = rotation.New(rotation.Config{
		Authority: r.store, Journal: journal.New(r.store), Record: auditmemory.New(time.Now), Now: time.Now,
		NewRun: func() authority.RunID { r.runs++; return authority.RunID(fmt.Sprintf("run-%d", r.runs)) },
	})
	return r
}

// finish advances until no run is live.
func (r *rig) finish(t *testing.T, s rotation.Subject) string {
	t.Helper()
	for range 100 {
		outlook, err := r.Advance(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if outlook.Ended != "" {
			return string(outlook.Ended)
		}
		time.Sleep(time.Until(outlook.Again))
	}
	t.Fatal("the run does not end")
	return ""
}

func TestPlanRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		account upstreammemory.Config
		change  func(*rig)
		want    error
	}{
		"a run is live": {change: func(r *rig) { _, _ = r.Plan(context.Background(), r.subject, journal.Trigger{}) }, want: rotation.ErrNotNow},
		"suspended":     {change: func(r *rig) { r.subject.Suspended = true }, want: rotation.ErrNotAllowed},
		"no upstream":   {change: func(r *rig) { r.subject.Upstream = nil }, want: rotation.ErrNotAllowed},
		"it interrupts": {account: upstreammemory.Config{Shape: upstreammemory.Overwrite}, change: func(*rig) {}, want: rotation.ErrNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			if c.account.Shape == "" {
				c.account.Shape = upstreammemory.Dual
			}
			r := newRig(t, c.account)
			c.change(r)
			before := r.runs
			if _, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "manual"}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if r.runs != before {
				t.Error("a run was opened")
			}
		})
	}
}

// vault #18738: rotating one of a pair made both new. Two secrets share nothing: rotating one leaves the other's
// versions, credentials and journal alone.
func TestTwoSecretsDoNotDisturbEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		second, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Alternate, Clock: time.Now, Random: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		other := r.subject
		other.Secret, other.Path, other.Upstream = "db-other", "app/db-other", second // its path begins like the first's
		for _, s := range []rotation.Subject{r.subject, other} {
			if _, err := r.Plan(t.Context(), s, journal.Trigger{Kind: "first", By: "policy", Reason: "never issued"}); err != nil {
				t.Fatal(err)
			}
			r.finish(t, s)
		}
		record, err := r.store.Get(t.Context(), "secret/app/db-other")
		if err != nil {
			t.Fatal(err)
		}
		before, err := r.store.Read(t.Context(), other.Path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "manual", By: "me", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		r.finish(t, r.subject)
		after, err := r.store.Read(t.Context(), other.Path)
		if err != nil || after.ID != before.ID || !after.Value.Equal(before.Value) || !second.Accepts(after.Value) {
			t.Errorf("the other secret went from %s to %s: %v", before.ID, after.ID, err)
		}
		if now, err := r.store.Get(t.Context(), "secret/app/db-other"); err != nil || now.Revision != record.Revision {
			t.Errorf("the other secret's journal was written: %v", err)
		}
		if first, err := r.store.Read(t.Context(), r.subject.Path); err != nil || first.ID.Number != 2 {
			t.Errorf("the first secret is at %s: %v", first.ID, err)
		}
	})
}

// An account that another platform claims is left alone until that claim is gone.
func TestForeignClaimWaitsForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, upstreammemory.Config{Shape: upstreammemory.Dual, EnforcesRun: true})
		r.account.SetForeign(true)
		if _, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "first", By: "policy", Reason: "never issued"}); err != nil {
			t.Fatal(err)
		}
		outlook, err := r.Advance(t.Context(), r.subject)
		if err != nil || outlook.Ended != "" || outlook.Waiting.None() {
			t.Errorf("got %+v, %v, want it to wait", outlook, err)
		}
		r.account.SetForeign(false)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("got %s after the claim was given up", got)
		}
	})
}

// slowJournal takes long to write.
type slowJournal struct {
	*journal.Journal
	by time.Duration
}

func (j *slowJournal) SaveHeld(ctx context.Context, held *journal.Held) error {
	err := j.Journal.SaveHeld(ctx, held)
	time.Sleep(j.by)
	return err
}

// lateUpstream notes whether a change was asked for after what the journal promised as its deadline.
type lateUpstream struct {
	*upstreammemory.Upstream
	store *authoritymemory.Store
	late  int
}

func (u *lateUpstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	entry, err := journal.New(u.store).Load(context.Background(), "app/db")
	deadline, bounded := ctx.Deadline()
	if err != nil || !bounded || deadline.After(entry.Live.CallBy.Add(time.Millisecond)) {
		u.late++
	}
	return secret.Value{}, fmt.Errorf("no: %w", upstream.ErrNotApplied)
}

// A call may not outlive the deadline that the journal holds for it, however long writing the journal took.
func TestCallEndsWhenTheJournalSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		late := &lateUpstream{Upstream: r.account, store: r.store}
		r.subject.Upstream = late
		r.Journal = &slowJournal{journal.New(r.store), 8 * time.Second}
		if _, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "first", By: "policy", Reason: "never issued"}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			outlook, err := r.Advance(t.Context(), r.subject)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(outlook.Again))
		}
		if late.late > 0 {
			t.Errorf("%d calls were given more time than the journal holds", late.late)
		}
	})
}

// An engine that remembers less of a run than the journal holds, because another one took it on, wrote the step back: once the
// other had cleaned up, the run waited for a person for ever.
func TestOvertakenEngineDoesNotTakeTheStepBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, Propagation: time.Minute})
		consumer := r.consumed("api")[0]
		consumer.IgnoreReloads(true) // until then the run waits for its proof
		if _, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "manual"}); err != nil {
			t.Fatal(err)
		}
		step := func() journal.Step {
			entry, err := journal.New(r.store).Load(t.Context(), r.subject.Path)
			if err != nil || entry.Live == nil {
				t.Fatalf("%+v, %v", entry, err)
			}
			return entry.Live.Step
		}
		if _, err := r.Advance(t.Context(), r.subject); err != nil || step() != journal.Staged { // and applied, which no write tells
			t.Fatalf("%s, %v", step(), err)
		}
		other := rotation.New(r.Config)
		for range 100 {
			if step() == journal.Promoted {
				break
			}
			time.Sleep(10 * time.Second)
			if _, err := other.Advance(t.Context(), r.subject); err != nil {
				t.Fatal(err)
			}
		}
		if step() != journal.Promoted {
			t.Fatalf("the other engine came to %s", step())
		}
		if _, err := r.Advance(t.Context(), r.subject); err != nil || step() != journal.Promoted {
			t.Errorf("the step is %s, %v, want promoted still", step(), err)
		}
		consumer.Restart()
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}
