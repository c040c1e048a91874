// SPDX-License-Identifier: Apache-2.0

// Package outward limits calls to parts outside the engine (upstreams, consumers, the authority, the record), so that a
// call that never returns stops nothing but itself.
//
// Guaranteed: the caller gets an answer within the call's limit and Grace, whatever the part does with its context.
// While a call that was given up is still running, no other call to the same part starts. The parts of one group, which
// fail together, have at most Width calls at a time, including those that were given up; Kept of these are reserved for
// work that is past its first steps. The answer of a call that was given up is dropped.
//
// Not guaranteed: that a call that was given up has no effect. Its error is Unanswered, which says nothing about the
// effect; only ErrNotBegun says that there was none.
//
// Cost: a call takes a goroutine and a timer. A part that never returns keeps one goroutine until the process ends.
package outward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// Width is how many calls of one group go on at once.
	Width = 8
	// Kept is how many of them only work past its first steps may take.
	Kept = 2
	// Patience is how long a call waits for its turn within its group.
	Patience = time.Minute
	// Grace is how long after its limit a call may take to say how it ended.
	Grace = 5 * time.Second
)

// ErrNotBegun: the part was not called, so nothing was changed by this call. ErrBusy, ErrUnended and ErrChanged are the
// reasons.
var (
	ErrNotBegun = errors.New("not begun")
	ErrBusy     = fmt.Errorf("its turn did not come: %w", ErrNotBegun)
	ErrUnended  = fmt.Errorf("an earlier call to it was given up and has not ended: %w", ErrNotBegun)
	ErrChanged  = fmt.Errorf("the estate, or what is granted, has changed; it is looked at again: %w", ErrNotBegun)
)

// Unanswered is the error of a call that was given up: whether it took or takes effect is not known.
type Unanswered struct{ After time.Duration }

// Error says how long the part was waited for.
func (u *Unanswered) Error() string {
	return fmt.Sprintf("it did not answer within %s and did not end when it was told to", u.After)
}

// Unwrap says that a deadline passed.
func (u *Unanswered) Unwrap() error { return context.DeadlineExceeded }

// GoesOn reports whether err says that a call may still be on its way.
func GoesOn(err error) bool {
	_, unanswered := errors.AsType[*Unanswered](err)
	return unanswered || errors.Is(err, ErrUnended)
}

// Call is one call to a part.
type Call struct {
	// Part tells who is called from all others, under every estate and in every process. Calls that were given up are kept
	// apart by it.
	Part string
	// Group are the parts that fail together: a server, a folder. "" is a part by itself, without a bound of its own.
	Group string
	Rank  Rank
	// Limit bounds the call.
	Limit time.Duration
	// Own is a part of Custody itself, which is called whatever has changed; see While.
	Own bool
}

type whileKey struct{}

// While returns a context under which calls begin, their turn come, only while holds says so; else they fail with
// ErrChanged. It is asked before each.
func While(ctx context.Context, holds func() bool) context.Context {
	return context.WithValue(ctx, whileKey{}, holds)
}

func changedSince(ctx context.Context, call Call) bool {
	holds, asked := ctx.Value(whileKey{}).(func() bool)
	return asked && !call.Own && !holds()
}

// Account is the part that one secret's upstream is.
func Account(path string) string { return "upstream of " + path }

// Reader is the part that one of a secret's consumers is.
func Reader(path, consumer string) string { return "consumer " + consumer + " of " + path }

// Calls keeps calls apart. It is safe for concurrent use.
type Calls struct {
	now    func() time.Time
	inline bool // see Inline

	mu      sync.Mutex
	gates   map[string]*Gate
	givenUp map[string]*late // by part
	going   map[*Turn]struct{}
}

// late are the calls to one part that were given up and have not ended.
type late struct {
	since time.Time // when the first of them began
	calls int
}

// New returns the calls of one process.
func New(now func() time.Time) *Calls {
	return &Calls{now: now, gates: map[string]*Gate{}, givenUp: map[string]*late{}, going: map[*Turn]struct{}{}}
}

// Inline returns calls that are made on their caller's goroutine and end when the part ends them: for a simulation of one
// goroutine, whose parts end every call at its deadline, and whose process stands still as a whole.
func Inline() *Calls { return &Calls{inline: true} }

// Do makes one call: fn is handed a context that ends at the limit. The error of a call that was not begun is ErrNotBegun,
// of one that was given up Unanswered, else fn's.
func Do[T any](ctx context.Context, calls *Calls, call Call, fn func(context.Context) (T, error)) (T, error) {
	turn, err := calls.Enter(ctx, call)
	if err != nil {
		var zero T
		return zero, err
	}
	return Run(ctx, turn, call.Limit, fn)
}

// Turn is the right to make one call. Run or Leave ends it.
type Turn struct {
	calls *Calls
	call  Call
	gate  *Gate // nil without a group
	left  sync.Once
	began time.Time
	ran   bool // Run makes the call, and its end leaves

	over, givenUp bool // guarded by calls.mu
}

// Enter waits for the turn of a call, for Patience at most. Its errors are ErrNotBegun, and ctx's.
func (c *Calls) Enter(ctx context.Context, call Call) (*Turn, error) {
	turn := &Turn{calls: c, call: call}
	if c.inline {
		if changedSince(ctx, call) {
			return nil, ErrChanged
		}
		return turn, ctx.Err()
	}
	if err := c.unended(call.Part); err != nil {
		return nil, err
	}
	if turn.gate = c.gate(call.Group); turn.gate != nil {
		waiting, cancel := context.WithTimeout(ctx, Patience)
		err := turn.gate.Enter(waiting, call.Rank)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", ErrNotBegun, ctx.Err())
		case err != nil:
			return nil, fmt.Errorf("%d other calls to %s are under way: %w", Width, call.Group, ErrBusy)
		}
	}
	if err := c.unended(call.Part); err != nil { // it was given up while this one waited
		turn.Leave()
		return nil, err
	}
	if changedSince(ctx, call) {
		turn.Leave()
		return nil, ErrChanged
	}
	return turn, nil
}

// Leave gives up a turn of which nothing was made, and does nothing after Run.
func (t *Turn) Leave() {
	if !t.ran {
		t.leave()
	}
}

func (t *Turn) leave() {
	t.left.Do(func() {
		if t.gate != nil {
			t.gate.Leave()
		}
	})
}

func (c *Calls) gate(group string) *Gate {
	if group == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	gate := c.gates[group]
	if gate == nil {
		gate = NewGate(Width, Kept)
		c.gates[group] = gate
	}
	return gate
}

func (c *Calls) unended(part string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if out := c.givenUp[part]; out != nil {
		return fmt.Errorf("since %s: %w", out.since.UTC().Format(time.RFC3339), ErrUnended)
	}
	return nil
}

// answer is how a call ended.
type answer[T any] struct {
	value T
	err   error
	fault any // what it panicked with
}

// Run makes the call that t is the turn of; see Do.
func Run[T any](ctx context.Context, t *Turn, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	if t.calls.inline {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return fn(bounded)
	}
	t.ran = true
	outside, back := away(ctx)
	defer back()
	bounded, cancel := context.WithTimeout(outside, limit)
	t.begin()
	ended := make(chan answer[T], 1)
	go func() {
		a := answer[T]{err: errors.New("the call ended without an answer")}
		defer func() {
			a.fault = recover()
			cancel()
			t.end()
			ended <- a
		}()
		a.value, a.err = fn(bounded)
	}()
	select {
	case a := <-ended:
		return a.result()
	case <-bounded.Done():
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), Grace)
	defer done()
	select {
	case a := <-ended:
		return a.result()
	case <-last.Done():
	}
	if !t.giveUp() { // it ended after all
		a := <-ended
		return a.result()
	}
	var zero T
	return zero, &Unanswered{limit}
}

func (a answer[T]) result() (T, error) {
	if a.fault != nil {
		panic(a.fault)
	}
	return a.value, a.err
}

// begin notes that the call is made.
func (t *Turn) begin() {
	t.calls.mu.Lock()
	defer t.calls.mu.Unlock()
	t.began = t.calls.now()
	t.calls.going[t] = struct{}{}
}

// Oldest returns when the oldest call to a part that goes on began, whether or not it was given up; zero when none goes on.
func (c *Calls) Oldest(part string) (began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for turn := range c.going {
		if turn.call.Part == part && (began.IsZero() || turn.began.Before(began)) {
			began = turn.began
		}
	}
	return began
}

// end notes that the call has ended.
func (t *Turn) end() {
	c := t.calls
	c.mu.Lock()
	t.over = true
	delete(c.going, t)
	if out := c.givenUp[t.call.Part]; t.givenUp {
		if out.calls--; out.calls == 0 {
			delete(c.givenUp, t.call.Part)
		}
	}
	c.mu.Unlock()
	t.leave()
}

// giveUp notes that nobody waits for the call any more, and reports whether it still goes on.
func (t *Turn) giveUp() bool {
	c := t.calls
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.over {
		return false
	}
	t.givenUp = true
	out := c.givenUp[t.call.Part]
	if out == nil {
		out = &late{since: t.began}
		c.givenUp[t.call.Part] = out
	}
	out.calls++
	return true
}
