// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var planned = journal.Trigger{Kind: "manual", By: "me", Reason: "test"}

// static is a secret that nothing can rotate, with a first value.
func static(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, upstreammemory.Config{Shape: upstreammemory.Dual})
	r.subject.Upstream = nil
	if _, err := r.store.Write(t.Context(), r.subject.Path, 0, "run-0", token(t, "first")); err != nil {
		t.Fatal(err)
	}
	return r
}

func token(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"token": text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (r *rig) supply(t *testing.T, v secret.Value) (authority.RunID, error) {
	t.Helper()
	return r.Supply(t.Context(), r.subject, "me", "it expires", v)
}

// A secret that nothing can rotate takes a new value from a person, by an ordinary run. The old version stays.
func TestSupplyOfAStaticSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := static(t)
		other, err := secret.Text(map[string]string{"password": "second"})
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]secret.Value{"the value that it has": token(t, "first"), "without a field of the value": other} {
			if _, err := r.supply(t, v); !errors.Is(err, rotation.ErrNotAllowed) || r.entry(t).Live != nil {
				t.Errorf("%s: got %v and run %+v, want ErrNotAllowed and none", name, err, r.entry(t).Live)
			}
		}
		r.Journal = &failing{Journal: r.Journal, writes: 1}
		if _, err := r.supply(t, token(t, "second")); err == nil {
			t.Error("got no error though the value was not kept")
		}
		id := r.entry(t).Live.ID // begun, and without a value
		r.wait(t, reason.ValueToBeSupplied)
		got, err := r.supply(t, token(t, "second"))
		if err != nil || got != id {
			t.Fatalf("got run %s, %v, want %s", got, err, id)
		}
		if _, err := r.supply(t, token(t, "third")); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("a second value: got %v, want ErrNotAllowed", err)
		}
		if ended := r.finish(t, r.subject); ended != "completed" {
			t.Fatalf("the run is %s", ended)
		}
		held := r.value(t)
		if held.ID.Number != 2 || held.ID.Run != id || held.Value.ExposeText("token") != "second" {
			t.Errorf("the secret is at %s", held.ID)
		}
		if before, err := r.store.ReadVersion(t.Context(), r.subject.Path, 1); err != nil || before.Value.ExposeText("token") != "first" {
			t.Errorf("the version before is %v, %v, want it kept", before.ID, err)
		}
	})
}

// What a person made may have ended the credential before it, and then nobody else has one that works: it is stored before
// it is recorded. It is on record all the same before the run goes on, also when nobody asks again.
func TestSuppliedValueIsStoredThoughItsRecordFails(t *testing.T) {
	for _, again := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := static(t)
			log := auditmemory.New(time.Now)
			r.Record = &unrecorded{Recorder: log, step: "supplied"}
			_, err := r.supply(t, token(t, "second"))
			held, failed := r.Journal.LoadHeld(t.Context(), r.subject.Path)
			if err == nil || failed != nil || held.Pending == nil || !held.Pending.Candidate.Equal(token(t, "second")) {
				t.Fatalf("got %v, %v and %+v, want an error and the value kept", err, failed, held.Pending)
			}
			r.Record = log
			r.restart()
			if again {
				if _, err := r.supply(t, token(t, "third")); !errors.Is(err, rotation.ErrNotAllowed) {
					t.Errorf("another value: got %v, want ErrNotAllowed", err)
				}
				if _, err := r.supply(t, token(t, "second")); err != nil {
					t.Errorf("the same value: %v", err)
				}
			}
			if ended := r.finish(t, r.subject); ended != "completed" {
				t.Fatalf("the run is %s", ended)
			}
			steps := log.Steps(held.Live.ID)
			supplied, staged := slices.Index(steps, "supplied"), slices.Index(steps, "staged")
			if supplied < 0 || supplied > staged || len(slices.Compact(slices.Sorted(slices.Values(steps)))) != len(steps) {
				t.Errorf("on record are %s, want supplied once, before staged", steps)
			}
		})
	}
}

// unrecorded is a record that fails to take a step.
type unrecorded struct {
	audit.Recorder
	step string
}

func (u *unrecorded) Append(ctx context.Context, event audit.Event) error {
	if event.Step == u.step {
		return errors.New("no space left on device")
	}
	return u.Recorder.Append(ctx, event)
}

func TestSupplyIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := static(t)
		id, err := r.supply(t, token(t, "second"))
		if err != nil {
			t.Fatal(err)
		}
		r.restart()
		if err := r.Abort(t.Context(), r.subject, id, "me", "the wrong one"); err != nil {
			t.Fatal(err)
		}
		if ended := r.finish(t, r.subject); ended != "undone" || r.value(t).ID.Number != 1 {
			t.Errorf("the run is %s, the secret at %s", ended, r.value(t).ID)
		}
	})
}

// Where the upstream issues, what is handed in must be honoured, and takes the place of the current credential.
func TestSupplyInsteadOfIssuing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Issued})
		old := r.value(t).Value
		never, err := secret.Text(map[string]string{upstreammemory.Key: "never given"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.supply(t, never); !errors.Is(err, rotation.ErrNotAllowed) || r.entry(t).Live != nil {
			t.Errorf("a refused one: got %v and run %+v, want ErrNotAllowed and none", err, r.entry(t).Live)
		}
		byHand := r.hand(t)
		if _, err := r.supply(t, byHand); err != nil {
			t.Fatal(err)
		}
		if ended := r.finish(t, r.subject); ended != "completed" || u.applied != 0 {
			t.Errorf("the run is %s after %d calls to issue", ended, u.applied)
		}
		if !r.value(t).Value.Equal(byHand) || r.account.Accepts(old) {
			t.Errorf("the secret is at %s, the old credential is honoured: %v", r.value(t).ID, r.account.Accepts(old))
		}
	})
}

// A password that somebody had to set by hand is handed in, and is not set again.
func TestSupplyOfWhatWasSetByHand(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Overwrite, upstreammemory.Alternate, upstreammemory.Dual} {
		synctest.Test(t, func(t *testing.T) {
			r, u := spied(t, upstreammemory.Config{Shape: shape})
			old := r.value(t).Value
			set, err := r.account.Propose(t.Context(), old)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.supply(t, set); !errors.Is(err, rotation.ErrNotAllowed) || r.entry(t).Live != nil {
				t.Errorf("%s, before it is set: got %v and run %+v, want ErrNotAllowed and none", shape, err, r.entry(t).Live)
			}
			if _, err := r.account.Apply(t.Context(), "by-hand", old, set); err != nil {
				t.Fatal(err)
			}
			if _, err := r.supply(t, set); err != nil {
				t.Fatal(err)
			}
			if ended := r.finish(t, r.subject); ended != "completed" || u.applied != 0 || !r.value(t).Value.Equal(set) || r.account.Accepts(old) {
				t.Errorf("%s: the run is %s after %d calls to apply, at %s; the old one is honoured: %v", shape, ended, u.applied, r.value(t).ID, r.account.Accepts(old))
			}
		})
	}
}

func TestSupplyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		u.kind = func(k *upstream.Kind) { k.Verifies = false }
		if _, err := r.supply(t, token(t, "x")); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("where Custody makes the values: got %v, want ErrNotAllowed", err)
		}
		r, u = spied(t, upstreammemory.Config{Shape: upstreammemory.Issued})
		u.apply = func() error { return errLost }
		r.plan(t)
		r.wait(t, reason.EarlierCallPending)
		if _, err := r.supply(t, r.hand(t)); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("where what was lost is collected: got %v, want ErrNotAllowed", err)
		}
		r, u = spied(t, upstreammemory.Config{Shape: upstreammemory.Listed})
		u.apply = func() error { return errLost }
		current := r.value(t).Value
		r.plan(t)
		r.wait(t, reason.LostReplyNewcomers)
		if _, err := r.supply(t, current); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("the current credential: got %v, want ErrNotAllowed", err)
		}
		u.verify = func(secret.Value) (upstream.Verdict, error) { return upstream.Unknown, errors.New("starting") }
		if _, err := r.supply(t, r.hand(t)); !errors.Is(err, rotation.ErrNotNow) {
			t.Errorf("where the upstream cannot say: got %v, want ErrNotNow", err)
		}
	})
}

// The authority cannot keep what the upstream just issued, and a person hands in something that is refused: what was issued
// is still the only credential, and is kept later.
func TestRefusedSupplyForgetsNothing(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Rotated, upstreammemory.Listed} {
		synctest.Test(t, func(t *testing.T) {
			r, u := spied(t, upstreammemory.Config{Shape: shape})
			old := r.value(t).Value
			r.plan(t)
			r.Journal = &failing{Journal: r.Journal, writes: 3}
			r.wait(t, reason.IssuedNotKept, "no space left")
			never, err := old.With(upstreammemory.Key, []byte("never given"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.supply(t, never); !errors.Is(err, rotation.ErrNotAllowed) && !errors.Is(err, rotation.ErrNotNow) {
				t.Fatalf("%s: got %v, want it refused", shape, err)
			}
			if got := r.finish(t, r.subject); got != "completed" || u.applied != 1 || !r.account.Accepts(r.value(t).Value) {
				t.Errorf("%s: the run is %s after %d calls to issue; the value is honoured: %v", shape, got, u.applied, r.account.Accepts(r.value(t).Value))
			}
		})
	}
}

// A person hands in a credential in place of one that was issued and that the authority could not keep: that is revoked.
func TestSupplyInPlaceOfWhatWasIssued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Listed})
		r.plan(t)
		r.Journal = &failing{Journal: r.Journal, writes: 1}
		r.advance(t)
		byHand := r.hand(t)
		time.Sleep(time.Minute) // past the deadline of the call to issue
		if _, err := r.supply(t, byHand); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" || !r.value(t).Value.Equal(byHand) || u.applied != 1 {
			t.Errorf("the run is %s after %d calls to issue", got, u.applied)
		}
		live := 0
		for _, count := range r.account.Credentials() {
			live += count
		}
		if live != 1 {
			t.Errorf("%d credentials are honoured, want the one that was handed in", live)
		}
	})
}

// The run of an admin credential that was replaced by hand went round in a circle: it needed the very credential, took no
// value, and once it was aborted waited for the upstream to take something off.
func TestRunThatCanGoNowhereGivesWayToAValue(t *testing.T) {
	for _, aborted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite})
			u.apply = func() error {
				return fmt.Errorf("the server refuses every admin credential: %w", upstream.ErrNotApplied)
			}
			stuck := r.plan(t)
			r.wait(t, reason.CandidateNotApplied)
			byHand := login(t, "account", "set by hand")
			if err := r.account.Seed(byHand); err != nil {
				t.Fatal(err)
			}
			if aborted {
				if err := r.Abort(t.Context(), r.subject, stuck, "me", "it cannot go on"); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute) // three times the deadline of a call
			if _, err := r.supply(t, login(t, "account", "mistyped")); !errors.Is(err, rotation.ErrNotAllowed) || r.entry(t).Live.ID != stuck {
				t.Errorf("a value that the upstream refuses: got %v", err)
			}
			id, err := r.supply(t, byHand)
			if err != nil || id == stuck {
				t.Fatalf("got run %s, %v, want another than %s", id, err, stuck)
			}
			if ended := r.finish(t, r.subject); ended != "completed" || !r.value(t).Value.Equal(byHand) {
				t.Errorf("the run is %s, the secret at %s", ended, r.value(t).ID)
			}
			if left := r.entry(t); left.Retry != nil {
				t.Errorf("the next run waits for %+v", left.Retry)
			}
		})
	}
}

// A run whose values still work does not give way.
func TestRunWhoseValueWorksDoesNotGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		u.apply = func() error { return upstream.ErrNotApplied }
		live := r.plan(t)
		r.wait(t, reason.CandidateNotApplied)
		time.Sleep(time.Minute)
		other, err := secret.Text(map[string]string{upstreammemory.Key: "made by hand"})
		if err == nil {
			err = r.account.Seed(other)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.supply(t, other); !errors.Is(err, rotation.ErrNotAllowed) || !strings.Contains(err.Error(), "custody run abort "+string(live)) {
			t.Errorf("got %v", err)
		}
		if got := r.entry(t).Live; got == nil || got.ID != live {
			t.Errorf("run %s is not live any more: %+v", live, got)
		}
	})
}

// A static admin credential that was mistyped passed as verified, although the upstream that it opens is known.
func TestSupplyTriesWhatTheSecretOpens(t *testing.T) {
	for verdict, want := range map[upstream.Verdict]error{upstream.Accepted: nil, "": nil, upstream.Refused: rotation.ErrNotAllowed, upstream.Unknown: rotation.ErrNotNow} {
		synctest.Test(t, func(t *testing.T) {
			r := static(t)
			r.subject.Opens = func(context.Context, secret.Value) (upstream.Verdict, error) {
				return verdict, nil
			}
			_, err := r.supply(t, token(t, "second"))
			if !errors.Is(err, want) || (r.entry(t).Live != nil) != (want == nil) {
				t.Errorf("%q: got %v and run %v, want %v", verdict, err, r.entry(t).Live, want)
			}
		})
	}
}

// login is a value that names its account.
func login(t *testing.T, name, password string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{upstreammemory.Username: name, upstreammemory.Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The credential of another account at the same server signs in, and so was taken for the secret's own.
func TestSupplyOfAnotherAccountsCredential(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Alternate, upstreammemory.Overwrite} {
		synctest.Test(t, func(t *testing.T) {
			r, u := spied(t, upstreammemory.Config{Shape: shape})
			u.verify = func(secret.Value) (upstream.Verdict, error) { return upstream.Accepted, nil }
			theirs := login(t, "somebody", "theirs")
			wantRefused := func(when string, live bool) {
				t.Helper()
				_, err := r.supply(t, theirs)
				if !errors.Is(err, rotation.ErrNotAllowed) || !strings.Contains(err.Error(), "account somebody") || (r.entry(t).Live != nil) != live {
					t.Errorf("%s, %s: got %v and run %v, want ErrNotAllowed", shape, when, err, r.entry(t).Live)
				}
			}
			wantRefused("no run is live", false)
			own := "account"
			if shape == upstreammemory.Alternate {
				own = "account-b"
			}
			r.Journal = &failing{Journal: r.Journal, writes: 1}
			if _, err := r.supply(t, login(t, own, "by hand")); err == nil {
				t.Fatal("got no error though the value was not kept")
			}
			wantRefused("the run was begun and its value was lost", true)
			if _, err := r.supply(t, login(t, own, "by hand")); err != nil {
				t.Errorf("%s: the secret's own: %v", shape, err)
			}
		})
	}
}

// A login from before Custody is of no account that runs change, and takes a password that was set by hand all the same.
func TestSupplyOfTheLoginThatTheSecretHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, upstreammemory.Config{Shape: upstreammemory.Alternate})
		if _, err := r.store.Write(t.Context(), r.subject.Path, 0, "run-0", login(t, "legacy", "first")); err != nil {
			t.Fatal(err)
		}
		byHand := login(t, "legacy", "second")
		if err := r.account.Seed(byHand); err != nil {
			t.Fatal(err)
		}
		if _, err := r.supply(t, byHand); err != nil {
			t.Error(err)
		}
	})
}

// The log said of each new run that it was resumed.
func TestOnlyWhatAnotherProcessBeganIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		var resumed []bool
		r.Observe = func(_ string, _ authority.RunID, _ journal.Step, again bool) { resumed = append(resumed, again) }
		r.plan(t)
		r.finish(t, r.subject)
		if len(resumed) < 5 || slices.Contains(resumed, true) {
			t.Errorf("of a new run, the steps are resumed: %v", resumed)
		}
		r.plan(t)
		r.restart()
		resumed = nil
		r.finish(t, r.subject)
		if len(resumed) < 5 || !resumed[0] || slices.Contains(resumed[1:], true) {
			t.Errorf("of a run that another process began, the steps are resumed: %v", resumed)
		}
	})
}
