// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"slices"
	"strconv"
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
	now := rotation.Situation{Entry: *entry, Policy: s.Policy, First: s.First, Requests: ids(requests), Now: o.Now()}
	due := rotation.Due(now)
	if s.Upstream != nil && due == nil && rotation.BetweenWindows(now) {
		opening := opens(s.Policy.Windows, o.Now())
		seen.hold(reason.New(reason.MaintenanceWindow, nil).Till(opening), opening)
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
			seen.hold(retryOf(s, entry.Retry), time.Time{})
		}
		return nil
	}
	subject := s.Subject
	if s.Stagger != nil && due.Kind != "first" {
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
		seen.hold(why, o.soon(entry.QuietUntil))
		return nil
	case err == nil && s.Group != nil:
		o.wakeGroup(s) // its members join
	}
	return err
}

func triggerOf(s Secret, due rotation.Reason, requests []trigger.Request) journal.Trigger {
	why := journal.Trigger{Kind: due.Kind, By: "policy " + s.Policy.Name, Reason: due.Text}
	for _, request := range requests {
		why.Kind, why.By, why.Reason = request.Kind, request.By, request.Reason
		why.Requests = append(why.Requests, request.ID)
	}
	return why
}

func (o *Orchestrator) soon(at time.Time) time.Time {
	if now := o.Now(); at.Before(now) {
		return now.Add(time.Minute)
	}
	return at.Add(time.Millisecond)
}

// holdTimed says why the clock alone may start nothing now, and when it may, or counts one start.
func (o *Orchestrator) holdTimed(jumped string) (why reason.Reason, again time.Time) {
	if jumped != "" {
		return reason.New(reason.ClockJumped, nil).Because(jumped), again
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.Now()
	var recent []time.Time
	for _, at := range o.timed {
		if now.Sub(at) < time.Hour {
			recent = append(recent, at)
		}
	}
	o.timed = recent
	if len(recent) >= o.MaxTimedPerHour {
		again = slices.MinFunc(recent, time.Time.Compare).Add(time.Hour)
		return reason.New(reason.TimedRunsCapped, reason.Args{"count": strconv.Itoa(len(recent))}).Till(again), again
	}
	o.timed = append(o.timed, now)
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

func retryOf(s Secret, retry *journal.Retry) reason.Reason {
	if !retry.Held {
		return reason.New(reason.RetryLater, nil).Because(retry.Reason).Till(retry.NotBefore)
	}
	why := reason.New(reason.RetryHeld, reason.Args{"attempts": strconv.Itoa(retry.Attempts), "rotate": s.Subject.Secret}).Because(retry.Reason)
	if s.Escrow != nil { // it may need itself to be rotated
		why = why.With(reason.Args{"supply": s.Subject.Secret})
	}
	return why
}
