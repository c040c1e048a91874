// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
)

// Scenario is a workflow to break at every call.
type Scenario struct {
	Name string
	// Danger is what the scenario would show if the engines were wrong.
	Danger string
	Secret Declaration
	// With are more secrets. Those that are not derived rotate with Secret as one group.
	With []Declaration
	// Handover: the faults begin before the first tick. Otherwise the secret is issued first, and the faults begin with
	// a request to rotate it. Requests is how many follow each other, so that late effects of a run find the next one.
	Handover bool
	Requests int
	// Before happens once the secret is issued, Events while it is rotated.
	Before func(*World, *Secret)
	Events []Event
	// Rests holds when nothing more is to be expected, Settled unless set; Ending checks how it ended, Final unless set.
	Rests  func(*World, *Secret) bool
	Ending func(*World, *Secret)
}

// Schedule puts faults at calls, counted from 0 over all engines.
type Schedule map[int]Fault

// String replays: CALL:FAULT, in order.
func (s Schedule) String() string {
	var parts []string
	for _, call := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%d:%s", call, s[call]))
	}
	return strings.Join(parts, ",")
}

func (s Schedule) has(faults ...Fault) bool {
	for _, fault := range s {
		if slices.Contains(faults, fault) {
			return true
		}
	}
	return false
}

// Result of one schedule.
type Result struct {
	Calls      int
	Points     []Point // of the calls counted, for schedules of one fault at most
	Checks     int
	Faulted    int
	Violations []invariant.Violation
}

// settleWithin is the virtual time a schedule may take to come to rest.
const settleWithin = 6 * time.Hour

// Bench plays scenarios. It remembers nothing of them but which journal records it has decoded. One goroutine uses it.
type Bench struct{ decoded map[version]*journal.Held }

// Play runs a scenario under a schedule. It must be called inside a synctest bubble.
func (b *Bench) Play(scenario Scenario, schedule Schedule) (Result, error) {
	w := New(1)
	if len(b.decoded) > 10_000 || b.decoded == nil {
		b.decoded = map[version]*journal.Held{}
	}
	w.decoded = b.decoded
	w.keep, w.plain = len(schedule) <= 1, len(schedule) == 0
	defer close(w.over)
	if w.plain || schedule.has(StaleByOne, StaleByMinute) {
		w.store.Remember(staleFor)
	}
	s, err := w.Declare(scenario.Secret)
	if err != nil {
		return Result{}, err
	}
	members, err := w.group(s, scenario.With)
	if err != nil {
		return Result{}, err
	}
	w.plan = func(call int, _ string) Fault { return schedule[call] }
	for _, event := range scenario.Events {
		event.of = members[event.Member]
		w.events = append(w.events, event)
	}
	if schedule.has(LostAtOnce, LostSoon, LostAndDown) {
		for _, member := range members {
			w.events = append(w.events, Event{When: lostRecord, Do: mend, of: member}, Event{When: lostCandidate, Do: mendCandidate, of: member})
		}
	}
	if !scenario.Handover {
		if w.drive(time.Now().Add(settleWithin), w.Settled); !w.Settled() {
			return Result{}, errors.New("the secret is not issued without faults")
		}
	}
	if scenario.Before != nil {
		scenario.Before(w, s)
	}
	rests := w.Settled
	if scenario.Rests != nil {
		rests = func() bool { return scenario.Rests(w, s) }
	}
	w.counting = true
	for range scenario.Requests {
		if err := w.Request(s); err != nil {
			return Result{}, err
		}
		if w.drive(time.Now().Add(settleWithin), func() bool { return w.served(s) || rests() }); !w.served(s) {
			break
		}
	}
	w.drive(time.Now().Add(settleWithin), rests)
	w.counting = false
	if scenario.Ending != nil {
		if !rests() {
			w.violate("converges", s, "it did not come to rest in the time allowed")
		}
		scenario.Ending(w, s)
		w.check(s.Path, "")
	} else {
		w.Final()
	}
	return Result{w.calls, w.points, w.Checks, w.Faulted, w.Violations}, nil
}

// served holds once no request is open and no run live, however early: late effects may still be on their way.
func (w *World) served(s *Secret) bool {
	if len(w.secrets) > 1 && !w.Settled() {
		return false
	}
	return w.entry(s.Path).Live == nil && len(w.openRequests()) == 0
}
