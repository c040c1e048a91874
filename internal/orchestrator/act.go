// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

// act hands s over, starts and advances its run, or keeps its consumers, whichever comes first in that order.
func (o *Orchestrator) act(ctx context.Context, s Secret, requests []trigger.Request, jumped string, seen *State) error {
	held, err := o.Held(ctx, s)
	if err != nil {
		return err
	}
	if !held.None() {
		seen.hold(held, o.sweepAfter(s.Path, o.Now()))
		return nil
	}
	if seen.pinned != seen.declared {
		if held, err = o.admit(ctx, s); err != nil {
			return err
		}
		if !held.None() {
			seen.hold(held, o.sweepAfter(s.Path, o.Now()))
			return nil
		}
		seen.pinned = seen.declared
	}
	if s.Derived != nil {
		return o.derive(ctx, s, seen)
	}
	if s.Handover != nil && !seen.handedOver {
		if err := o.Handover.Run(ctx, *s.Handover); err != nil {
			return err
		}
		seen.handedOver = true // a tombstone is never taken back
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	if requests, err = o.served(ctx, s, entry, requests); err != nil {
		return err
	}
	if entry.Live == nil {
		if err := o.declare(ctx, s, entry); err != nil {
			return err
		}
		if err := o.enforce(ctx, s, entry); err != nil {
			return err
		}
		if err := o.start(ctx, s, entry, requests, jumped, seen); err != nil {
			return err
		}
	}
	outlook, err := o.Rotation.Advance(ctx, s.Subject)
	if err != nil {
		return err
	}
	seen.rank = outlook.Rank
	if outlook.Run != "" {
		seen.kept = time.Time{}
		seen.Again = outlook.Again
		if outlook.Ended != "" {
			seen.Again = o.Now() // close its requests, keep its consumers
			o.wakeRelated(s)
			return nil
		}
		seen.Waiting = outlook.Waiting
		if s.Group != nil {
			return o.tellGroup(ctx, s, seen)
		}
		return nil
	}
	return o.keep(ctx, s, seen)
}

// derive rebuilds what is computed from others, when they changed, and keeps its consumers.
func (o *Orchestrator) derive(ctx context.Context, s Secret, seen *State) error {
	if s.Suspended {
		return o.keep(ctx, s, seen)
	}
	before, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	stop, err := o.Derivation.Rebuild(ctx, *s.Derived)
	if err != nil {
		return err
	}
	after, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	if after.Current != nil && (before.Current == nil || *before.Current != *after.Current) {
		seen.kept = time.Time{}
	}
	if stop.None() {
		return o.keep(ctx, s, seen)
	}
	seen.hold(stop, o.sweepAfter(s.Path, o.Now()))
	if after.Current == nil {
		return nil
	}
	err = o.keep(ctx, s, seen)
	seen.Waiting = stop
	return err
}

// served closes the requests that the last run took, if it completed or a person aborted it, and returns the others. A
// member's may have been taken by a run of its group's leader that was aborted before the member joined.
func (o *Orchestrator) served(ctx context.Context, s Secret, entry *journal.Entry, requests []trigger.Request) ([]trigger.Request, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	by := map[string]authority.RunID{}
	if s.Group != nil && s.Path != s.Group.Leader {
		leader, err := o.Journal.Load(ctx, s.Group.Leader)
		if err != nil {
			return nil, err
		}
		if leader.Last != nil && leader.Last.Aborted {
			serve(by, leader.Last)
		}
	}
	if last := entry.Last; last != nil && last.Workflow == journal.Rotation && (last.Result == "completed" || last.Aborted) {
		serve(by, last)
	}
	var open []trigger.Request
	for _, request := range requests {
		run, taken := by[request.ID]
		if !taken {
			open = append(open, request)
			continue
		}
		if err := o.Queue.Close(ctx, request.ID, run); err != nil {
			return nil, err
		}
	}
	return open, nil
}

func serve(by map[string]authority.RunID, last *journal.Outcome) {
	for _, id := range last.Trigger.Requests {
		by[id] = last.Run
	}
}

// declare notes the end of life that the estate declares, and which version it is about.
func (o *Orchestrator) declare(ctx context.Context, s Secret, entry *journal.Entry) error {
	if entry.Current == nil || !entry.Declare(s.ExpiresAt) {
		return nil
	}
	return o.Journal.Save(ctx, entry)
}

// enforce brings the enforced policy up to the declared one. The journal says that the record of it is owed until it is
// in.
func (o *Orchestrator) enforce(ctx context.Context, s Secret, entry *journal.Entry) error {
	if entry.Current == nil {
		return nil
	}
	if entry.Enforcing == "" {
		if entry.Policy != nil && reflect.DeepEqual(*entry.Policy, s.Policy) && entry.Secret == s.Secret {
			return nil
		}
		policy := s.Policy
		entry.Rename(s.Secret)
		entry.Policy, entry.Enforcing = &policy, o.NewRun()
		if err := o.Journal.Save(ctx, entry); err != nil {
			return err
		}
	}
	err := o.Record.Append(ctx, audit.Event{
		Run: entry.Enforcing, Step: "policy-enforced", Workflow: "operation", Secret: entry.Secret, Path: s.Path,
		By: "estate", Reason: "declared policy " + entry.Policy.Name, Result: "ok", At: o.Now(),
	})
	if err != nil {
		return err
	}
	entry.Enforcing = ""
	if err := o.Journal.Save(ctx, entry); err != nil {
		return err
	}
	return o.enforce(ctx, s, entry) // it may have been that of an earlier process
}

// start plans a run when one is due and may begin.
func (o *Orchestrator) start(ctx context.Context, s Secret, entry *journal.Entry, requests []trigger.Request, jumped string, seen *State) error {
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
		if stop, again := o.holdTimed(jumped); !stop.None() {
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

// keep has every consumer hold the version of record and be told so, and names what was found to differ. What fails is
// tried again soon, by the look's back-off.
func (o *Orchestrator) keep(ctx context.Context, s Secret, seen *State) error {
	now := o.Now()
	doubted := seen.doubted
	seen.doubted = false
	early := seen.checkAt.IsZero() || now.Before(seen.checkAt)
	if !doubted && early && !seen.kept.IsZero() && now.Before(seen.sweep) {
		seen.Again = o.again(ctx, s, seen)
		return nil
	}
	held, err := o.Values.Read(ctx, s.Path)
	lost := errors.Is(err, authority.ErrNotFound)
	if err != nil && !lost {
		return err
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	unclean := o.Rotation.Clean(ctx, entry) // the process that closed the last run may have died over it; consumers do not wait for that
	switch {
	case entry.Live != nil:
		if finishes(s, entry.Live) { // another engine is at it
			seen.Again = now.Add(time.Minute)
		} else {
			seen.hold(reason.New(reason.RunUnfinished, reason.Args{"run": string(entry.Live.ID), "workflow": string(entry.Live.Workflow)}), time.Time{})
		}
	case lost && entry.Current != nil && entry.RecoveryNow() == nil:
		seen.hold(gone(entry), time.Time{})
	case !lost && (entry.Current == nil || *entry.Current != held.ID):
		return &reason.Error{Reason: foreign(s)}
	}
	recovery := entry.RecoveryNow()
	if recovery != nil && seen.Waiting.None() {
		seen.hold(recovery.Reason, time.Time{})
	}
	if entry.Live != nil || lost || recovery != nil {
		seen.Again = o.again(ctx, s, seen)
		return unclean
	}
	steady := !seen.kept.IsZero() // consumers held this version when they were last looked at
	if steady || seen.failures == 0 {
		seen.Drift = reason.Reason{} // else it is what the look that failed found
	}
	rank := outward.First
	if s.Derived != nil && !steady { // the run of an input may wait for it
		rank = outward.Begun
	}
	var faults []string
	drifted := map[string]string{}
	for _, consumer := range s.Consumers {
		proof, err := o.Rotation.Prove(ctx, s.Subject, consumer, held, rank)
		if err == nil && proof.Version == held.ID && proof.Level >= materialize.Delivered {
			continue
		}
		if _, derived := consumer.Consumer.(*derivation.Dependent); err == nil && steady && !derived { // what is computed has its own looks
			seen.Drift = reason.New(reason.ConsumerDrifted, reason.Args{"consumer": consumer.Name()}).Because(proof.Missing)
			drifted[consumer.Name()] = fmt.Sprintf("it held %s where %s was delivered%s", holds(proof.Version), held.ID, suffix(proof.Missing))
			if seen.drifted[consumer.Name()] != drifted[consumer.Name()] { // somebody who does it again and again is recorded once
				seen.owed = append(seen.owed, audit.Event{
					Run: o.NewRun(), Step: "drifted", Workflow: "operation", Secret: s.Subject.Secret, Path: s.Path, Version: &held.ID,
					Consumer: consumer.Name(), By: "somebody else", Reason: "a consumer is kept on the version of record", Result: "failed",
					Detail: drifted[consumer.Name()], At: now,
				})
			}
		}
		if err := o.Rotation.Deliver(ctx, s.Subject, consumer, held, rank); err != nil {
			faults = append(faults, consumer.Name()+": "+err.Error())
		}
	}
	if steady || seen.failures == 0 {
		seen.drifted = drifted
	}
	unchecked := o.ends(ctx, entry, held)
	if unchecked == nil {
		unchecked = o.check(ctx, s, entry, held, seen)
	}
	if err := o.settleOwed(ctx, seen); err != nil {
		faults = append(faults, err.Error())
	}
	if len(faults) > 0 {
		seen.kept = time.Time{}
		return &reason.Error{Doing: "delivering " + s.Secret, Reason: reason.New(reason.DeliveryFailed, nil).Because(strings.Join(faults, "; "))}
	}
	if unchecked != nil {
		return unchecked
	}
	seen.kept, seen.sweep = now, now
	if unclean == nil { // else the next look tries that again
		seen.sweep = o.sweepAfter(s.Path, now)
	}
	seen.Again = o.again(ctx, s, seen)
	return unclean
}

// gone says that the value on record is not there.
func gone(entry *journal.Entry) reason.Reason {
	return reason.New(reason.ValueGone, reason.Args{"version": entry.Current.String()})
}

// foreign says that the value that is there is not the one on record.
func foreign(s Secret) reason.Reason {
	return reason.New(reason.ValueForeign, reason.Args{"path": string(s.Path)})
}

// settleOwed puts on record what is not there yet. What fails is owed until the next look.
func (o *Orchestrator) settleOwed(ctx context.Context, seen *State) error {
	for len(seen.owed) > 0 {
		if err := o.Record.Append(ctx, seen.owed[0]); err != nil {
			return fmt.Errorf("recording that %s drifted: %w", seen.owed[0].Consumer, err)
		}
		seen.owed = seen.owed[1:]
	}
	return nil
}

// holds says what a consumer holds; the zero version is something that nobody delivered, or nothing.
func holds(version authority.VersionID) string {
	if version == (authority.VersionID{}) {
		return "nothing that was delivered"
	}
	return version.String()
}

// finishes reports whether the secret, as it is declared, has what takes its live run to the end.
func finishes(s Secret, live *journal.Run) bool {
	switch live.Workflow {
	case journal.Handover:
		return s.Handover != nil
	case journal.Derivation:
		return s.Derived != nil
	}
	return true
}

func suffix(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// again is the earliest of what start asked for, the next look at consumers, the next sign-in with the value of record, the
// next due time, and once that has passed the next opening of a maintenance window.
func (o *Orchestrator) again(ctx context.Context, s Secret, seen *State) time.Time {
	now := o.Now()
	next := o.sweepAfter(s.Path, now)
	if !seen.Again.IsZero() && seen.Again.Before(next) {
		next = seen.Again
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return now.Add(time.Second)
	}
	if due, timed := rotation.NextDue(*entry, s.Policy); timed {
		if !due.After(now) {
			due = opens(s.Policy.Windows, now)
		}
		if due.After(now) && due.Before(next) {
			next = due
		}
	}
	if entry.Retry != nil && entry.Retry.NotBefore.After(now) && entry.Retry.NotBefore.Before(next) {
		next = entry.Retry.NotBefore
	}
	seen.checkAt = time.Time{}
	if due, on := o.nextCheck(s, entry, seen); on {
		seen.checkAt = due
		if due.After(now) && due.Before(next) {
			next = due
		}
	}
	return next
}
