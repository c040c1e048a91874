// SPDX-License-Identifier: Apache-2.0

package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/authority"
)

const (
	clockKey = "clock"
	// jumpAt is the disagreement between wall clock and steady clock that counts as a jump.
	jumpAt = 5 * time.Minute
	// noteEvery is how often the wall clock is noted down, so that a clock set back while nothing ran shows.
	noteEvery = 10 * time.Minute
	// absentAt is the most time that may seem to have passed since the last note, when a process starts: a clock that was set
	// ahead while nothing ran looks like a long absence, and would start everything that is timed at once.
	absentAt = 7 * 24 * time.Hour
)

// Clock watches the wall clock. After a jump the clock alone starts nothing until a person confirms the time.
// A clock set forward by less than a week while no process ran looks like time passing; the cap on timed runs bounds what
// that can do.
type Clock struct {
	records Records
	now     func() time.Time
	steady  func() time.Duration

	mu       sync.Mutex
	started  bool
	wall     time.Time
	at       time.Duration
	state    clockState
	durable  bool // the jump in state is in the record
	revision authority.Revision
	told     atomic.Pointer[string] // what Check said last
}

type clockState struct {
	Schema int       `json:"schema"`
	Noted  time.Time `json:"noted"`
	Jump   string    `json:"jump,omitempty"`
}

// NewClock returns a guard over now, the wall clock, and steady, which only ever grows at the rate of time.
func NewClock(records Records, now func() time.Time, steady func() time.Duration) *Clock {
	return &Clock{records: records, now: now, steady: steady}
}

// Told is what Check said last, "" before it was called. It asks nothing and waits for nothing.
func (c *Clock) Told() string {
	if told := c.told.Load(); told != nil {
		return *told
	}
	return ""
}

// Check returns "" while the clock can be believed, else what happened to it.
func (c *Clock) Check(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	if !c.started || c.durable { // another process may have confirmed the time
		if err := c.load(ctx); err != nil {
			return "", err
		}
	}
	wall, at := c.now(), c.steady() // not before: while the answer was waited for, another process may have noted a later time
	if !c.started {
		noted := c.state.Noted
		switch shown := wall.UTC().Format(time.RFC3339); {
		case noted.IsZero() || c.state.Jump != "":
		case noted.Sub(wall) > jumpAt:
			c.durable = false
			c.state.Jump = fmt.Sprintf("the clock shows %s, but %s was seen before", shown, noted.Format(time.RFC3339))
		case wall.Sub(noted) > absentAt:
			c.durable = false
			c.state.Jump = fmt.Sprintf("the clock shows %s, and the time seen last was %s, %d days before", shown, noted.Format(time.RFC3339), int(wall.Sub(noted).Hours()/24))
		}
		c.started = true
	} else if off := wall.Round(0).Sub(c.wall.Round(0)) - (at - c.at); off.Abs() > jumpAt {
		c.durable = false
		c.state.Jump = fmt.Sprintf("the clock jumped by %s at %s", off.Round(time.Second), wall.UTC().Format(time.RFC3339))
	}
	c.wall, c.at = wall, at
	if !c.durable && (c.state.Jump != "" || wall.Sub(c.state.Noted) >= noteEvery) {
		err := c.note(ctx, wall)
		return c.state.Jump, err
	}
	return c.state.Jump, nil
}

// Confirm says that the time shown now is right.
func (c *Clock) Confirm(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	if err := c.load(ctx); err != nil {
		return err
	}
	c.state.Jump, c.state.Noted, c.durable = "", time.Time{}, false
	c.started, c.wall, c.at = true, c.now(), c.steady()
	if err := c.note(ctx, c.wall); err != nil {
		return err
	}
	if c.state.Jump != "" {
		return fmt.Errorf("confirming the clock: another process noted meanwhile that %s; confirm again", c.state.Jump)
	}
	return nil
}

// tell keeps what Told says. The caller holds the lock.
func (c *Clock) tell() {
	jump := c.state.Jump
	c.told.Store(&jump)
}

func (c *Clock) load(ctx context.Context) error {
	record, err := c.records.Get(ctx, clockKey)
	if errors.Is(err, authority.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("loading clock record: %w", err)
	}
	var state clockState
	if err := json.Unmarshal(record.Data, &state); err != nil || state.Schema > schema {
		// What was seen before is not known, so only a person can say whether the time is right. Confirming replaces it.
		state = clockState{Jump: fmt.Sprintf("the note of the time that was seen last cannot be read (record %q)", clockKey)}
	}
	c.revision, c.state, c.durable = record.Revision, state, state.Jump != ""
	return nil
}

// note writes the state. Losing the compare-and-set to another process is no fault: its note counts, except that it
// takes back no jump which this process saw and could not yet note.
func (c *Clock) note(ctx context.Context, wall time.Time) error {
	next := clockState{Schema: schema, Noted: c.state.Noted, Jump: c.state.Jump}
	if next.Jump == "" {
		next.Noted = wall.UTC()
	}
	data, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encoding clock record: %w", err)
	}
	revision, err := c.records.Put(ctx, clockKey, c.revision, data)
	switch {
	case errors.Is(err, authority.ErrConflict):
		seen := c.state.Jump
		if err := c.load(ctx); err != nil {
			return err
		}
		if seen != "" && c.state.Jump == "" {
			c.state.Jump = seen // noted by the next check
		}
		return nil
	case err != nil:
		return fmt.Errorf("noting the clock: %w", err)
	}
	c.revision, c.state, c.durable = revision, next, next.Jump != ""
	return nil
}
