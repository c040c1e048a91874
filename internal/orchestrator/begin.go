// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"slices"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

// beginRun plans a run if one is due and may begin. What stands before it is noted.
func (o *Orchestrator) beginRun(ctx context.Context, t *turn) error {
	s, entry, requests, seen := t.secret, t.entry, t.requests, t.seen
	if s.Elsewhere || s.Suspended {
		return nil
	}
	now := rotation.Situation{Entry: *entry, Policy: s.Policy, First: s.First, Requests: ids(requests), Compromised: t.compromised, Now: o.Now()}
	due := rotation.Due(now)
	if stop, again := windowHold(s, now, due); !stop.None() {
		seen.hold(stop, again) // unless another of its group wants a run
	}
	if s.Group != nil {
		joined, asked, all, err := o.grouped(ctx, s, entry, requests, due, seen)
		if joined || err != nil {
			return err
		}
		due, requests = asked, all
	}
	if due == nil {
		if entry.Retry != nil && seen.Waiting.None() {
			seen.hold(retryHold(s, entry.Retry), time.Time{})
		}
		return nil
	}
	subject := s.Subject
	if s.Stagger != nil && due.Kind != "first" && due.Kind != journal.Compromised {
		if err := o.Rotation.Ready(ctx, s.Subject); err != nil { // nothing outside is waited for under the lock
			seen.hold(reason.New(reason.UpstreamNotReady, nil).Because(s.Explained(err)), o.Now().Add(time.Minute))
			return nil
		}
		set := o.planningOf(s.Stagger.Set) // until the run is planned: two of a set never both find the way clear
		if err := set.Enter(ctx, outward.First); err != nil {
			return err
		}
		defer set.Leave()
		subject.PlanOnly = true
		stop, again, err := o.withinStaggerGap(ctx, s)
		if err != nil {
			return err
		}
		if !stop.None() {
			seen.hold(stop, again)
			return nil
		}
	}
	why := triggerOf(s, *due, requests)
	if s.Group != nil {
		carry(&why, entry)
	}
	timed := why.Kind == trigger.Time && s.Upstream != nil // without one no run begins
	if timed {
		if stop, again := o.holdTimed(t.jumped); !stop.None() {
			seen.hold(stop, again)
			return nil
		}
	}
	_, err := o.Rotation.Plan(ctx, subject, why)
	none := errors.Is(err, rotation.ErrNotNow) || errors.Is(err, rotation.ErrNotAllowed)
	if timed && (none || errors.Is(err, journal.ErrSuperseded)) {
		o.uncount() // no run began; after any other error one may have
	}
	switch {
	case none:
		why := s.reasonOf(err)
		if why.Is(reason.LookFailed) {
			why = reason.New(reason.RunNotPlanned, nil).Because(why.Cause)
		}
		seen.hold(why, soon(entry.QuietUntil, o.Now()))
		return nil
	case err == nil && s.Group != nil:
		o.wakeGroup(s) // its members join
	}
	return err
}

func triggerOf(s Secret, due rotation.Reason, requests []trigger.Request) journal.Trigger {
	why := journal.Trigger{Kind: due.Kind, By: "policy " + s.Policy.Name, Reason: due.Text}
	reported := false
	for _, request := range requests {
		if !reported { // what reports a compromise counts before all else, and that from when the first was made
			why.Kind, why.By, why.Reason = request.Kind, request.By, request.Reason
		}
		reported = reported || reportsCompromise(request)
		if reportsCompromise(request) && (why.At.IsZero() || request.At.Before(why.At)) {
			why.At = request.At
		}
		why.Requests = append(why.Requests, request.ID)
	}
	return why
}

// holdTimed says why the clock alone may start nothing now, and when it may, or counts one start.
func (o *Orchestrator) holdTimed(jumped string) (why reason.Reason, again time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.Now()
	o.timed = slices.DeleteFunc(o.timed, func(at time.Time) bool {
		return now.Sub(at) >= time.Hour || rotation.Ahead(at, now) // dated by a clock that ran ahead: it would count until then
	})
	if why, again = timedHold(jumped, o.timed, o.MaxTimedPerHour); why.None() {
		o.timed = append(o.timed, now)
	}
	return why, again
}

// uncount takes the newest count of a timed start back.
func (o *Orchestrator) uncount() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last := len(o.timed) - 1; last >= 0 {
		o.timed = o.timed[:last]
	}
}

func ids(requests []trigger.Request) []string {
	ids := make([]string, len(requests))
	for i, request := range requests {
		ids[i] = request.ID
	}
	return ids
}
