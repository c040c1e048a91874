// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

// act hands s over, starts and advances its run, or keeps its consumers, whichever comes first in that order.
func (o *Orchestrator) act(ctx context.Context, s Secret, requests []trigger.Request, jumped string, seen *State) error {
	held, err := o.Held(ctx, s)
	if err != nil {
		return err
	}
	if held != "" {
		seen.hold(wait{reason: held, until: o.sweepAfter(s.Path, o.Now())})
		return nil
	}
	if seen.pinned != seen.declared {
		if held, err = o.admit(ctx, s); err != nil {
			return err
		}
		if held != "" {
			seen.hold(wait{reason: held, until: o.sweepAfter(s.Path, o.Now())})
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
		seen.Waiting, seen.ByDesign = outlook.Waiting, outlook.ByDesign
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
	if stop == nil {
		return o.keep(ctx, s, seen)
	}
	held := wait{stop.For, stop.ByDesign, o.sweepAfter(s.Path, o.Now())}
	seen.hold(held)
	if after.Current == nil {
		return nil
	}
	err = o.keep(ctx, s, seen)
	seen.Waiting, seen.ByDesign = held.reason, held.byDesign
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
	reason := rotation.Due(now)
	if s.Upstream != nil && reason == nil && rotation.BetweenWindows(now) {
		opening := opens(s.Policy.Windows, o.Now())
		seen.hold(wait{"its maintenance window, which opens " + opening.UTC().Format(time.RFC3339), true, opening})
	}
	if s.Group != nil {
		joined, asked, all, err := o.grouped(ctx, s, entry, requests, reason, seen)
		if joined || err != nil {
			return err
		}
		reason, requests = asked, all
	}
	if reason == nil {
		if entry.Retry != nil && seen.Waiting == "" {
			seen.hold(retryOf(s, entry.Retry))
		}
		return nil
	}
	if s.Stagger != nil && reason.Kind != "first" {
		if err := o.Rotation.Ready(ctx, s.Subject); err != nil { // nothing outside is waited for under the lock
			seen.hold(wait{reason: s.Explained(err), until: o.Now().Add(time.Minute)})
			return nil
		}
		set := o.planningOf(s.Stagger.Set) // until the run is planned: two of a set never both find the way clear
		if err := set.Enter(ctx, outward.First); err != nil {
			return err
		}
		defer set.Leave()
		stop, err := o.tooNear(ctx, s)
		if err != nil {
			return err
		}
		if stop != nil {
			seen.hold(*stop)
			return nil
		}
	}
	why := triggerOf(s, *reason, requests)
	if s.Group != nil {
		carry(&why, entry)
	}
	timed := why.Kind == trigger.Time && s.Upstream != nil // without one no run begins
	if timed {
		if stop := o.holdTimed(jumped); stop != nil {
			seen.hold(*stop)
			return nil
		}
	}
	subject := s.Subject
	subject.PlanOnly = s.Stagger != nil // its set waits
	_, err := o.Rotation.Plan(ctx, subject, why)
	none := errors.Is(err, rotation.ErrNotNow) || errors.Is(err, rotation.ErrNotAllowed)
	if timed && (none || errors.Is(err, journal.ErrSuperseded)) {
		o.uncount() // no run began; after any other error one may have
	}
	switch {
	case none:
		late := errors.Is(err, rotation.ErrNotNow) && o.Now().Before(entry.QuietUntil) // nothing but time is needed
		seen.hold(wait{s.Explained(err), late, o.soon(entry.QuietUntil)})
		return nil
	case err == nil && s.Group != nil:
		o.wakeGroup(s) // its members join
	}
	return err
}

func triggerOf(s Secret, reason rotation.Reason, requests []trigger.Request) journal.Trigger {
	why := journal.Trigger{Kind: reason.Kind, By: "policy " + s.Policy.Name, Reason: reason.Text}
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

// holdTimed says why the clock alone may start nothing now, or counts one start.
func (o *Orchestrator) holdTimed(jumped string) *wait {
	if jumped != "" {
		return &wait{reason: jumped + "; timed rotation is held until " + next.ConfirmClock()}
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
		reason := fmt.Sprintf("%d timed runs began within the last hour, the most that is allowed", len(recent))
		return &wait{reason, true, slices.MinFunc(recent, time.Time.Compare).Add(time.Hour)}
	}
	o.timed = append(o.timed, now)
	return nil
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

func retryOf(s Secret, retry *journal.Retry) wait {
	if retry.Held {
		then := next.Rotate(s.Subject.Secret)
		if s.Escrow != nil { // it may need itself to be rotated
			then += ", or where its upstream refuses it, set a value there by hand and " + next.Supply(s.Subject.Secret)
		}
		if retry.Attempts == 1 {
			return wait{reason: fmt.Sprintf("a person: 1 attempt failed, because %s; mend it, then %s", retry.Reason, then)}
		}
		return wait{reason: fmt.Sprintf("a person: %d attempts failed, the last because %s; mend it, then %s", retry.Attempts, retry.Reason, then)}
	}
	return wait{reason: fmt.Sprintf("the next attempt at %s, after: %s", retry.NotBefore.UTC().Format(time.RFC3339), retry.Reason), byDesign: true}
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
	if err := o.Rotation.Clean(ctx, entry); err != nil { // the process that closed the last run may have died over it
		return err
	}
	switch {
	case entry.Live != nil:
		if finishes(s, entry.Live) { // another engine is at it
			seen.Again = now.Add(time.Minute)
		} else {
			seen.hold(wait{reason: fmt.Sprintf("a person: run %s, a %s, is not over, and the estate no longer declares what would finish it; declare that again",
				entry.Live.ID, entry.Live.Workflow)})
		}
	case lost && entry.Current != nil && entry.RecoveryNow() == nil:
		seen.hold(wait{reason: gone(entry)})
	case !lost && (entry.Current == nil || *entry.Current != held.ID):
		return errors.New(foreign(s))
	}
	recovery := entry.RecoveryNow()
	if recovery != nil && seen.Waiting == "" {
		seen.hold(wait{reason: recovery.Waits(), byDesign: recovery.Next == ""})
	}
	if entry.Live != nil || lost || recovery != nil {
		seen.Again = o.again(ctx, s, seen)
		return nil
	}
	steady := !seen.kept.IsZero() // consumers held this version when they were last looked at
	if steady || seen.failures == 0 {
		seen.Drift = "" // else it is what the look that failed found
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
			seen.Drift = consumer.Name() + " differed from the record and was given it again" + suffix(proof.Missing)
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
	unchecked := o.check(ctx, s, entry, held, seen)
	if err := o.settleOwed(ctx, seen); err != nil {
		faults = append(faults, err.Error())
	}
	if len(faults) > 0 {
		seen.kept = time.Time{}
		return fmt.Errorf("delivering %s: %s", s.Secret, strings.Join(faults, "; "))
	}
	if unchecked != nil {
		return unchecked
	}
	seen.kept, seen.sweep = now, o.sweepAfter(s.Path, now)
	seen.Again = o.again(ctx, s, seen)
	return nil
}

// gone says that the value on record is not there.
func gone(entry *journal.Entry) string {
	return fmt.Sprintf("a person: version %s is on record but its value is gone; put the newest copy of the state folder back", entry.Current)
}

// foreign says that the value that is there is not the one on record.
func foreign(s Secret) string {
	return fmt.Sprintf("the value at %s is not the one on record: somebody else wrote it; it is not delivered", s.Path)
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
