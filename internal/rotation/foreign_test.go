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

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// byHand is a credential that somebody makes at the upstream, of which Custody knows nothing.
func (r *rig) byHand(t *testing.T, old secret.Value) secret.Value {
	t.Helper()
	v, err := r.account.Propose(t.Context(), old)
	if err == nil {
		_, err = r.account.Apply(t.Context(), "by-hand", old, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// overwritten has somebody else write v to the secret's path.
func (r *rig) overwritten(t *testing.T, v secret.Value) {
	t.Helper()
	held := r.value(t)
	if entry := r.entry(t); entry.Current == nil { // a first value that was made by hand
		entry.Current = &held.ID
		if err := r.Journal.Save(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.store.Write(t.Context(), r.subject.Path, held.ID.Number, "somebody", v); err != nil {
		t.Fatal(err)
	}
}

// made is a value of the secret's form that no upstream was given.
func (r *rig) made(t *testing.T) secret.Value {
	t.Helper()
	v, err := r.account.Propose(t.Context(), r.value(t).Value)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func adopt(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
	_, err := engine.Adopt(ctx, s, "me", "it is ours")
	return err
}

func revert(ctx context.Context, engine *rotation.Engine, s rotation.Subject) error {
	_, err := engine.Revert(ctx, s, "me", "a mistake")
	return err
}

// decided wants the value of record to be v, by a run that says on record who decided what, and every earlier value to be gone.
func decided(t *testing.T, r *rig, log *auditmemory.Log, v secret.Value, step string) {
	t.Helper()
	held, entry := r.value(t), r.entry(t)
	if !held.Value.Equal(v) || entry.Current == nil || *entry.Current != held.ID {
		t.Fatalf("version %s, on record %v, is not the value that was decided for", held.ID, entry.Current)
	}
	if steps := log.Steps(held.ID.Run); !slices.Contains(steps, step) || entry.Last.Run != held.ID.Run || entry.Last.Result != "completed" {
		t.Errorf("on record are %v, want %q; the last run is %+v", steps, step, entry.Last)
	}
	for number := authority.Version(1); number < held.ID.Number; number++ {
		if _, err := r.store.ReadVersion(t.Context(), r.subject.Path, number); !errors.Is(err, authority.ErrNotFound) {
			t.Errorf("version %d can be read: %v", number, err)
		}
	}
	if !r.account.Accepts(v) || len(r.account.Credentials()) != 1 {
		t.Errorf("the upstream accepts the value: %v; it has %d credentials, want that one", r.account.Accepts(v), len(r.account.Credentials()))
	}
}

// A process that is killed at any call over what a person decided about somebody else's write leaves a run that the next process ends.
func TestKilledOverSomebodyElsesWrite(t *testing.T) {
	var other secret.Value // that of the try at hand
	all := map[string]asking{}
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite} {
		all["adopt between runs, "+string(shape)] = asking{
			shape: shape, ask: adopt,
			before: func(t *testing.T, r *rig) {
				other = r.byHand(t, r.value(t).Value)
				r.overwritten(t, other)
			},
			ending: func(t *testing.T, r *rig, log *auditmemory.Log, _ secret.Value) {
				decided(t, r, log, other, "value-adopted 2")
				if adopted := r.entry(t).Adopted(); adopted == nil || adopted.By != "me" || adopted.Reason != "it is ours" {
					t.Errorf("the version of record is adopted by %+v", adopted)
				}
			},
		}
		all["revert between runs, "+string(shape)] = asking{
			shape: shape, ask: revert,
			before: func(t *testing.T, r *rig) { r.overwritten(t, r.made(t)) },
			ending: func(t *testing.T, r *rig, log *auditmemory.Log, was secret.Value) {
				decided(t, r, log, was, "value-reverted 2")
				if r.entry(t).Adopted() != nil {
					t.Error("what was put back is shown as adopted")
				}
			},
		}
	}
	// promotes leads to a run whose value somebody else wrote over once it was promoted.
	promotes := func(t *testing.T, r *rig) {
		deaf := r.consumed("deaf")[0]
		deaf.IgnoreReloads(true)
		r.plan(t)
		engine, s := r.process(r.Record.(*auditmemory.Log), nil)
		for range 40 {
			if _, err := engine.Advance(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		other = r.byHand(t, r.value(t).Value)
		r.overwritten(t, other)
		deaf.IgnoreReloads(false)
	}
	// verifies leads to a run that finds somebody else's value where it would write its own.
	verifies := func(t *testing.T, r *rig) {
		other = r.byHand(t, r.value(t).Value)
		r.plan(t)
		r.overwritten(t, other)
		r.wait(t, reason.ForeignWrite, "2", "db")
	}
	adopted := func(version int) func(*testing.T, *rig, *auditmemory.Log, secret.Value) {
		return func(t *testing.T, r *rig, log *auditmemory.Log, _ secret.Value) {
			decided(t, r, log, other, fmt.Sprintf("value-adopted %d", version))
		}
	}
	all["adopt after promotion"] = asking{shape: upstreammemory.Dual, before: promotes, ask: adopt, ending: adopted(3)}
	all["adopt at verified"] = asking{shape: upstreammemory.Dual, before: verifies, ask: adopt, ending: adopted(2)}
	own := func(step string) func(*testing.T, *rig, *auditmemory.Log, secret.Value) {
		return func(t *testing.T, r *rig, log *auditmemory.Log, was secret.Value) {
			if err := r.account.Revoke(t.Context(), "by-hand", other, r.value(t).Value); err != nil { // nobody but its maker ends it
				t.Fatal(err)
			}
			decided(t, r, log, r.value(t).Value, step)
			if v := r.value(t).Value; v.Equal(was) || v.Equal(other) {
				t.Error("the run's candidate is not of record")
			}
		}
	}
	all["revert after promotion"] = asking{shape: upstreammemory.Dual, before: promotes, ask: revert, ending: own("value-reverted 3")}
	all["revert at verified"] = asking{shape: upstreammemory.Dual, before: verifies, ask: revert, ending: own("value-reverted 2")}
	for name, c := range all {
		t.Run(name, func(t *testing.T) { c.killedAnywhere(t) })
	}
}

// Of what makes no sense nothing is done, and the error names what does.
func TestSomebodyElsesWriteIsNotDecidedBlindly(t *testing.T) {
	for name, c := range map[string]struct {
		shape  upstreammemory.Shape
		change func(*testing.T, *rig)
		ask    func(context.Context, *rotation.Engine, rotation.Subject) error
		says   string
		hint   string
	}{
		"nobody wrote": {change: func(*testing.T, *rig) {}, ask: adopt, says: "nobody else wrote there", hint: "`custody explain db`"},
		"the upstream refuses it": {
			change: func(t *testing.T, r *rig) { r.overwritten(t, r.made(t)) }, ask: adopt,
			says: "the upstream refuses it", hint: "`custody revert db --reason TEXT`",
		},
		"it is the managed value": {
			change: func(t *testing.T, r *rig) { r.overwritten(t, r.value(t).Value) }, ask: adopt,
			says: "it is the one that the secret has", hint: "`custody revert db --reason TEXT`",
		},
		"the credential was replaced upstream": {
			shape:  upstreammemory.Overwrite,
			change: func(t *testing.T, r *rig) { r.overwritten(t, r.byHand(t, r.value(t).Value)) }, ask: revert,
			says: "the upstream refuses the managed value", hint: "`custody adopt-value db --reason TEXT`",
		},
		"the managed value is gone": {
			change: func(t *testing.T, r *rig) {
				r.overwritten(t, r.made(t))
				if err := r.store.Destroy(t.Context(), r.subject.Path, 1); err != nil {
					t.Fatal(err)
				}
			},
			ask: revert, says: "no managed value is left", hint: "`custody adopt-value db --reason TEXT`",
		},
		"a run has not verified its candidate": {
			change: func(t *testing.T, r *rig) { r.plan(t); r.overwritten(t, r.made(t)) }, ask: revert,
			says: "has not verified its candidate", hint: "custody run abort run-",
		},
		"suspended": {
			change: func(t *testing.T, r *rig) { r.overwritten(t, r.made(t)); r.subject.Suspended = true }, ask: revert,
			says: "suspended", hint: "`custody explain db`",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shape := c.shape
				if shape == "" {
					shape = upstreammemory.Dual
				}
				r, _ := spied(t, upstreammemory.Config{Shape: shape})
				c.change(t, r)
				before := r.entry(t)
				err := c.ask(t.Context(), r.Engine, r.subject)
				if !errors.Is(err, rotation.ErrNotAllowed) && !errors.Is(err, rotation.ErrNotNow) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("got %v, want a refusal that says %q", err, c.says)
				}
				if hinted, is := errors.AsType[interface {
					error
					Hint() string
				}](err); !is || !strings.Contains(hinted.Hint(), c.hint) {
					t.Errorf("got no hint with %q: %v", c.hint, err)
				}
				after := r.entry(t)
				if after.Decided != nil || (before.Live == nil) != (after.Live == nil) {
					t.Errorf("something was decided: %+v, run %+v", after.Decided, after.Live)
				}
			})
		})
	}
}

// Whoever asks again, because the answer was lost, is told the same run; who then asks for the other is told that it goes forward.
func TestSomebodyElsesWriteIsDecidedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.overwritten(t, r.byHand(t, r.value(t).Value))
		first, err := r.Adopt(t.Context(), r.subject, "me", "it is ours")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.Adopt(t.Context(), r.subject, "me", "it is ours"); err != nil || again != first {
			t.Errorf("got run %s, %v, want %s", again, err, first)
		}
		if _, err := r.Revert(t.Context(), r.subject, "another", "a mistake"); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("got %v, want ErrNotAllowed", err)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Fatalf("the run is %s", got)
		}
		if again, err := r.Adopt(t.Context(), r.subject, "me", "it is ours"); err != nil || again != first {
			t.Errorf("once it has ended: got run %s, %v, want %s", again, err, first)
		}
		if _, err := r.Revert(t.Context(), r.subject, "me", "a mistake"); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("once it has ended: got %v, want ErrNotAllowed", err)
		}
	})
}

// Where the upstream accepts neither value, the managed one goes back to its place, and the run takes one that works.
func TestRevertWhereNeitherValueWorksTakesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.overwritten(t, r.made(t))
		u.Lose(r.value(t).Value)
		managed, err := r.store.ReadVersion(t.Context(), r.subject.Path, 1)
		if err != nil {
			t.Fatal(err)
		}
		u.Lose(managed.Value)
		if err := revert(t.Context(), r.Engine, r.subject); err != nil {
			t.Fatal(err)
		}
		r.wait(t, reason.CandidateLost)
		works := r.byHand(t, managed.Value)
		if _, err := r.supply(t, works); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" || !r.value(t).Value.Equal(works) {
			t.Errorf("the run is %s at %s", got, r.value(t).ID)
		}
	})
}

// A value that only people make is adopted without asking anybody; what it replaces is named, for Custody cannot end it.
func TestAdoptOfAStaticSecretNamesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := static(t)
		r.overwritten(t, token(t, "second"))
		if err := adopt(t.Context(), r.Engine, r.subject); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Fatalf("the run is %s", got)
		}
		last := r.entry(t).Last
		if want := "does not revoke the value before (version 1)"; !strings.Contains(last.Detail, want) {
			t.Errorf("the run says %q, want %q", last.Detail, want)
		}
		if held := r.value(t); held.ID.Number != 3 || !held.Value.Equal(token(t, "second")) {
			t.Errorf("the value is version %s", held.ID)
		}
	})
}

// A managed value that was put back is as old as it was: putting it back again and again must not keep it for ever.
func TestRevertDoesNotRenewTheLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		rotated := r.entry(t).Rotated
		time.Sleep(10 * day)
		r.overwritten(t, r.made(t))
		if err := revert(t.Context(), r.Engine, r.subject); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Fatalf("the run is %s", got)
		}
		if now := r.entry(t).Rotated; !now.Equal(rotated) {
			t.Errorf("its lifetime begins %s, want %s still", now, rotated)
		}
	})
}

// Nothing is revoked while consumers of what somebody else wrote over have not moved to the adopted value.
func TestAdoptRevokesByEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		deaf := r.consumed("deaf")[0]
		was := r.value(t)
		if err := deaf.Deliver(t.Context(), was); err != nil {
			t.Fatal(err)
		}
		deaf.IgnoreReloads(true)
		r.overwritten(t, r.byHand(t, was.Value))
		if err := adopt(t.Context(), r.Engine, r.subject); err != nil {
			t.Fatal(err)
		}
		r.wait(t, reason.ProofMissing)
		if verdict, err := u.Verify(t.Context(), was.Value); verdict != upstream.Accepted {
			t.Errorf("the value before is %s, %v, while a consumer runs on it", verdict, err)
		}
		deaf.Restart()
		if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(was.Value) {
			t.Errorf("the run is %s; the value before is accepted: %v", got, r.account.Accepts(was.Value))
		}
		if live := r.entry(t).Live; live != nil || r.entry(t).Last.Trigger.Kind != rotation.Adopted {
			t.Errorf("run %+v is live; the last is %+v", live, r.entry(t).Last)
		}
	})
}

// Another process of which this one knows nothing decided in the middle of a run: what this one remembers of the run must not hold it.
func TestAnotherProcessDecidesAboutSomebodyElsesWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		deaf := r.consumed("deaf")[0]
		deaf.IgnoreReloads(true)
		r.plan(t)
		r.wait(t, reason.ProofMissing)
		r.overwritten(t, r.byHand(t, r.value(t).Value))
		r.wait(t, reason.ForeignWrite)
		if err := revert(t.Context(), rotation.New(r.Config), r.subject); err != nil {
			t.Fatal(err)
		}
		deaf.IgnoreReloads(false)
		if got := r.finish(t, r.subject); got != "completed" || r.value(t).ID.Number != 4 {
			t.Errorf("the run is %s at version %s", got, r.value(t).ID)
		}
	})
}
