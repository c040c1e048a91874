// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

// turn is one look at a secret: what it knows, and what it notes for the next.
type turn struct {
	evidence

	requests []trigger.Request // those that are open
	jumped   string            // how the clock jumped, "" when it can be believed
	seen     *State

	left      reason.Reason // why a secret that leaves is not retired yet
	leftAgain time.Time     // when that may change by itself
}

// leaves notes why a secret that leaves waits, unless something else holds it that a person should see first.
func (t *turn) leaves() {
	if t.left.None() {
		return
	}
	if t.seen.Waiting.ByDesign() {
		t.seen.Waiting = t.left
	}
	if !t.leftAgain.IsZero() && (t.seen.Again.IsZero() || t.leftAgain.Before(t.seen.Again)) {
		t.seen.Again, t.seen.Regular = t.leftAgain, false
	}
}

// act does what decide says until nothing is left to do.
func (o *Orchestrator) act(ctx context.Context, s Secret, requests []trigger.Request, jumped string, seen *State) error {
	t := &turn{
		evidence: evidence{secret: s, admitted: seen.pinned == seen.declared, handedOver: seen.handedOver},
		requests: requests, jumped: jumped, seen: seen,
	}
	var err error
	if t.held, err = o.Held(ctx, s); err != nil {
		return err
	}
	for {
		next := decide(t.evidence)
		if next == done {
			t.leaves()
			return nil
		}
		if err := o.do(ctx, next, t); err != nil || next == wait {
			return err
		}
	}
}

// do carries out one action and adds to the turn's evidence what came of it.
func (o *Orchestrator) do(ctx context.Context, next action, t *turn) (err error) {
	s := t.secret
	switch next {
	case wait:
		o.holdUntilSwept(t.seen, t.held)
		return nil
	case admit:
		if t.held, err = o.admit(ctx, s); err == nil && t.held.None() {
			t.admitted, t.seen.pinned = true, t.seen.declared
		}
		return err
	case rebuild:
		return o.rebuild(ctx, t)
	case handOver:
		if err := o.Handover.Run(ctx, *s.Handover); err != nil {
			return err
		}
		t.handedOver, t.seen.handedOver = true, true // a tombstone is never taken back
		t.entry = nil
		return nil
	case readEntry:
		if t.entry, err = o.Journal.Load(ctx, s.Path); err == nil {
			t.compromised = slices.ContainsFunc(t.requests, reportsCompromise)
			t.served, err = o.servedOf(ctx, t)
		}
		return err
	case weigh:
		t.weighed, err = o.weigh(ctx, s)
		return err
	case depart:
		return o.departNow(ctx, t)
	case closeServed:
		return o.closeServed(ctx, t)
	case declareExpiry:
		t.entry.Declare(s.ExpiresAt)
		return o.Journal.Save(ctx, t.entry)
	case enforce:
		return o.enforce(ctx, s, t.entry)
	case begin:
		t.begun = true
		return o.beginRun(ctx, t)
	case compromise:
		return o.compromise(ctx, t)
	case advance:
		outlook, err := o.Rotation.Advance(ctx, s.Subject)
		if err != nil {
			return err
		}
		t.outlook = &outlook
		return o.noteRun(ctx, s, outlook, t.seen)
	case reconcile:
		t.reconciled = true
		err := o.reconcile(ctx, s, t.seen)
		if !t.blocked.None() {
			t.seen.Waiting = t.blocked
		}
		return err
	}
	return fmt.Errorf("looking at %s: nobody does %q", s.Subject.Secret, next)
}

func reportsCompromise(request trigger.Request) bool { return request.Kind == trigger.Compromise }

// compromise has the live run serve the open reports of a compromise.
func (o *Orchestrator) compromise(ctx context.Context, t *turn) error {
	t.superseded = true
	var reports []trigger.Request
	for _, request := range t.requests {
		if reportsCompromise(request) {
			reports = append(reports, request)
		}
	}
	err := o.Rotation.Compromised(ctx, t.secret.Subject, triggerOf(t.secret, rotation.Reason{}, reports))
	if errors.Is(err, rotation.ErrNotNow) { // the run goes on meanwhile
		return nil
	}
	return err
}

// noteRun notes what the live run came to, if there is one, and wakes those who may wait for that.
func (o *Orchestrator) noteRun(ctx context.Context, s Secret, outlook rotation.Outlook, seen *State) error {
	seen.rank = outlook.Rank
	switch {
	case outlook.Run == "":
		return nil
	case outlook.Ended != "":
		seen.unsettle()
		seen.Again, seen.Regular = o.Now(), false // close its requests, look after its consumers
		o.wakeRelated(s)
		return nil
	}
	seen.unsettle()
	seen.hold(outlook.Waiting, outlook.Again)
	if outlook.Waiting.Is(reason.ForeignWrite) {
		done, cause, err := o.policyDecides(ctx, s)
		if err != nil {
			return err
		}
		if seen.Waiting = outlook.Waiting.Because(cause); done {
			seen.hold(reason.Reason{}, o.Now())
		}
	}
	if s.Group != nil {
		return o.tellGroup(ctx, s, seen)
	}
	return nil
}

// rebuild computes a derived value again where something that it is made of changed.
func (o *Orchestrator) rebuild(ctx context.Context, t *turn) error {
	s := t.secret
	before, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	if t.entry == nil && (before.Leaving != nil || before.Retires()) { // it was to leave, and is declared again
		t.entry = before
		return nil
	}
	blocked, err := o.Derivation.Rebuild(ctx, *s.Derived)
	if err != nil {
		return err
	}
	after, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	if after.Current != nil && (before.Current == nil || *before.Current != *after.Current) {
		t.seen.unsettle()
	}
	if blocked.Is(reason.ValueForeign) {
		done, cause, err := o.policyDecides(ctx, s)
		if err != nil || done {
			t.seen.hold(reason.Reason{}, o.Now())
			t.rebuilt, t.valued, t.reconciled = true, true, true // the next look computes it
			return err
		}
		blocked = blocked.Because(cause)
	}
	t.rebuilt, t.blocked, t.valued = true, blocked, after.Current != nil
	if !blocked.None() {
		o.holdUntilSwept(t.seen, blocked)
	}
	return nil
}

// servedOf finds the open requests that the last run took, if it completed or a person aborted it. A member's may have been taken by
// a run of its group's leader that was aborted before the member joined.
func (o *Orchestrator) servedOf(ctx context.Context, t *turn) (done []served, err error) {
	if len(t.requests) == 0 {
		return nil, nil
	}
	by := map[string]authority.RunID{}
	if group := t.secret.Group; group != nil && t.secret.Path != group.Leader {
		leader, err := o.Journal.Load(ctx, group.Leader)
		if err != nil {
			return nil, err
		}
		if leader.Last != nil && leader.Last.Aborted {
			serve(by, leader.Last)
		}
	}
	if last := t.entry.Last; last != nil && last.Workflow == journal.Rotation && (last.Result == journal.ResultCompleted || last.Aborted) {
		serve(by, last)
	}
	for _, request := range t.requests {
		if run, taken := by[request.ID]; taken {
			done = append(done, served{request.ID, run})
		}
	}
	return done, nil
}

func serve(by map[string]authority.RunID, last *journal.Outcome) {
	for _, id := range last.Trigger.Requests {
		by[id] = last.Run
	}
}

// closeServed closes the requests that were served. What is left is open.
func (o *Orchestrator) closeServed(ctx context.Context, t *turn) error {
	by := map[string]bool{}
	for _, one := range t.served {
		if err := o.Queue.Close(ctx, one.request, one.run); err != nil {
			return err
		}
		by[one.request] = true
	}
	var open []trigger.Request
	for _, request := range t.requests {
		if !by[request.ID] {
			open = append(open, request)
		}
	}
	t.served, t.requests = nil, open
	t.compromised = slices.ContainsFunc(open, reportsCompromise)
	return nil
}

// enforce brings the enforced policy up to the declared one. The journal says that the record of it is owed until it is
// in; that may be owed by an earlier process, for a policy that is not the declared one any more.
func (o *Orchestrator) enforce(ctx context.Context, s Secret, entry *journal.Entry) error {
	if entry.Enforcing == "" {
		policy := s.Policy
		entry.Rename(s.Subject.Secret)
		entry.Policy, entry.Enforcing = &policy, o.NewRun()
		if err := o.Journal.Save(ctx, entry); err != nil {
			return err
		}
	}
	err := o.Record.Append(ctx, audit.Event{
		Run: entry.Enforcing, Step: "policy-enforced", Workflow: audit.Operation, Secret: entry.Secret, Path: s.Path,
		By: "estate", Reason: "declared policy " + entry.Policy.Name, Result: audit.OK, At: o.Now(),
	})
	if err != nil {
		return err
	}
	entry.Enforcing = ""
	return o.Journal.Save(ctx, entry)
}
