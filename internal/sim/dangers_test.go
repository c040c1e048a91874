// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// The tests below play one danger each, without faults, over as much virtual time as it takes.

// live is a world with one secret that was just issued.
type live struct {
	*World
	t *testing.T
	s *Secret
}

// within runs a test in a bubble, over a world with one secret as declared, and wants every invariant to hold.
func within(t *testing.T, declared Declaration, test func(live)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := New(1)
		w.reconcile = 10 * time.Minute
		s, err := w.Declare(declared)
		if err != nil {
			t.Fatal(err)
		}
		if w.drive(time.Now().Add(time.Hour), w.Settled); !w.Settled() && !declared.Account.TrustsAll {
			t.Fatal("the secret was not issued")
		}
		test(live{w, t, s})
		for _, violation := range w.Violations {
			t.Error(violation)
		}
		all.add(0, 1, w.Checks, len(w.Violations))
	})
}

func (l live) request() {
	l.t.Helper()
	if err := l.Request(l.s); err != nil {
		l.t.Fatal(err)
	}
}

// pass drives for d.
func (l live) pass(d time.Duration) {
	l.drive(time.Now().Add(d), func() bool { return false })
}

// settle drives until nothing is going on, for d at most.
func (l live) settle(d time.Duration) {
	l.t.Helper()
	if l.drive(time.Now().Add(d), l.Settled); !l.Settled() {
		l.t.Fatalf("not settled within %s: %s", d, l.waiting(l.s.Path).Text())
	}
}

func (l live) wantWaiting(code reason.Code) {
	l.t.Helper()
	if got := l.waiting(l.s.Path); !got.Is(code) {
		l.t.Errorf("the secret waits because of %+v, want %s", got, code)
	}
}

func (l live) wantEnded(step journal.Step, want int) {
	l.t.Helper()
	if got := l.ended(step); got != want {
		l.t.Errorf("%d runs reached %s, want %d", got, step, want)
	}
}

func dual() Declaration {
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Reloads = one.Reloads[:1]
	return one
}

// vault PR 28989: a password that the upstream refuses was retried for ever.
func TestRefusedCandidateIsNotRetriedForEver(t *testing.T) {
	declared := dual()
	declared.RefuseFirst = 5
	within(t, declared, func(l live) {
		l.request()
		l.pass(30 * day)
		l.wantEnded(journal.Undone, 5)
		l.wantWaiting(reason.RetryHeld)
		if entry := l.entry(l.s.Path); entry.Retry == nil || !entry.Retry.Held {
			t.Errorf("got retry %+v, want it held", entry.Retry)
		}
		l.request()
		l.settle(time.Hour)
		l.wantEnded(journal.Completed, 1)
		l.Final()
	})
}

func TestRefusedCandidateBacksOff(t *testing.T) {
	declared := dual()
	declared.RefuseFirst = 3
	within(t, declared, func(l live) {
		began := time.Now()
		l.request()
		l.settle(time.Hour)
		if took := time.Since(began); took < 7*time.Minute || took > 9*time.Minute {
			t.Errorf("three refusals were retried within %s, want 1 + 2 + 4 minutes", took)
		}
		l.Final()
	})
}

func TestIgnoredReloadHoldsRevocationUntilForced(t *testing.T) {
	declared := dual()
	declared.Policy.TTL = 90 * day // no further run while this one waits
	within(t, declared, func(l live) {
		consumer := l.s.Consumers[0]
		consumer.IgnoreReloads(true)
		l.request()
		l.pass(30 * day)
		l.wantWaiting(reason.OverlapExceeded)
		if !l.s.Upstream.Accepts(l.s.Bootstrap) {
			t.Error("the old credential was revoked while a consumer runs on it")
			return
		}
		force(l.World, l.s)
		l.pass(time.Hour)
		l.wantEnded(journal.Completed, 1)
		if l.s.Upstream.Accepts(l.s.Bootstrap) {
			t.Error("the old credential is honoured after a person forced the run")
		}
	})
}

func TestUpstreamDownForAnHour(t *testing.T) {
	for _, at := range []journal.Step{journal.Planned, journal.Staged, journal.Applied, journal.Promoted, journal.Delivered} {
		t.Run(string(at), func(t *testing.T) {
			within(t, dual(), func(l live) {
				l.counting = true
				l.events = []Event{{of: l.s, When: recorded(at), Do: func(w *World, s *Secret) {
					s.Upstream.SetDown(true)
					w.At(time.Hour, func() { s.Upstream.SetDown(false) })
				}}}
				began := time.Now()
				l.request()
				l.settle(3 * time.Hour)
				if took := time.Since(began); took < time.Hour {
					t.Errorf("settled after %s, though the upstream was down for an hour", took)
				}
				if undone := l.ended(journal.Undone); undone > 0 {
					l.violate("silence-is-no-refusal", l.s, "%d runs were taken back while the upstream was down", undone)
				}
				l.Final()
			})
		})
	}
}

func TestUpstreamThatTrustsEverythingIsNeverTakenOn(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite} {
		t.Run(string(shape), func(t *testing.T) {
			within(t, declare(shape, true, upstreammemory.Config{TrustsAll: true}), func(l live) {
				before := fmt.Sprint(l.s.Upstream.Credentials())
				l.request()
				l.pass(30 * day)
				l.wantWaiting(reason.DecoyAccepted)
				l.wantEnded(journal.Staged, 0)
				if after := fmt.Sprint(l.s.Upstream.Credentials()); after != before {
					t.Errorf("credentials changed from %s to %s", before, after)
				}
				if l.entry(l.s.Path).Onboarded {
					t.Error("the upstream was taken on")
				}
			})
		})
	}
}

func TestClockJumpHoldsTimedRuns(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": day, "backward": -day} {
		t.Run(name, func(t *testing.T) {
			within(t, dual(), func(l live) {
				before := 28*day + 12*time.Hour // twelve hours before the run is due
				l.At(before, func() { l.skew = jump })
				l.pass(before + 3*day)
				l.wantEnded(journal.Planned, 1) // the handover's
				l.wantWaiting(reason.ClockJumped)
				l.request()
				l.settle(time.Hour)
				l.wantEnded(journal.Completed, 1)
				l.pass(35 * day)
				l.wantEnded(journal.Completed, 1)
				if err := l.once(func(ctx context.Context) error { return l.clock().Confirm(ctx) }); err != nil {
					t.Fatal(err)
				}
				l.pass(time.Hour)
				l.wantEnded(journal.Completed, 2)
			})
		})
	}
}

// What an upstream tells of uses is compared with a clock that jumped: an old credential that is in use looked as if it were not.
func TestClockJumpKeepsAUsedCredential(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": day, "backward": -day} {
		t.Run(name, func(t *testing.T) {
			declared := dual()
			declared.Account.Witnesses = true
			declared.Policy.QuietWindow = 10 * time.Minute
			within(t, declared, func(l live) {
				uses := true
				l.latency = 100 * time.Millisecond
				l.watch = func() {
					if uses && !l.s.Upstream.SignIn("stranger", l.s.Bootstrap) {
						l.violate("used-credential-is-kept", l.s, "a stranger who uses the old credential is refused")
					}
				}
				l.when(recorded(journal.Delivered), func(w *World, _ *Secret) { w.At(5*time.Minute, func() { w.skew = jump }) })
				l.request()
				l.pass(time.Hour)
				if jump > 0 { // set back, it is a day to the end of the quiet window
					l.wantWaiting(reason.OldUsesUndated)
				}
				l.skew = 0
				if err := l.once(func(ctx context.Context) error { return l.clock().Confirm(ctx) }); err != nil {
					t.Fatal(err)
				}
				l.pass(time.Hour)
				l.wantWaiting(reason.OldInUse)
				uses = false
				l.pass(time.Hour)
				l.wantEnded(journal.Completed, 1)
				l.Final()
			})
		})
	}
}

func TestRequestsDuringARunBecomeOneFurtherRun(t *testing.T) {
	within(t, dual(), func(l live) {
		l.counting = true
		l.events = []Event{{of: l.s, When: liveAt(journal.Staged), Do: func(*World, *Secret) { l.request(); l.request() }}}
		l.request()
		l.settle(time.Hour)
		l.wantEnded(journal.Completed, 2)
		for range 3 { // replays of all three
			for id := range l.acknowledged {
				if err := l.submit(l.s, id); err != nil {
					t.Fatal(err)
				}
			}
			l.pass(time.Hour)
		}
		l.wantEnded(journal.Completed, 2)
		l.Final()
	})
}

func TestAbortAfterVerifyIsRefused(t *testing.T) {
	within(t, dual(), func(l live) {
		l.counting = true
		l.events = []Event{{of: l.s, When: liveAt(journal.Verified), Do: abort}}
		l.request()
		l.settle(time.Hour)
		if len(l.notes) != 1 || l.notes[0] != "not allowed" {
			t.Errorf("got answers %v, want one refusal", l.notes)
		}
		l.wantEnded(journal.Completed, 1)
		l.Final()
	})
}

func TestLostValueIsReportedAndNeverMadeUp(t *testing.T) {
	within(t, dual(), func(l live) {
		loseValue(l.World, l.s)
		l.pass(60 * day)
		l.wantWaiting(reason.ValueGone)
		stillLost(l.World, l.s)
	})
}

func TestPropagationIsNoRefusal(t *testing.T) {
	declared := dual()
	declared.Account = upstreammemory.Config{Propagation: 20 * time.Second}
	within(t, declared, func(l live) {
		l.request()
		l.pass(time.Hour)
		l.wantEnded(journal.Undone, 0)
		l.Final()
	})
}

// TestOverwriteGap measures how long a consumer of an overwriting upstream is refused: from apply to its reload.
func TestOverwriteGap(t *testing.T) {
	const latency = 50 * time.Millisecond
	for _, reload := range []time.Duration{0, time.Second, 5 * time.Second} {
		declared := declare(upstreammemory.Overwrite, true, upstreammemory.Config{})
		declared.Reloads = []time.Duration{reload}
		within(t, declared, func(l live) {
			l.latency = latency
			var gap, longest time.Duration
			seen := time.Now()
			l.watch = func() {
				if _, v := l.s.Consumers[0].Running(); verdict(l.s.Upstream, v) == upstream.Refused {
					gap += time.Since(seen)
				} else {
					gap = 0
				}
				seen, longest = time.Now(), max(longest, gap)
			}
			l.request()
			l.settle(time.Hour)
			calls := int((longest - reload) / latency)
			fmt.Printf("sim: overwrite gap: refused for %s, with a reload of %s and %s a call: %d calls\n", longest, reload, latency, calls)
			if longest < reload || calls > 12 {
				t.Errorf("a consumer was refused for %s, want its reload of %s and 12 calls at most", longest, reload)
			}
		})
	}
}

// What an upstream issued is kept by a write to the authority, which may land after all when its process is gone and
// what it keeps was collected: over the credential that was issued next.
func TestIssuedCredentialThatIsKeptLate(t *testing.T) {
	declared := declare(upstreammemory.Issued, true, upstreammemory.Config{})
	declared.Reloads = declared.Reloads[:1]
	within(t, declared, func(l live) {
		applied, kept := 0, 0
		l.counting = true
		l.plan = func(_ int, name string) Fault {
			switch {
			case name == "apply":
				if applied++; applied == 2 {
					return CrashAfter
				}
			case name == "put record" && applied == 1 && kept == 0:
				kept++
				return LateCrash
			}
			return None
		}
		l.request()
		l.settle(time.Hour)
		if applied != 3 {
			t.Errorf("%d credentials were issued, want 3: one before each fault and the one that is kept", applied)
		}
		l.wantEnded(journal.Undone, 0) // the late write lost, and the run went on
		l.wantEnded(journal.Completed, 1)
		l.Final()
	})
}

// What a lost reply left may be collected, and come back: the server that collected it fails over. A run that is taken back
// collects once more, or a credential that nobody keeps would be honoured for ever.
func TestCollectedCredentialComesBack(t *testing.T) {
	declared := declare(upstreammemory.Issued, true, upstreammemory.Config{})
	declared.Reloads = declared.Reloads[:1]
	within(t, declared, func(l live) {
		applied, collected := 0, 0
		l.counting = true
		l.plan = func(_ int, name string) Fault {
			switch name {
			case "apply":
				if applied++; applied == 1 {
					return LostReply
				}
			case "collect":
				if collected++; collected == 1 {
					return LostAtOnce
				}
			}
			return None
		}
		l.events = append(l.events, Event{When: recorded(journal.Applied), Do: abort, of: l.s})
		l.request()
		l.settle(time.Hour)
		if applied != 2 || collected != 2 {
			t.Errorf("%d credentials were issued and it was collected %d times, want 2 and 2", applied, collected)
		}
		l.wantEnded(journal.Undone, 1)
		l.Final()
	})
}

// A member whose old credential ends when the new one is made waits for the others' candidates: its consumers are not
// refused for as long as somebody else's upstream is down.
func TestOverwritingMemberGoesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(1)
		first, err := w.Declare(dual())
		if err != nil {
			t.Fatal(err)
		}
		overwriting := declare(upstreammemory.Overwrite, true, upstreammemory.Config{})
		overwriting.Name, overwriting.Reloads = "second", overwriting.Reloads[:1]
		members, err := w.group(first, []Declaration{overwriting})
		if err != nil {
			t.Fatal(err)
		}
		l := live{w, t, first}
		l.settle(time.Hour)
		first.Upstream.SetDown(true)
		l.request()
		l.pass(time.Hour)
		if !members[1].Upstream.Accepts(members[1].Bootstrap) {
			l.violate("interrupting-goes-last", members[1], "the second secret's credential was replaced while the first one's upstream is down")
		}
		first.Upstream.SetDown(false)
		l.settle(time.Hour)
		l.wantEnded(journal.Completed, 2)
		l.Final()
		for _, violation := range w.Violations {
			t.Error(violation)
		}
		all.add(0, 1, w.Checks, len(w.Violations))
	})
}
