// SPDX-License-Identifier: Apache-2.0

// Package hub is the server's side of agents: it knows which are connected, sends them orders, and has a consumer for each file on
// their machines.
//
// Guaranteed: an order goes to the machine that its consumer names and to no other. One machine has one session: a newer one ends
// the one before. Whoever waits for an answer is told within moments when the session ends. An order whose caller has gone may still
// be carried out; consumers are idempotent, and refuse an older version.
//
// Not guaranteed: that an order which was sent is carried out. A session that broke tells nothing about its last orders.
//
// Cost: a goroutine for each session; nothing is written.
package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"custody.dev/custody/internal/agent"
)

// AwayError: no session of the machine's agent is open, so nobody can say what became of its files.
type AwayError struct {
	Machine string
	// Since is when its last session ended; zero when there was none since the server started.
	Since time.Time
}

func (e *AwayError) Error() string {
	if e.Since.IsZero() {
		return fmt.Sprintf("waiting for the agent on machine %s: it has not connected since the server started", e.Machine)
	}
	return fmt.Sprintf("waiting for the agent on machine %s: it has not been connected since %s", e.Machine, e.Since.UTC().Format(time.RFC3339))
}

// Hub has the sessions.
type Hub struct {
	// now is the server's clock, and arrived is called, outside of locks, after a session began.
	now     func() time.Time
	arrived func(machine string)

	mu     sync.Mutex
	at     map[string]*Session
	left   map[string]time.Time
	closed bool
}

// New makes a hub without sessions. arrived is told of each machine whose agent connected.
func New(now func() time.Time, arrived func(machine string)) *Hub {
	return &Hub{now: now, arrived: arrived, at: map[string]*Session{}, left: map[string]time.Time{}}
}

// Session is one agent that is connected, from Attach to End.
type Session struct {
	Machine string
	// Version is that of the agent's program, and Since when it connected.
	Version string
	Since   time.Time
	// Skew is how far the agent's clock is ahead of the server's.
	Skew time.Duration

	hub    *Hub
	orders chan agent.Order
	done   chan struct{}

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan agent.Answer
	ended   bool
}

// ErrClosed: the hub takes no sessions any more.
var ErrClosed = errors.New("the server is stopping")

// Attach begins a session of a machine's agent, and ends the one before it. The caller carries Orders to the agent and its answers to
// Answer, and calls End when the connection is gone.
func (h *Hub) Attach(machine, version string, clock time.Time) (*Session, error) {
	now := h.now()
	s := &Session{
		Machine: machine, Version: version, Since: now, hub: h, orders: make(chan agent.Order), done: make(chan struct{}), waiting: map[uint64]chan agent.Answer{},
	}
	if !clock.IsZero() {
		s.Skew = clock.Sub(now)
	}
	h.mu.Lock()
	before, closed := h.at[machine], h.closed
	if !closed {
		h.at[machine] = s
		delete(h.left, machine)
	}
	h.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if before != nil {
		before.End()
	}
	h.arrived(machine)
	return s, nil
}

// Orders are what is to be sent to the agent, until Done.
func (s *Session) Orders() <-chan agent.Order { return s.orders }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Answer takes what the agent answered. One to an order that nobody waits for any more is dropped.
func (s *Session) Answer(a agent.Answer) {
	s.mu.Lock()
	waits := s.waiting[a.ID]
	delete(s.waiting, a.ID)
	s.mu.Unlock()
	if waits != nil {
		waits <- a // it has room for one
	}
}

// End ends the session; whoever waits for an answer is told that the machine is away. Repeating it changes nothing.
func (s *Session) End() {
	s.mu.Lock()
	ended := s.ended
	s.ended = true
	s.mu.Unlock()
	if ended {
		return
	}
	s.hub.mu.Lock()
	if s.hub.at[s.Machine] == s {
		delete(s.hub.at, s.Machine)
		s.hub.left[s.Machine] = s.hub.now()
	}
	s.hub.mu.Unlock()
	close(s.done)
}

// Ask sends an order to a machine's agent and waits for its answer, until ctx ends. Its error is an *AwayError where no session is open
// or it ended first, and what the context ended with.
func (h *Hub) Ask(ctx context.Context, machine string, o agent.Order) (agent.Answer, error) {
	if err := ctx.Err(); err != nil {
		return agent.Answer{}, err
	}
	s := h.session(machine)
	if s == nil {
		return agent.Answer{}, h.away(machine)
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		o.Within = deadline.Sub(h.now())
	}
	answer := make(chan agent.Answer, 1)
	s.mu.Lock()
	s.last++
	o.ID = s.last
	s.waiting[o.ID] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, o.ID)
		s.mu.Unlock()
	}()
	select {
	case s.orders <- o:
	case <-s.done:
		return agent.Answer{}, h.away(machine)
	case <-ctx.Done():
		return agent.Answer{}, ctx.Err()
	}
	select {
	case a := <-answer:
		return a, nil
	case <-s.done:
		return agent.Answer{}, h.away(machine)
	case <-ctx.Done():
		return agent.Answer{}, ctx.Err()
	}
}

func (h *Hub) session(machine string) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[machine]
}

func (h *Hub) away(machine string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &AwayError{machine, h.left[machine]}
}

// At is the machine's session, nil where its agent is away; left is then when it was there last, zero for not since the server started.
func (h *Hub) At(machine string) (session *Session, left time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[machine], h.left[machine]
}

// Connected are the machines whose agents are connected now.
func (h *Hub) Connected() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var machines []string
	for machine := range h.at {
		machines = append(machines, machine)
	}
	return machines
}

// Close ends all sessions; no other begins.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	var open []*Session
	for _, s := range h.at {
		open = append(open, s)
	}
	h.mu.Unlock()
	for _, s := range open {
		s.End()
	}
}
