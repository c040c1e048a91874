// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"errors"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/materializetest"
	"custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/secret"
)

type world struct {
	now      time.Time
	consumer *memory.Consumer
}

func newWorld(config memory.Config) *world {
	w := &world{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	config.Clock = func() time.Time { return w.now }
	w.consumer = memory.New(config)
	return w
}

func TestConformance(t *testing.T) {
	for name, config := range map[string]memory.Config{
		"Immediate":   {Name: "app"},
		"Delivered":   {Name: "app", Highest: materialize.Delivered},
		"Observed":    {Name: "app", Highest: materialize.Observed, ReloadDelay: time.Minute},
		"StaleProofs": {Name: "app", ReloadDelay: time.Minute, ProofDelay: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			materializetest.Run(t, func(t *testing.T) materializetest.Fixture {
				unfit, config := materializetest.Unfit(t), config
				config.Unfit = func(v secret.Value) error {
					if v.Equal(unfit) {
						return errors.New("it has no form for that")
					}
					return nil
				}
				w := newWorld(config)
				return materializetest.Fixture{
					Unfit:    unfit,
					Consumer: w.consumer,
					Reopen:   func(*testing.T) materialize.Consumer { return w.consumer },
					Holds: func(_ *testing.T, v authority.Versioned) bool {
						id, value := w.consumer.Held()
						return id == v.ID && value.Equal(v.Value)
					},
					Runs: func(_ *testing.T, v authority.Versioned) bool {
						id, value := w.consumer.Running()
						return id == v.ID && value.Equal(v.Value)
					},
					Reloads:     func(*testing.T) int { return w.consumer.Reloads() },
					FailReloads: func(_ *testing.T, fail bool) { w.consumer.FailReloads(fail) },
					Settle:      func(*testing.T) { w.now = w.now.Add(time.Hour) },
					Drift: func(t *testing.T) {
						value, err := secret.Text(map[string]string{"value": "other"})
						if err != nil {
							t.Fatal(err)
						}
						w.consumer.Tamper(value)
					},
				}
			})
		})
	}
}

func TestReloadTakesTime(t *testing.T) {
	w := newWorld(memory.Config{Name: "app", ReloadDelay: time.Minute, ProofDelay: 10 * time.Second})
	first, second := materializetest.Version(t, "a", "r", 1), materializetest.Version(t, "a", "s", 2)
	steps := []struct {
		after   time.Duration
		deliver *authority.Versioned
		running authority.VersionID
		level   materialize.Level // of a proof for second
	}{
		{after: 0, deliver: &first},
		{after: 30 * time.Second, deliver: &second, level: materialize.None},
		{after: 5 * time.Second, level: materialize.None},                           // held, but the proof is older
		{after: 5 * time.Second, level: materialize.Delivered},                      // seen to be held
		{after: 20 * time.Second, running: second.ID, level: materialize.Delivered}, // the first reload reads what is there
		{after: 10 * time.Second, running: second.ID, level: materialize.Rolled},
	}
	for i, step := range steps {
		w.now = w.now.Add(step.after)
		if step.deliver != nil {
			if err := w.consumer.Deliver(t.Context(), *step.deliver); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := w.consumer.Running(); got != step.running {
			t.Errorf("step %d: got %s running, want %s", i, got, step.running)
		}
		proof, err := w.consumer.Prove(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		level := proof.Level
		if proof.Version != second.ID {
			level = materialize.None
		}
		if level != step.level {
			t.Errorf("step %d: got level %s, want %s", i, level, step.level)
		}
	}
}

func TestIgnoredReload(t *testing.T) {
	w := newWorld(memory.Config{Name: "app", IgnoresReload: true})
	v := materializetest.Version(t, "a", "r", 1)
	if err := w.consumer.Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	proof, err := w.consumer.Prove(t.Context(), v)
	if err != nil || proof.Level != materialize.Delivered || proof.Missing == "" {
		t.Errorf("got %+v, %v, want delivered and what is missing", proof, err)
	}
	w.consumer.Restart()
	if proof, _ = w.consumer.Prove(t.Context(), v); proof.Level != materialize.Rolled {
		t.Errorf("got %s after a restart, want rolled", proof.Level)
	}
	w.consumer.IgnoreReloads(false)
	next := materializetest.Version(t, "a", "s", 2)
	if err := w.consumer.Deliver(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.consumer.Running(); got != next.ID {
		t.Errorf("got %s running, want %s", got, next.ID)
	}
}

func TestRefusingForAWhile(t *testing.T) {
	w := newWorld(memory.Config{Name: "app"})
	v := materializetest.Version(t, "a", "r", 1)
	w.consumer.RefuseUntil(w.now.Add(time.Minute))
	if err := w.consumer.Deliver(t.Context(), v); !errors.Is(err, memory.ErrRefusing) {
		t.Errorf("got %v, want ErrRefusing", err)
	}
	if got, _ := w.consumer.Held(); got != (authority.VersionID{}) {
		t.Errorf("got %s held after a refusal, want nothing", got)
	}
	w.now = w.now.Add(time.Minute)
	if err := w.consumer.Deliver(t.Context(), v); err != nil {
		t.Errorf("got %v after the refusal ended", err)
	}
}

// A consumer that is restored holds, and runs on, what it had before, and is given what it had then.
func TestFallingBackToAnOlderImage(t *testing.T) {
	w := newWorld(memory.Config{Name: "app", ReloadDelay: time.Second})
	first, second := materializetest.Version(t, "a", "r", 1), materializetest.Version(t, "a", "s", 2)
	for _, v := range []authority.Versioned{first, second} {
		if err := w.consumer.Deliver(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Second)
	}
	if got := w.consumer.Since(); !got.Equal(w.now) {
		t.Errorf("got %s, want it to run on the second version since %s", got, w.now)
	}
	w.now = w.now.Add(time.Minute)
	w.consumer.FallBack()
	if held, _ := w.consumer.Held(); held != first.ID {
		t.Errorf("got %s held, want %s", held, first.ID)
	}
	if running, _ := w.consumer.Running(); running != first.ID || !w.consumer.Since().Equal(w.now) {
		t.Errorf("got %s running since %s, want %s since %s", running, w.consumer.Since(), first.ID, w.now)
	}
	if proof, err := w.consumer.Prove(t.Context(), second); err != nil || proof.Version != first.ID {
		t.Errorf("got a proof of %s, %v, want one of %s", proof.Version, err, first.ID)
	}
	if err := w.consumer.Deliver(t.Context(), second); err != nil {
		t.Errorf("delivering again: %v", err)
	}
}
