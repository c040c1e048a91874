// SPDX-License-Identifier: Apache-2.0

// Package worker is the machine's side of agents: it carries out orders with the machine's own consumers.
//
// Guaranteed: one order at a time for each consumer, in the order in which they came; those of different consumers beside each other, 16 at
// most. An order for another machine is refused. An order ends within its time: what its consumer began may go on after that.
//
// Cost: that of the consumers.
package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
)

const (
	// width is how many orders are carried out at once.
	width = 16
	// longest bounds an order that names no time.
	longest = 10 * time.Minute
)

// Machine is what a worker carries orders out with.
type Machine interface {
	// Open makes the adapter of a consumer. Its error says what this machine lacks.
	Open(spec v1alpha1.ConsumerSpec) (materialize.Consumer, error)
	// Leftovers are the files that were delivered once and are none of keep (FOLDER/PATH).
	Leftovers(ctx context.Context, keep []string) ([]agent.Left, error)
	// Clear removes one of them, if it is what was delivered: v, whose value may be lost.
	Clear(ctx context.Context, file string, v authority.Versioned) error
}

// Worker carries out the orders for one machine.
type Worker struct {
	name    string
	machine Machine
	now     func() time.Time
	slots   chan struct{}

	working sync.WaitGroup

	mu    sync.Mutex
	turns map[string]chan struct{} // by consumer: closed when the last order that came has ended
}

// New makes the worker of the machine that is called name; now is that machine's clock.
func New(name string, machine Machine, now func() time.Time) *Worker {
	return &Worker{name: name, machine: machine, now: now, slots: make(chan struct{}, width), turns: map[string]chan struct{}{}}
}

// Serve carries out orders until none comes any more or ctx ends, and gives each answer to answer, from several goroutines. What it began
// goes on until ctx ends: see Wait.
func (w *Worker) Serve(ctx context.Context, orders <-chan agent.Order, answer func(agent.Answer)) {
	for {
		select {
		case <-ctx.Done():
			return
		case order, more := <-orders:
			if !more {
				return
			}
			before, done := w.turn(key(order))
			w.working.Go(func() {
				defer done()
				if before != nil {
					select {
					case <-before:
					case <-ctx.Done():
						return
					}
				}
				select {
				case w.slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				defer func() { <-w.slots }()
				answer(w.Do(ctx, order))
			})
		}
	}
}

// Wait returns once all that was begun has ended.
func (w *Worker) Wait() { w.working.Wait() }

// key is what orders follow each other by.
func key(o agent.Order) string {
	if o.Consumer.File == nil {
		return string(o.Verb)
	}
	return o.Consumer.File.Folder + "/" + o.Consumer.File.Path
}

// turn is the end of the order before, nil when there is none, and how this one says that it has ended.
func (w *Worker) turn(key string) (before chan struct{}, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, mine := w.turns[key], make(chan struct{})
	w.turns[key] = mine
	return before, func() {
		close(mine)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.turns[key] == mine {
			delete(w.turns, key)
		}
	}
}

// Do carries out one order.
func (w *Worker) Do(ctx context.Context, o agent.Order) agent.Answer {
	within := o.Within
	if within <= 0 || within > longest {
		within = longest
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	a := agent.Answer{ID: o.ID}
	if err := w.carryOut(ctx, o, &a); err != nil {
		a = agent.Answer{ID: o.ID, Stale: errors.Is(err, materialize.ErrStale), Error: err.Error()}
	}
	a.Now = w.now()
	return a
}

func (w *Worker) carryOut(ctx context.Context, o agent.Order, a *agent.Answer) (err error) {
	switch o.Verb {
	case agent.Leftovers:
		a.Left, err = w.machine.Leftovers(ctx, o.Keep)
		return err
	case agent.Clear:
		return w.machine.Clear(ctx, o.File, o.Version)
	}
	if o.Consumer.Machine != w.name {
		return fmt.Errorf("the order is for machine %s, and this is %s", o.Consumer.Machine, w.name)
	}
	consumer, err := w.machine.Open(o.Consumer)
	if err != nil && o.Verb == agent.Prove { // a consumer that this machine cannot serve proves nothing
		a.Proof.Missing = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	switch o.Verb {
	case agent.Deliver:
		return consumer.Deliver(ctx, o.Version)
	case agent.Prove:
		a.Proof, err = consumer.Prove(ctx, o.Version)
		return err
	case agent.Holds:
		if holder, can := consumer.(materialize.Holder); can {
			a.Proof, err = holder.Holds(ctx, o.Version)
		} else {
			a.Proof, err = consumer.Prove(ctx, o.Version)
		}
		return err
	case agent.Given:
		if remembers, can := consumer.(materialize.Rememberer); can {
			a.Given, a.Known, err = remembers.Given(ctx, o.Version.Path)
		}
		return err
	case agent.Withdraw:
		return consumer.Withdraw(ctx, o.Version)
	}
	return fmt.Errorf("this agent does not know the order %q: the server is newer; install its version on this machine too", o.Verb)
}
