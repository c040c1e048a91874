// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// recordLimit bounds an append to the record, as a server does.
const recordLimit = 30 * time.Second

// recorder is the record as engines see it.
type recorder interface {
	Append(ctx context.Context, event audit.Event) error
}

// boundedRecord is the record whose appends are bounded.
type boundedRecord struct{ w *World }

func (r boundedRecord) Append(ctx context.Context, event audit.Event) error {
	_, err := outward.Do(ctx, r.w.calling, outward.Call{Part: "the record", Limit: recordLimit, Own: true}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, record(r).Append(ctx, event)
	})
	return err
}

// outside is the authority and the record as engines are given them.
func (w *World) outside() (authority.Store, recorder) {
	if w.calling == nil {
		return store{w}, record{w}
	}
	return outward.NewStore(store{w}, w.calling), boundedRecord{w}
}

// bounds are those of the calls to upstreams and consumers.
func (w *World) bounds() *outward.Calls {
	if w.calling == nil {
		return outward.Inline()
	}
	return w.calling
}

const (
	// stuckFor is how long a call is left stuck: longer than any limit of the engines, so that whoever waits for it then waits
	// for ever.
	stuckFor = 15 * time.Minute
	// boundOfLook is longer than any one bounded call with its grace takes, and the turn that it waits for.
	boundOfLook = 10 * time.Minute
	// pollEvery is how often a server looks for requests at least.
	pollEvery = 5 * time.Second
)

// Stuckness is what an estate came to in which one call did not return, not even when its context ended.
type Stuckness struct {
	// Calls are the names of those that were made until the first secret's request was served, and Hung whether the one that does not
	// return is among them.
	Calls map[string]bool
	Hung  bool
	// Waiting is what the secret whose run made the call waits for while it goes on.
	Waiting reason.Reason
	// Unended are the secrets of which one look waits for longer than any bound.
	Unended []string
	// Other is how long the rotation of another secret took meanwhile, 0 where it did not end.
	Other      time.Duration
	Checks     int
	Violations []string
}

// PlayStuck has one process with several workers, whose calls are bounded as a server bounds them, rotate a secret, and the first
// call of that name not return. Meanwhile another secret's rotation is asked for. Then the call returns, and all must come to rest. With
// lost the reply to apply is lost before. It must be called inside a synctest bubble.
func PlayStuck(declared Declaration, name string, lost bool) (Stuckness, error) {
	w := New(1)
	defer close(w.over)
	w.together, w.workers, w.calling, w.released = true, 4, outward.New(time.Now), make(chan struct{})
	w.reconcile = time.Hour // consumers are not looked at meanwhile: the first call of a name is the run's
	declared.Name = "stuck"
	s, err := w.Declare(declared)
	if err != nil {
		return Stuckness{}, err
	}
	beside := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	beside.Name = "other"
	other, err := w.Declare(beside)
	if err != nil {
		return Stuckness{}, err
	}
	ended := make(chan struct{})
	go w.keepAtIt(ended)
	if w.watchOver(settleWithin, w.Settled); !w.settled() {
		return Stuckness{}, fmt.Errorf("the secrets are not issued without faults")
	}
	got := Stuckness{Calls: map[string]bool{}}
	w.plan = func(_ int, call string) Fault {
		if !w.done["request-1"] {
			got.Calls[call] = true
		}
		switch {
		case lost && call == "apply":
			lost = false
			return LostReply
		case call == name && !got.Hung && !lost:
			got.Hung = true
			return Stuck
		}
		return None
	}
	if err := w.submit(s, "request-1"); err != nil {
		return Stuckness{}, err
	}
	w.lock.Lock()
	w.acknowledged["request-1"], w.counting = s.Path, true
	w.lock.Unlock()
	w.watchOver(settleWithin, func() bool { return got.Hung || w.done["request-1"] })
	began := time.Now()
	go w.ask(0, other, "request-2")
	w.watchOver(stuckFor, func() bool {
		if got.Other == 0 && w.done["request-2"] && w.entry(other.Path).Live == nil {
			got.Other = time.Since(began)
		}
		return false
	})
	process := w.process()
	got.Waiting = process.States()[s.Path].Waiting
	got.Unended, _ = process.Unended(boundOfLook)
	close(w.released)
	w.watchOver(settleWithin, func() bool { return len(w.acknowledged) == 2 && w.Settled() })
	w.lock.Lock()
	w.stopped, w.counting = true, false
	w.lock.Unlock()
	<-ended
	w.together = false
	w.Final()
	got.Checks = w.Checks
	for _, violation := range w.Violations {
		got.Violations = append(got.Violations, violation.String())
	}
	return got, nil
}

func (w *World) settled() bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.Settled()
}

// process is the one that works now.
func (w *World) process() *orchestrator.Orchestrator {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.running[len(w.running)-1].Orchestrator
}
