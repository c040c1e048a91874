// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// The tests below play what undoes, behind the engine's back, what an upstream or a consumer had said.

// when lets something happen once, between two calls, as soon as a condition holds.
func (l live) when(holds func(*World, *Secret) bool, do func(*World, *Secret)) {
	l.counting = true
	l.events = append(l.events, Event{When: holds, Do: do, of: l.s})
}

// A fail-over loses the new credential once every consumer proved it: some known credential keeps working.
func TestUpstreamLosesTheNewCredentialAfterProof(t *testing.T) {
	within(t, dual(), func(l live) {
		l.when(recorded(journal.Delivered), func(_ *World, s *Secret) {
			_, v := s.Consumers[0].Running()
			s.Upstream.Lose(v)
		})
		l.request()
		l.pass(time.Hour)
		l.wantWaiting(reason.NewCredentialRefused)
		if !l.s.Upstream.Accepts(l.s.Bootstrap) {
			l.violate("working-credential", l.s, "the old credential is revoked while the upstream refuses the new one")
		}
		// That the value of record, and who runs on it, is refused is what the upstream did.
		l.forgive("record-is-honoured", "consumers-not-refused")
	})
}

// downAt has every process die right before a call of that name, for ten minutes from the first one on.
func (l live) downAt(name string) {
	l.counting = true
	var since time.Time
	l.World.plan = func(_ int, call string) Fault {
		switch {
		case call != name:
			return None
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > 10*time.Minute:
			return None
		}
		return CrashBefore
	}
}

// A fail-over loses the candidate once it was verified, and no process comes to promote it for long: it is taken back, and what
// consumers hold is honoured all the time.
func TestUpstreamLosesTheCandidateWhileTheProcessIsDown(t *testing.T) {
	within(t, dual(), func(l live) {
		l.downAt("write value")
		l.when(recorded(journal.Verified), func(w *World, s *Secret) { s.Upstream.Lose(w.held(s.Path).Pending.Candidate) })
		l.request()
		l.pass(time.Hour)
		l.wantEnded(journal.Undone, 1)
		l.wantEnded(journal.Completed, 1)
		l.Final()
	})
}

// The same once it was promoted: no consumer is given it.
func TestUpstreamLosesThePromotedValueWhileTheProcessIsDown(t *testing.T) {
	within(t, dual(), func(l live) {
		l.downAt("deliver")
		l.when(recorded(journal.Promoted), func(w *World, s *Secret) { s.Upstream.Lose(w.held(s.Path).Pending.Candidate) })
		l.request()
		l.pass(time.Hour)
		l.wantWaiting(reason.NewCredentialRefused)
		l.forgive("record-is-honoured") // what the upstream did
		mend(l.World, l.s)
		l.settle(time.Hour)
		l.Final()
	})
}

// A consumer falls back to the old version while the run settles.
func TestProofLostWhileSettling(t *testing.T) {
	within(t, dual(), func(l live) {
		old := authority.Versioned{Path: l.s.Path, Value: l.s.Bootstrap, ID: *l.entry(l.s.Path).Current}
		l.when(recorded(journal.Delivered), func(w *World, s *Secret) {
			w.At(5*time.Second, func() { fallBack(s, old) })
		})
		l.request()
		l.settle(time.Hour)
		l.Final()
	})
}

// fallBack has the first consumer's process run on a version that it had before, as one restored from a copy does.
func fallBack(s *Secret, old authority.Versioned) {
	ctx := context.Background()
	if err := s.Consumers[0].Withdraw(ctx, old); err != nil {
		panic("sim: withdrawing: " + err.Error())
	}
	if err := s.Consumers[0].Deliver(ctx, old); err != nil {
		panic("sim: delivering an earlier version: " + err.Error())
	}
}

// The old credential is honoured for at least the settle time after the last consumer moved, also where that was raised in the
// middle of the run.
func TestSettleTimeIsWaitedOut(t *testing.T) {
	for name, raised := range map[string]time.Duration{"as planned": 0, "raised in mid-run": time.Minute} {
		t.Run(name, func(t *testing.T) {
			within(t, dual(), func(l live) {
				settle := max(l.s.Policy.Settle, raised)
				var moved time.Time
				before := *l.entry(l.s.Path).Current
				l.latency = 100 * time.Millisecond
				l.watch = func() {
					if id, _ := l.s.Consumers[0].Running(); moved.IsZero() && id != before {
						moved = time.Now()
					}
					if !moved.IsZero() && !l.s.Upstream.Accepts(l.s.Bootstrap) && time.Since(moved) < settle-time.Second {
						l.violate("settle-time", l.s, "the old credential is refused %s after the last consumer moved, want %s", time.Since(moved), settle)
					}
				}
				if raised > 0 {
					l.when(recorded(journal.Delivered), func(w *World, s *Secret) { s.Policy.Settle = raised; w.changed() })
				}
				l.request()
				l.settle(time.Hour)
				l.Final()
			})
		})
	}
}

// The upstream acknowledges a revocation and loses it: the run revokes once more before it completes.
func TestUpstreamLosesARevocation(t *testing.T) {
	within(t, dual(), func(l live) {
		lost := false
		l.watch = func() {
			if !lost && !l.s.Upstream.Accepts(l.s.Bootstrap) {
				lost = l.s.Upstream.Seed(l.s.Bootstrap) == nil
			}
		}
		l.latency = 100 * time.Millisecond
		l.request()
		l.settle(time.Hour)
		if !lost {
			t.Error("no revocation was lost")
		}
		l.Final()
	})
}

// The upstream acknowledges that the old credential is applied again and loses that, to a server that has neither it nor the
// candidate: the run is not over before the value of record is honoured.
func TestUpstreamLosesAnUndo(t *testing.T) {
	within(t, overwriting(), func(l live) {
		l.latency = 100 * time.Millisecond
		unknown, err := secret.Text(map[string]string{
			upstreammemory.Username: l.s.Bootstrap.ExposeText(upstreammemory.Username), upstreammemory.Password: "of long ago",
		})
		if err != nil {
			t.Fatal(err)
		}
		var candidate bool
		l.when(recorded(journal.Applied), abort)
		lost := false
		l.watch = func() {
			switch run := l.entry(l.s.Path).Live; {
			case !l.s.Upstream.Accepts(l.s.Bootstrap):
				candidate = true
			case candidate && !lost && run != nil && run.Step == journal.Undoing:
				lost = l.s.Upstream.Seed(unknown) == nil
				l.At(10*time.Minute, func() { _ = l.s.Upstream.Seed(l.s.Bootstrap) }) // a person sets it there
			}
		}
		l.request()
		l.settle(time.Hour)
		if !lost {
			t.Error("no undo was lost")
		}
		l.Final()
	})
}

// The upstream acknowledges that the candidate is taken back and loses that: it is taken back once more before the run is over.
func TestUpstreamLosesTheRemovalOfACandidate(t *testing.T) {
	within(t, dual(), func(l live) {
		l.latency = 100 * time.Millisecond
		l.when(recorded(journal.Applied), abort)
		lost := false
		var candidate secret.Value
		l.watch = func() {
			run := l.entry(l.s.Path).Live
			if run == nil {
				return
			}
			if values := l.held(l.s.Path).Pending; values != nil {
				candidate = values.Candidate
			}
			if !lost && run.Step == journal.Undoing && !candidate.Empty() && !l.s.Upstream.Accepts(candidate) {
				lost = l.s.Upstream.Seed(candidate) == nil
			}
		}
		l.request()
		l.settle(time.Hour)
		if !lost {
			t.Error("no removal was lost")
		}
		l.wantEnded(journal.Undone, 1)
		l.Final()
	})
}

// A policy that changed between runs is the one that the journal enforces.
func TestDeclaredPolicyIsEnforced(t *testing.T) {
	within(t, dual(), func(l live) {
		l.s.Policy.TTL = 60 * day
		l.pass(time.Hour)
		if got := l.entry(l.s.Path).Policy; got == nil || got.TTL != 60*day {
			l.violate("declared-policy-is-enforced", l.s, "the journal enforces %+v", got)
		}
	})
}

// forgive drops violations of invariants that what a test did upstream breaks by itself.
func (l live) forgive(names ...string) {
	var left []invariant.Violation
	for _, violation := range l.Violations {
		forgiven := false
		for _, name := range names {
			forgiven = forgiven || violation.Invariant == name
		}
		if !forgiven {
			left = append(left, violation)
		}
	}
	l.World.Violations = left
}

func overwriting() Declaration {
	one := declare(upstreammemory.Overwrite, true, upstreammemory.Config{})
	one.Reloads = one.Reloads[:1]
	return one
}
