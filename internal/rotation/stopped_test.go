// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// stopAt has the process stop as its run comes to a step. The function that it returns has the run go on, in the same process or
// in another.
func (r *rig) stopAt(at journal.Step) (goOn func(restarted bool)) {
	reached := false
	r.Observe = func(_ string, _ authority.RunID, step journal.Step, _ bool) { reached = reached || step == at }
	r.Stopping = func() bool { return reached }
	return func(restarted bool) {
		r.Observe, r.Stopping = nil, nil
		if restarted {
			r.restart()
		}
	}
}

// stopped is a rig whose run stands still as it comes to a step, because its process is told to stop.
func stopped(t *testing.T, at journal.Step, account upstreammemory.Config, prepare func(*rig)) (r *rig, u *spy, goOn func(restarted bool)) {
	t.Helper()
	r, u = spied(t, account)
	if prepare != nil {
		prepare(r)
	}
	goOn = r.stopAt(at)
	r.plan(t)
	r.wait(t, reason.CustodyStopping)
	return r, u, goOn
}

// candidate is what the live run is to promote.
func (r *rig) candidate(t *testing.T) secret.Value {
	t.Helper()
	v, err := r.Candidate(t.Context(), r.subject.Path)
	if err != nil || v.Empty() {
		t.Fatalf("the run has no candidate: %v", err)
	}
	return v
}

// ofRecord wants version number to be of record, and it alone to be honoured.
func (r *rig) ofRecord(t *testing.T, number authority.Version) {
	t.Helper()
	honoured := 0
	for _, n := range r.account.Credentials() {
		honoured += n
	}
	if held := r.value(t); held.ID.Number != number || !r.account.Accepts(held.Value) || honoured != 1 {
		t.Errorf("version %d is of record, want %d; it is honoured: %v; %d credentials are honoured", held.ID.Number, number, r.account.Accepts(held.Value), honoured)
	}
}

// While a run stood still between verified and promoted, for hours, a fail-over lost its candidate: that was promoted all the same,
// and consumers were given what is refused.
func TestCandidateLostBeforePromotionIsTakenBack(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued} {
		for _, restarted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r, _, goOn := stopped(t, journal.Verified, upstreammemory.Config{Shape: shape}, nil)
				r.account.Lose(r.candidate(t))
				goOn(restarted)
				time.Sleep(3 * time.Hour)
				if got := r.finish(t, r.subject); got != "undone" {
					t.Errorf("%s, restarted %v: the run is %s", shape, restarted, got)
				}
				r.ofRecord(t, 1)
				r.plan(t)
				if got := r.finish(t, r.subject); got != "completed" {
					t.Errorf("%s: the next run is %s", shape, got)
				}
				r.ofRecord(t, 2)
			})
		}
	}
}

// Nothing is promoted while the upstream does not say whether it still accepts the candidate. It does later, and the run goes on.
func TestUnknownCandidateIsNotPromoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u, goOn := stopped(t, journal.Verified, upstreammemory.Config{Shape: upstreammemory.Dual}, nil)
		u.verify = func(secret.Value) (upstream.Verdict, error) { return upstream.Unknown, errors.New("starting") }
		goOn(true)
		time.Sleep(3 * time.Hour)
		r.wait(t, reason.CandidateUndecided, "starting")
		r.ofPath(t, 1)
		u.verify = nil
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
		r.ofRecord(t, 2)
	})
}

func (r *rig) ofPath(t *testing.T, number authority.Version) {
	t.Helper()
	if held := r.value(t); held.ID.Number != number {
		t.Errorf("version %d is of record, want %d", held.ID.Number, number)
	}
}

// A process that is back within a minute asks for nothing once more: where sign-ins are spaced out, consumers of an overwritten
// account would be refused for as long.
func TestShortStopAsksForNothingMore(t *testing.T) {
	for name, c := range map[string]struct {
		down time.Duration
		asks int
	}{"ten seconds": {10 * time.Second, 0}, "ten minutes": {10 * time.Minute, 1}, "the clock was set back": {-time.Hour, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u, goOn := stopped(t, journal.Verified, upstreammemory.Config{Shape: upstreammemory.Overwrite}, nil)
				asks := 0
				candidate := r.candidate(t)
				u.verify = func(v secret.Value) (upstream.Verdict, error) {
					if r.value(t).ID.Number == 1 && v.Equal(candidate) {
						asks++
					}
					return "", nil
				}
				goOn(true)
				if c.down < 0 {
					r.Config.Now = func() time.Time { return time.Now().Add(c.down) }
					r.restart()
				}
				time.Sleep(max(c.down, 0))
				if got := r.finish(t, r.subject); got != "completed" || asks != c.asks {
					t.Errorf("the run is %s; the candidate was asked for %d times before it was promoted, want %d", got, asks, c.asks)
				}
			})
		})
	}
}

// What cannot be taken back alone waits for a person, and takes another value, again and again.
func TestLostCandidateThatCannotBeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, goOn := stopped(t, journal.Verified, upstreammemory.Config{Shape: upstreammemory.Rotated}, nil)
		r.account.Lose(r.candidate(t))
		goOn(true)
		time.Sleep(3 * time.Hour)
		r.wait(t, reason.CandidateLost, "db")
		r.ofPath(t, 1)
		first := r.hand(t)
		if _, err := r.supply(t, first); err != nil {
			t.Fatal(err)
		}
		r.account.Lose(first) // again before anybody looks
		r.restart()
		time.Sleep(3 * time.Hour)
		r.wait(t, reason.CandidateLost, "db")
		second := r.hand(t)
		if _, err := r.supply(t, second); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" || !r.value(t).Value.Equal(second) {
			t.Errorf("the run is %s", got)
		}
		r.ofRecord(t, 2)
	})
}

// A member of a group that went forward is not taken back alone.
func TestLostCandidateOfAGroupHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alone := func(r *rig) {
			r.subject.Group = &rotation.Group{Name: "pair", Leader: r.subject.Path, Members: []rotation.Member{{Secret: "db", Path: r.subject.Path, Upstream: r.account}}}
		}
		r, _, goOn := stopped(t, journal.Verified, upstreammemory.Config{Shape: upstreammemory.Dual}, alone)
		candidate := r.candidate(t)
		r.account.Lose(candidate)
		goOn(true)
		time.Sleep(3 * time.Hour)
		r.wait(t, reason.CandidateLost, "db")
		r.ofPath(t, 1)
		if err := r.account.Seed(candidate); err != nil { // set there again
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
		r.ofRecord(t, 2)
	})
}

// The same, while the run stood still between promoted and delivered: consumers keep what works.
func TestPromotedValueLostBeforeDelivery(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Issued} {
		synctest.Test(t, func(t *testing.T) {
			r, _, goOn := stopped(t, journal.Promoted, upstreammemory.Config{Shape: shape}, func(r *rig) {
				consumer := r.consumed("api")[0]
				if err := consumer.Deliver(t.Context(), r.value(t)); err != nil {
					t.Fatal(err)
				}
			})
			promoted := r.value(t)
			r.account.Lose(promoted.Value)
			goOn(true)
			time.Sleep(3 * time.Hour)
			r.wait(t, reason.NewCredentialRefused, "db")
			proof, err := r.subject.Consumers[0].Prove(t.Context(), promoted)
			if err != nil || proof.Version.Number != 1 || proof.Level < materialize.Delivered {
				t.Errorf("%s: the consumer has %s, %v, want it to keep version 1", shape, proof.Version, err)
			}
			if err := r.account.Seed(promoted.Value); err != nil {
				t.Fatal(err)
			}
			if got := r.finish(t, r.subject); got != "completed" {
				t.Errorf("the run is %s", got)
			}
			r.ofRecord(t, 2)
		})
	}
}

// While a run waited for weeks for a proof, or settled, nobody signed in with what it had promoted. It is tried as often as verifyEvery
// says, and one that is refused is told.
func TestRunThatWaitsLongTriesWhatItPromoted(t *testing.T) {
	for name, waits := range map[string]func(*rig){
		"for a proof":    func(r *rig) { r.consumed("api")[0].IgnoreReloads(true) },
		"while settling": func(r *rig) { r.subject.Policy.Settle = 30 * day },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
				r.subject.Policy.VerifyEvery = day
				waits(r)
				r.plan(t)
				r.pass(t, time.Hour)
				asked, silent := 0, false
				promoted := r.value(t).Value
				u.verify = func(v secret.Value) (upstream.Verdict, error) {
					if v.Equal(promoted) {
						asked++
					}
					if silent {
						return upstream.Unknown, errors.New("starting")
					}
					return "", nil
				}
				r.pass(t, 3*day)
				if asked < 2 || asked > 6 { // each comes within the later half of a day
					t.Errorf("it was tried %d times in three days", asked)
				}
				silent = true // which holds nothing, and is no news
				for range 24 {
					r.pass(t, time.Hour)
					if waiting := r.advance(t).Waiting; waiting.Is(reason.NewCredentialUndecided, reason.NewCredentialRefused) {
						t.Fatalf("it waits because of %s", waiting.Text())
					}
				}
				silent = false
				r.account.Lose(promoted)
				r.pass(t, day)
				r.wait(t, reason.NewCredentialRefused, "db")
				if u.revoked != 0 {
					t.Errorf("%d calls to revoke", u.revoked)
				}
			})
		})
	}
}

// A member whose old credential ends with the new one took part, after a stale read, in a run of its group that was over. It waited for
// the others for ever, and with it every later run of the group.
func TestMemberOfAGroupThatIsOverIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite})
		r.subject.AllowInterruption = true
		const leader authority.Path = "app/leader"
		err := r.Journal.Save(t.Context(), &journal.Entry{
			Secret: "leader", Path: leader, Last: &journal.Outcome{Run: "later", Workflow: journal.Rotation, Result: journal.ResultCompleted, Group: "later"},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.plan(t)
		entry := r.entry(t)
		entry.Live.Group, entry.Live.Leader, entry.Live.Members = "earlier", leader, []authority.Path{leader, r.subject.Path}
		if err := r.Journal.Save(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "undone" || r.value(t).ID.Number != 1 {
			t.Errorf("the run is %s, and the value of record %s; want it taken back", got, r.value(t).ID)
		}
	})
}
