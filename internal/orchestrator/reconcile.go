// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
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
)

// reconcile has every consumer hold the version of record and be told so, and names what was found to differ. What fails is
// tried again soon, by the look's back-off.
func (o *Orchestrator) reconcile(ctx context.Context, s Secret, seen *State) error {
	now := o.Now()
	doubted := seen.doubted
	seen.doubted = false
	early := seen.checkAt.IsZero() || now.Before(seen.checkAt)
	if !doubted && early && !seen.reconciled.IsZero() && now.Before(seen.sweep) {
		seen.Again, seen.Regular = o.again(ctx, s, seen, seen.sweep)
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
	version := &held.ID
	if lost {
		version = nil
	}
	switch standingOf(s, entry, version) {
	case matching:
		return o.deliverAll(ctx, s, entry, held, seen, unclean)
	case foreign:
		return o.foreignFound(ctx, s, entry, held.ID, seen)
	case running, retiring:
		seen.Again, seen.Regular = now.Add(time.Minute), false
	case stranded:
		seen.hold(reason.New(reason.RunUnfinished, reason.Args{"run": string(entry.Live.ID), "workflow": string(entry.Live.Workflow)}), time.Time{})
	case vanished:
		seen.hold(vanishedReason(entry), time.Time{})
	case recovering:
		if seen.Waiting.None() {
			seen.hold(entry.RecoveryNow().Reason, time.Time{})
		}
	case unissued: // what it waits for was noted when no run began
	}
	seen.Again, seen.Regular = o.again(ctx, s, seen, o.sweepAfter(s.Path, now))
	return unclean
}

// deliverAll gives the version of record to every consumer that does not show that it holds it, and signs in with that version if
// that is due. unclean is what went wrong before, which the next look tries again.
func (o *Orchestrator) deliverAll(ctx context.Context, s Secret, entry *journal.Entry, held authority.Versioned, seen *State, unclean error) error {
	now := o.Now()
	steady := !seen.reconciled.IsZero() // consumers held this version when they were last looked at
	if steady || seen.failures == 0 {
		seen.Drift = reason.Reason{} // else it is what the look that failed found
	}
	rank := outward.First
	if s.Derived != nil && !steady { // the run of an input may wait for it
		rank = outward.Begun
	}
	var faults []string
	var drifted map[string]string // there is one for each secret: none where nothing drifted
	for _, consumer := range s.Consumers {
		proof, err := o.Rotation.Prove(ctx, s.Subject, consumer, held, rank)
		if err == nil && proof.Version == held.ID && proof.Level >= consumer.Needs && entry.Mend(consumer.Name()) {
			if err := o.Journal.Save(ctx, entry); err != nil {
				return err
			}
		}
		if err == nil && proof.Version == held.ID && proof.Level >= materialize.Delivered {
			continue
		}
		if _, derived := consumer.Consumer.(*derivation.Dependent); err == nil && steady && !derived { // what is computed has its own looks
			seen.Drift = reason.New(reason.ConsumerDrifted, reason.Args{"consumer": consumer.Name()}).Because(proof.Missing)
			if drifted == nil {
				drifted = map[string]string{}
			}
			drifted[consumer.Name()] = fmt.Sprintf("it held %s where %s was delivered%s", holds(proof.Version), held.ID, suffix(proof.Missing))
			if seen.drifted[consumer.Name()] != drifted[consumer.Name()] { // somebody who does it again and again is recorded once
				seen.owed = append(seen.owed, audit.Event{
					Run: o.NewRun(), Step: "drifted", Workflow: audit.Operation, Secret: s.Subject.Secret, Path: s.Path, Version: &held.ID,
					Consumer: consumer.Name(), By: "somebody else", Reason: "a consumer is kept on the version of record", Result: audit.Failed,
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
		seen.reconciled = time.Time{}
		return &reason.Error{Doing: "delivering " + s.Secret, Reason: reason.New(reason.DeliveryFailed, nil).Because(strings.Join(faults, "; "))}
	}
	if unchecked != nil {
		return unchecked
	}
	seen.reconciled, seen.sweep = now, now
	sweep := o.sweepAfter(s.Path, now)
	if unclean == nil { // else the next look tries that again
		if steady { // two looks in a row: nothing happened before somebody began to watch
			sweep = o.restAfter(s, now)
		}
		seen.sweep = sweep
	}
	seen.Again, seen.Regular = o.again(ctx, s, seen, sweep)
	return unclean
}

// vanishedReason says that the value on record is not there.
func vanishedReason(entry *journal.Entry) reason.Reason {
	return reason.New(reason.ValueGone, reason.Args{"version": entry.Current.String()})
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

func suffix(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// again is the earliest of what start asked for, the next look at consumers, which sweep is, the next sign-in with the value of
// record, the next due time, and once that has passed the next opening of a maintenance window. regular says that it is the look at
// consumers.
func (o *Orchestrator) again(ctx context.Context, s Secret, seen *State, sweep time.Time) (next time.Time, regular bool) {
	now := o.Now()
	next, regular = sweep, true
	sooner := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next, regular = at, false
		}
	}
	if !seen.Again.IsZero() && seen.Again.Before(next) {
		next, regular = seen.Again, seen.Regular
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return now.Add(time.Second), false
	}
	if due, timed := rotation.NextDue(*entry, s.Policy); timed {
		if !due.After(now) {
			due = s.Policy.Opens(now)
		}
		sooner(due)
	}
	if entry.Retry != nil {
		sooner(entry.Retry.NotBefore)
	}
	seen.checkAt = time.Time{}
	if due, on := o.nextCheck(s, entry, seen); on {
		seen.checkAt = due
		sooner(due)
	}
	return next, regular
}
