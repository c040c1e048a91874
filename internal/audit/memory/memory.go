// SPDX-License-Identifier: Apache-2.0

// Package memory is the in-memory double of the audit log, for simulation and tests. It keeps events in order, each
// (Run, Step) once, in the form in which the real log returns them. It has no goroutine, clock or randomness. It
// detects no changes, and keeps nothing after the process ends.
package memory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
)

// Log keeps events in memory. Its methods may be called at the same time.
type Log struct {
	clock func() time.Time

	mu     sync.Mutex
	events []audit.Event
	seen   map[id]bool
	steps  map[authority.RunID][]string
}

type id struct {
	run  authority.RunID
	step string
}

// New makes an empty log; clock dates events that carry no time.
func New(clock func() time.Time) *Log {
	return &Log{clock: clock, seen: map[id]bool{}, steps: map[authority.RunID][]string{}}
}

// Append adds e unless its (Run, Step) is there; it errors as the real log does on an invalid event.
func (l *Log) Append(ctx context.Context, e audit.Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("appending audit event: %w", err)
	}
	if e.At.IsZero() {
		e.At = l.clock()
	}
	line, err := audit.Encode(e)
	if err != nil {
		return err
	}
	settled, err := audit.Decode(line)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[id{settled.Run, settled.Step}] {
		return nil
	}
	l.seen[id{settled.Run, settled.Step}] = true
	l.events = append(l.events, settled)
	l.steps[settled.Run] = append(l.steps[settled.Run], settled.Step)
	return nil
}

// Events yields, in order, the events that filter selects of those in the log when it begins.
func (l *Log) Events(ctx context.Context, filter audit.Filter) iter.Seq2[audit.Event, error] {
	return func(yield func(audit.Event, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(audit.Event{}, fmt.Errorf("reading audit log: %w", err))
			return
		}
		l.mu.Lock()
		events := slices.Clone(l.events[min(filter.Skip, uint64(len(l.events))):])
		l.mu.Unlock()
		for _, e := range events {
			if e.Version != nil {
				version := *e.Version
				e.Version = &version
			}
			if filter.Match(e) && !yield(e, nil) {
				return
			}
		}
	}
}

// Steps returns the steps of one run on record, in order. It costs no walk over the events.
func (l *Log) Steps(run authority.RunID) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.steps[run])
}
