// SPDX-License-Identifier: Apache-2.0

package trigger_test

import (
	"context"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/trigger"
)

// machine has a wall clock that can be set and a steady one that cannot.
type machine struct {
	*rig
	steady time.Duration
}

func (m *machine) pass(d time.Duration) { m.now, m.steady = m.now.Add(d), m.steady+d }

func (m *machine) start() *trigger.Clock {
	return trigger.NewClock(m.store, func() time.Time { return m.now }, func() time.Duration { return m.steady })
}

func check(t *testing.T, clock *trigger.Clock, believed bool) {
	t.Helper()
	said, err := clock.Check(t.Context())
	if err != nil || (said == "") != believed {
		t.Errorf("got %q, %v, want it believed: %t", said, err, believed)
	}
}

func TestClockIsBelievedWhileTimePasses(t *testing.T) {
	m := &machine{rig: newRig()}
	clock := m.start()
	for range 50 {
		check(t, clock, true)
		m.pass(7 * time.Minute)
	}
	m.now = m.now.Add(4 * time.Minute) // as a time server may set it
	check(t, clock, true)
	m.pass(30 * 24 * time.Hour) // a process that slept, as both clocks say
	check(t, clock, true)
	m.steady = 0 // a new process
	check(t, m.start(), true)
}

func TestClockJumpHoldsUntilConfirmed(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": 24 * time.Hour, "backward": -24 * time.Hour, "a little": 6 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			m := &machine{rig: newRig()}
			clock := m.start()
			check(t, clock, true)
			m.now = m.now.Add(jump)
			for range 3 {
				check(t, clock, false)
				m.pass(time.Hour)
			}
			m.steady = 0
			restarted := m.start()
			check(t, restarted, false) // a restart is no confirmation
			m.pass(time.Hour)
			if err := restarted.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, restarted, true)
			m.pass(time.Hour)
			check(t, restarted, true)
			check(t, m.start(), true)
		})
	}
}

func TestClockSetBackWhileNothingRan(t *testing.T) {
	m := &machine{rig: newRig()}
	check(t, m.start(), true)
	m.now, m.steady = m.now.Add(-24*time.Hour), 0
	clock := m.start()
	check(t, clock, false)
	if err := clock.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, clock, true)
}

// A clock that was a year ahead at the start rotated everything, though the time seen last was on record.
func TestClockFarAheadAtStartHolds(t *testing.T) {
	for name, test := range map[string]struct {
		away     time.Duration
		believed bool
	}{"a weekend": {3 * 24 * time.Hour, true}, "a year": {365 * 24 * time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			m := &machine{rig: newRig()}
			check(t, m.start(), true)
			m.now, m.steady = m.now.Add(test.away), 0
			clock := m.start()
			check(t, clock, test.believed)
			m.steady = 0
			check(t, m.start(), test.believed) // a restart is no confirmation
			if err := clock.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, clock, true)
			check(t, m.start(), true)
		})
	}
}

// A confirmation is often given by another process than the one that saw the jump.
func TestClockConfirmedByAnotherProcess(t *testing.T) {
	m := &machine{rig: newRig()}
	serving := m.start()
	check(t, serving, true)
	m.now = m.now.Add(24 * time.Hour)
	check(t, serving, false)
	if err := m.start().Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.pass(time.Minute)
	check(t, serving, true)
}

func TestTwoProcessesNoteTheClock(t *testing.T) {
	m := &machine{rig: newRig()}
	one, two := m.start(), m.start()
	for range 10 {
		check(t, one, true)
		check(t, two, true)
		m.pass(11 * time.Minute)
	}
}

// slow answers only once the rest of the world went on.
type slow struct {
	trigger.Records
	meanwhile func()
}

func (s slow) Get(ctx context.Context, key string) (authority.Document, error) {
	s.meanwhile()
	return s.Records.Get(ctx, key)
}

// A process that waited for the note of the time while another one wrote a later time there took its own clock to be set back, and
// all timed rotation was held.
func TestClockNoteThatIsLongInComing(t *testing.T) {
	m := &machine{rig: newRig()}
	serving := m.start()
	check(t, serving, true)
	late := trigger.NewClock(slow{m.store, func() {
		m.pass(11 * time.Minute)
		check(t, serving, true)
	}}, func() time.Time { return m.now }, func() time.Duration { return m.steady })
	check(t, late, true)
	m.pass(time.Minute)
	check(t, late, true)
	check(t, serving, true)
}

// A process whose clock never jumped must not take back what another one saw.
func TestClockJumpIsNotTakenBackByAnotherProcess(t *testing.T) {
	m := &machine{rig: newRig()}
	steadfast, jumping := m.start(), m.start()
	check(t, steadfast, true)
	check(t, jumping, true)
	m.now = m.now.Add(24 * time.Hour)
	check(t, jumping, false)
	m.now = m.now.Add(-24 * time.Hour) // the other machine's clock stayed right
	for range 5 {
		m.pass(11 * time.Minute)
		if _, err := steadfast.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, m.start(), false)
	}
}

// A note of the time that cannot be read stopped every secret. It holds what the clock starts, until a person confirms.
func TestUnreadableClockNoteHoldsUntilConfirmed(t *testing.T) {
	for name, data := range map[string]string{"newer": `{"schema":2,"noted":{}}`, "torn": `{"sch`} {
		t.Run(name, func(t *testing.T) {
			m := &machine{rig: newRig()}
			if _, err := m.store.Put(t.Context(), "clock", 0, []byte(data)); err != nil {
				t.Fatal(err)
			}
			clock := m.start()
			for range 3 {
				check(t, clock, false)
				m.pass(time.Hour)
			}
			if held, err := m.store.Get(t.Context(), "clock"); err != nil || string(held.Data) != data {
				t.Errorf("the note is %q, %v; want it left alone until somebody confirms", held.Data, err)
			}
			if err := clock.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, clock, true)
			check(t, m.start(), true)
		})
	}
}
