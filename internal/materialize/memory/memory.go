// SPDX-License-Identifier: Apache-2.0

// Package memory is a consumer in memory, for simulations and tests: a place that has a version, and a process that
// runs on what it last read there.
//
// It is deterministic: everything follows from the calls and the clock. It simulates what real consumers do to a run: a
// reload that takes time, is ignored or fails; proofs that are out of date; a place that accepts nothing for a while;
// and a place that somebody else changes. It has no goroutine and survives its engine: share one between two engines to
// simulate a restart or two leaders. No program links it.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
)

var (
	// ErrRefusing: the consumer takes nothing at the moment; nothing was changed.
	ErrRefusing = errors.New("the consumer takes no delivery at the moment")
	// ErrReload: the version is held, and the process was not told.
	ErrReload = errors.New("the version is in place, but the process could not be told to reload")
)

// Config describes one consumer.
type Config struct {
	Name string
	// Highest level it proves: Delivered, Rolled or Observed. The zero level is Rolled.
	Highest materialize.Level
	// ReloadDelay is the time from a delivery to the process running on it.
	ReloadDelay time.Duration
	// IgnoresReload: the process keeps what it read until Restart.
	IgnoresReload bool
	// ProofDelay is the age of what Prove answers.
	ProofDelay time.Duration
	// Unfit says why a value can never be delivered; nil when each can.
	Unfit func(secret.Value) error
	// Clock is the virtual time; it must not go back.
	Clock func() time.Time
}

// state is what can be seen from outside at one moment.
type state struct {
	at            time.Time
	held, running authority.Versioned
	drifted       bool
	untold        bool // the reload for held was not done
}

// Consumer holds one secret's version and runs a process on it. It may be used by several engines at once.
type Consumer struct {
	config Config

	mu      sync.Mutex
	now     state
	past    []state // in order of time, each in force until the next; for ProofDelay
	newest  authority.Versioned
	image   state // as it was before the last delivery
	ran     authority.VersionID
	since   time.Time   // when the process began to run on ran
	due     []time.Time // reloads on their way, in order
	refuse  time.Time
	ignores bool
	fails   bool
	reloads int
}

var (
	_ materialize.Consumer   = (*Consumer)(nil)
	_ materialize.Rememberer = (*Consumer)(nil)
)

// New makes a consumer that holds nothing.
func New(config Config) *Consumer {
	if config.Highest == materialize.None {
		config.Highest = materialize.Rolled
	}
	return &Consumer{config: config, ignores: config.IgnoresReload}
}

// Name tells this consumer from the secret's others.
func (c *Consumer) Name() string { return c.config.Name }

// Highest is as configured.
func (c *Consumer) Highest() materialize.Level { return c.config.Highest }

// Fits is as configured.
func (c *Consumer) Fits(v secret.Value) error {
	if c.config.Unfit == nil {
		return nil
	}
	return c.config.Unfit(v)
}

// Deliver holds v and tells the process to reload. After ErrReload it does so again when it is called again.
func (c *Consumer) Deliver(ctx context.Context, v authority.Versioned) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delivering to %q: %w", c.config.Name, err)
	}
	if err := c.Fits(v.Value); err != nil {
		return fmt.Errorf("delivering to %q: %w", c.config.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.advance()
	switch {
	case now.Before(c.refuse):
		return fmt.Errorf("delivering to %q: %w", c.config.Name, ErrRefusing)
	case c.newest.Path == v.Path && c.newest.ID.Incarnation == v.ID.Incarnation && v.ID.Number < c.newest.ID.Number:
		return fmt.Errorf("delivering to %q: %w", c.config.Name, materialize.ErrStale)
	case !c.now.untold && same(c.now.held, v):
		return nil
	}
	c.newest, c.image = v, c.now
	c.now.held, c.now.drifted, c.now.untold = v, false, c.fails
	c.record(now)
	c.reloads++
	if c.fails {
		return fmt.Errorf("delivering to %q: %w", c.config.Name, ErrReload)
	}
	c.due = append(c.due, now.Add(c.config.ReloadDelay))
	c.advance()
	return nil
}

// Given implements materialize.Rememberer.
func (c *Consumer) Given(_ context.Context, path authority.Path) (authority.VersionID, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest.Path != path {
		return authority.VersionID{}, false, nil
	}
	return c.newest.ID, true, nil
}

// Prove answers as things were ProofDelay ago.
func (c *Consumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	if err := ctx.Err(); err != nil {
		return materialize.Proof{}, fmt.Errorf("proving %q: %w", c.config.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.advance().Add(-c.config.ProofDelay)
	seen := c.before(at)
	proof := materialize.Proof{At: at.UTC(), Evidence: "what the consumer held and ran on at that time"}
	switch {
	case seen.drifted:
		proof.Drift = "what is held was changed from elsewhere"
		proof.Missing = proof.Drift
		return proof, nil
	case seen.held.Value.Empty():
		proof.Missing = "delivery"
		return proof, nil
	case seen.untold:
		if proof.Missing = "delivery"; same(seen.held, v) {
			proof.Missing = "the reload"
		}
		return proof, nil
	}
	proof.Version, proof.Level = seen.held.ID, materialize.Delivered
	switch {
	case !same(seen.held, v):
		proof.Missing = "delivery"
	case c.config.Highest <= materialize.Delivered:
	case !same(seen.running, v):
		proof.Missing = "the reload"
	default:
		proof.Level = c.config.Highest
	}
	return proof, nil
}

// Withdraw takes away what is held of v's secret. The process keeps what it read.
func (c *Consumer) Withdraw(ctx context.Context, v authority.Versioned) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("withdrawing from %q: %w", c.config.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.advance()
	switch {
	case now.Before(c.refuse):
		return fmt.Errorf("withdrawing from %q: %w", c.config.Name, ErrRefusing)
	case c.now.held.Path != v.Path:
		return nil
	}
	c.newest = authority.Versioned{}
	c.now.held, c.now.drifted, c.now.untold = authority.Versioned{}, false, false
	c.due = nil
	c.record(now)
	return nil
}

// Held is what is delivered now; the zero VersionID when that is nothing or was put there from elsewhere.
func (c *Consumer) Held() (authority.VersionID, secret.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.now.held.ID, c.now.held.Value
}

// Running is what the process runs on now.
func (c *Consumer) Running() (authority.VersionID, secret.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.now.running.ID, c.now.running.Value
}

// Since is when the process began to run on the version that it runs on; zero while it runs on none.
func (c *Consumer) Since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.since
}

// FallBack restores the consumer to what it held, and ran on, before its last delivery, as one does that is started from an
// older image. It has forgotten that it was ever delivered more.
func (c *Consumer) FallBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.advance()
	c.now, c.newest, c.due = c.image, c.image.held, nil
	c.record(now)
}

// Reloads counts how often the process was told to reload, or failed to be.
func (c *Consumer) Reloads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reloads
}

// RefuseUntil makes Deliver fail with ErrRefusing before t.
func (c *Consumer) RefuseUntil(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = t
}

// FailReloads sets whether reloads fail from now on.
func (c *Consumer) FailReloads(fail bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails = fail
}

// IgnoreReloads sets whether the process ignores reloads from now on.
func (c *Consumer) IgnoreReloads(ignore bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.ignores = ignore
}

// Restart has the process read what is held, as a new process does.
func (c *Consumer) Restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.advance()
	c.now.running = c.now.held
	c.record(now)
}

// Tamper replaces what is held from elsewhere, telling nobody.
func (c *Consumer) Tamper(with secret.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.advance()
	c.now.held = authority.Versioned{Value: with}
	c.now.drifted = true
	c.record(now)
}

// advance carries out the reloads that are due and returns the time.
func (c *Consumer) advance() time.Time {
	now := c.config.Clock()
	for len(c.due) > 0 && !c.due[0].After(now) {
		if !c.ignores {
			c.now.running = c.now.held
			c.record(c.due[0])
		}
		c.due = c.due[1:]
	}
	return now
}

// record remembers the state from at on, for as long as a proof may still be about an earlier one.
func (c *Consumer) record(at time.Time) {
	if c.ran != c.now.running.ID {
		c.ran, c.since = c.now.running.ID, at
	}
	c.now.at = at
	if c.config.ProofDelay == 0 {
		return
	}
	c.past = append(c.past, c.now)
	horizon := at.Add(-c.config.ProofDelay)
	for len(c.past) > 1 && !c.past[1].at.After(horizon) {
		c.past = c.past[1:]
	}
}

func (c *Consumer) before(at time.Time) state {
	if c.config.ProofDelay == 0 {
		return c.now
	}
	var seen state
	for _, s := range c.past {
		if s.at.After(at) {
			break
		}
		seen = s
	}
	return seen
}

func same(a, b authority.Versioned) bool {
	return a.Path == b.Path && a.ID == b.ID && a.Value.Equal(b.Value)
}
