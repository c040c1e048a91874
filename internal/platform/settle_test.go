// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"crypto/rand"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// settling is a platform of one secret, which has no value yet; with a settle time it has one, and is to have another.
func settling(t *testing.T, u upstreammemory.Config, consumer materializememory.Config, settle time.Duration) *Platform {
	t.Helper()
	u.Shape, u.Clock, u.Random = upstreammemory.Dual, time.Now, rand.Reader
	consumer.Name, consumer.Clock = "app", time.Now
	account, err := upstreammemory.New(u)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	store, log := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now}), auditmemory.New(time.Now)
	entries, runs := journal.New(store), 0
	newRun := func() authority.RunID { runs++; return authority.RunID(fmt.Sprintf("run-%d", runs)) }
	conductor := orchestrator.New(orchestrator.Config{
		Journal: entries, Values: store, Record: log, Now: time.Now, NewRun: newRun, Queue: trigger.New(store, log, time.Now),
		Clock:    trigger.NewClock(store, time.Now, func() time.Duration { return time.Since(began) }),
		Rotation: rotation.New(rotation.Config{Authority: store, Journal: entries, Record: log, Now: time.Now, NewRun: newRun}),
	})
	conductor.Use([]orchestrator.Secret{{First: true, Subject: rotation.Subject{
		Secret: "token", Path: "app/token", Upstream: account,
		Consumers: []rotation.Consumer{{Consumer: materializememory.New(consumer), Needs: materialize.Rolled}},
		Policy:    journal.Policy{Name: "short", RotationType: "static", RevokeOld: true, Settle: settle, FailureStrategy: "retry"},
	}}})
	p := New(Config{Journal: entries, Orchestrator: conductor, Now: time.Now})
	if settle > 0 {
		settled(t, p, time.Hour)
		request := trigger.Request{ID: "again", Path: "app/token", Secret: "token", Kind: trigger.Manual, By: "me", Reason: "leaked"}
		if _, err := trigger.New(store, log, time.Now).Submit(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// settled returns how long Settle took, which is done after end, and what is then waited for.
func settled(t *testing.T, p *Platform, end time.Duration) (took time.Duration, waits reason.Reason) {
	t.Helper()
	began := time.Now()
	if err := p.Settle(t.Context(), func() bool { return time.Since(began) >= end }); err != nil {
		t.Fatal(err)
	}
	return time.Since(began), p.Orchestrator.States()["app/token"].Waiting
}

func TestSettleEnds(t *testing.T) {
	for name, c := range map[string]struct {
		upstream upstreammemory.Config
		consumer materializememory.Config
		settle   time.Duration
		// The bounds of what it takes, and why it waits in the end, none if it does not.
		least, most time.Duration
		waits       []reason.Code
	}{
		"at once":             {most: time.Second},
		"proof in seconds":    {consumer: materializememory.Config{ReloadDelay: 4 * time.Second}, least: 4 * time.Second, most: 8 * time.Second},
		"no proof":            {consumer: materializememory.Config{IgnoresReload: true}, most: patience, waits: []reason.Code{reason.ProofMissing}},
		"proof in minutes":    {consumer: materializememory.Config{ReloadDelay: 5 * time.Minute}, most: patience, waits: []reason.Code{reason.ProofMissing}},
		"settles":             {settle: 90 * time.Second, least: 90 * time.Second, most: 95 * time.Second},
		"one after the other": {upstream: upstreammemory.Config{Propagation: 80 * time.Second}, settle: 100 * time.Second, least: 180 * time.Second, most: 300 * time.Second},
		"settles late":        {settle: time.Hour, most: time.Second, waits: []reason.Code{reason.SettleTime}},
		"nobody knows":        {upstream: upstreammemory.Config{Propagation: time.Second, LockoutAfter: 1, LockoutFor: 24 * time.Hour, VagueWhilePropagating: true}, most: 5 * time.Minute, waits: []reason.Code{reason.CandidateUndecided, reason.CandidateEffectUnknown, reason.DecoyUndecided, reason.CandidateNotApplied}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, waits := settled(t, settling(t, c.upstream, c.consumer, c.settle), 24*time.Hour)
				if took < c.least || took > c.most {
					t.Errorf("ended after %s, want %s to %s", took, c.least, c.most)
				}
				if waits.None() != (len(c.waits) == 0) || !waits.None() && !waits.Is(c.waits...) {
					t.Errorf("waits because of %+v, want %s", waits, c.waits)
				}
			})
		})
	}
}

// A signal ends it in the middle of a wait.
func TestNudgedSettleAsksWhetherItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := settling(t, upstreammemory.Config{}, materializememory.Config{}, 90*time.Second)
		time.AfterFunc(30*time.Second, p.Nudge)
		if took, waits := settled(t, p, 30*time.Second); took != 30*time.Second || waits.None() {
			t.Errorf("ended after %s, waiting because of %+v", took, waits)
		}
	})
}

// `serve --once` on an estate where all is steady stayed for seconds, for the regular look that one secret in sixty is near to.
func TestSettleDoesNotWaitForARegularLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := settling(t, upstreammemory.Config{}, materializememory.Config{}, 0)
		for range 120 { // ten minutes, in which each secret has its look
			if took, waits := settled(t, p, time.Hour); took > time.Second || !waits.None() {
				t.Fatalf("ended after %s, waiting because of %+v", took, waits)
			}
			time.Sleep(5 * time.Second)
		}
	})
}
