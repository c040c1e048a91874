// SPDX-License-Identifier: Apache-2.0

package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
)

const (
	clockKey = "clock"
	// jumpAt is the disagreement between wall clock and steady clock that counts as a jump.
	jumpAt = 5 * time.Minute
	// noteEvery is how often the wall clock is noted down, so that a clock set back while nothing ran shows.
	noteEvery = 10 * time.Minute
)

// Clock watches the wall clock. After a jump the clock alone starts nothing until a person confirms the time.
// A clock set forward while no process ran looks like time passing; the cap on timed runs bounds what that can do.
type Clock struct {
	records Records
	now     func() time.Time
	steady  func() time.Duration

	mu       sync.Mutex
	started  bool
	wall     time.Time
	at       time.Duration
	state    clockState
	revision authority.Revision
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

// Check returns "" while the clock can be believed, else what happened to it.
func (c *Clock) Check(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, at := c.now(), c.steady()
	if !c.started {
		if err := c.load(ctx); err != nil {
			return "", err
		}
		if back := c.state.Noted.Sub(wall); back > jumpAt {
			c.state.Jump = fmt.Sprintf("the clock shows %s, but %s was seen before", wall.UTC().Format(time.RFC3339), c.state.Noted.Format(time.RFC3339))
		}
		c.started = true
	} else if off := wall.Round(0).Sub(c.wall.Round(0)) - (at - c.at); off.Abs() > jumpAt {
		c.state.Jump = fmt.Sprintf("the clock jumped by %s at %s", off.Round(time.Second), wall.UTC().Format(time.RFC3339))
	}
	c.wall, c.at = wall, at
	if c.state.Jump != "" || wall.Sub(c.state.Noted) >= noteEvery {
		return c.state.Jump, c.note(ctx, wall)
	}
	return "", nil
}

// Confirm says that the time shown now is right.
func (c *Clock) Confirm(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started {
		if err := c.load(ctx); err != nil {
			return err
		}
	}
	c.state.Jump, c.state.Noted = "", time.Time{}
	c.started, c.wall, c.at = true, c.now(), c.steady()
	return c.note(ctx, c.wall)
}

func (c *Clock) load(ctx context.Context) error {
	record, err := c.records.Get(ctx, clockKey)
	if errors.Is(err, authority.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("loading clock record: %w", err)
	}
	c.revision = record.Revision
	if err := json.Unmarshal(record.Data, &c.state); err != nil {
		return fmt.Errorf("decoding clock record: %w", err)
	}
	return nil
}

// note writes the state when it changed. Losing the compare-and-set to another process is no fault: its note counts.
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
		record, err := c.records.Get(ctx, clockKey)
		if err != nil {
			return fmt.Errorf("loading clock record: %w", err)
		}
		c.revision = record.Revision
		return nil
	case err != nil:
		return fmt.Errorf("noting the clock: %w", err)
	}
	c.revision, c.state = revision, next
	return nil
}
