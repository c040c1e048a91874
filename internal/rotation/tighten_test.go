// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

func TestTighten(t *testing.T) {
	pinned := journal.Policy{Settle: time.Minute, QuietWindow: time.Minute, MaxOverlap: time.Hour, FailureStrategy: "alert", RevokeOld: true, TTL: day}
	for name, c := range map[string]struct {
		change  func(pinned, declared *journal.Policy)
		want    func(*journal.Policy)
		changes int
	}{
		"nothing":               {func(_, _ *journal.Policy) {}, func(*journal.Policy) {}, 0},
		"settle longer":         {func(_, d *journal.Policy) { d.Settle = time.Hour }, func(p *journal.Policy) { p.Settle = time.Hour }, 1},
		"settle shorter":        {func(_, d *journal.Policy) { d.Settle = 0 }, func(*journal.Policy) {}, 0},
		"quiet longer":          {func(_, d *journal.Policy) { d.QuietWindow = time.Hour }, func(p *journal.Policy) { p.QuietWindow = time.Hour }, 1},
		"quiet shorter":         {func(_, d *journal.Policy) { d.QuietWindow = time.Second }, func(*journal.Policy) {}, 0},
		"overlap shorter":       {func(_, d *journal.Policy) { d.MaxOverlap = time.Minute }, func(p *journal.Policy) { p.MaxOverlap = time.Minute }, 1},
		"overlap longer":        {func(_, d *journal.Policy) { d.MaxOverlap = day }, func(*journal.Policy) {}, 0},
		"overlap without end":   {func(_, d *journal.Policy) { d.MaxOverlap = 0 }, func(*journal.Policy) {}, 0},
		"overlap with an end":   {func(p, d *journal.Policy) { p.MaxOverlap, d.MaxOverlap = 0, day }, func(p *journal.Policy) { p.MaxOverlap = day }, 1},
		"strategy hold":         {func(_, d *journal.Policy) { d.FailureStrategy = "hold" }, func(p *journal.Policy) { p.FailureStrategy = "hold" }, 1},
		"strategy retry":        {func(_, d *journal.Policy) { d.FailureStrategy = "retry" }, func(*journal.Policy) {}, 0},
		"old no longer revoked": {func(_, d *journal.Policy) { d.RevokeOld = false }, func(*journal.Policy) {}, 0},
		"old revoked":           {func(p, _ *journal.Policy) { p.RevokeOld = false }, func(p *journal.Policy) { p.RevokeOld = true }, 1},
		"lifetime":              {func(_, d *journal.Policy) { d.TTL, d.RotationType = time.Hour, "event" }, func(*journal.Policy) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, d := pinned, pinned
			c.change(&p, &d)
			want := p
			c.want(&want)
			got, changes := rotation.Tighten(p, d)
			if diff := cmp.Diff(want, got); diff != "" || len(changes) != c.changes {
				t.Errorf("changes %q (-want +got):\n%s", changes, diff)
			}
		})
	}
}

// The settle time was raised while a run waited it out, and lowered again: the run waits out the longer one.
func TestPolicyTightenedInMidRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.subject.Policy.Settle = 10 * time.Minute
		r.plan(t)
		r.wait(t, reason.SettleTime)
		r.subject.Policy.Settle = time.Hour
		time.Sleep(9 * time.Minute)
		r.advance(t)
		r.restart()
		r.subject.Policy.Settle = time.Minute
		time.Sleep(30 * time.Minute)
		r.advance(t)
		time.Sleep(30 * time.Minute)
		r.advance(t)
		if u.revoked != 0 || r.entry(t).Live.Policy.Settle != time.Hour {
			t.Errorf("%d calls to revoke, settle time %s", u.revoked, r.entry(t).Live.Policy.Settle)
		}
		time.Sleep(time.Hour)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}
