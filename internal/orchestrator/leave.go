// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// This file ends secrets that the estate no longer declares. departs decides, without effects; the rest does it.

// mostAlone is how many secrets may leave at once by their policies alone: more are taken for a mistake, such as a folder that
// was moved, until a person says otherwise.
const mostAlone = 3

// departure is what a look does with a secret that leaves, or was to leave.
type departure string

const (
	// stay: it is declared, and the journal does not say otherwise.
	stay departure = "stay"
	// noteLeaving: have the journal say that it leaves, and the record.
	noteLeaving departure = "note that it leaves"
	// noteReturn: have both say that it is declared again.
	noteReturn departure = "note that it is declared again"
	// takeBack: end a retirement that has revoked nothing, since the secret is declared again.
	takeBack departure = "take the retirement back"
	// keep: it stays in force, and waits.
	keep departure = "keep"
	// stopRun: have the live rotation taken back where it can be, since the secret is to be retired.
	stopRun departure = "stop its run"
	// beginEnd: plan its retirement.
	beginEnd departure = "begin to retire"
	// goOn: take its retirement as far as it goes now.
	goOn departure = "go on retiring"
	// over: it was retired, and nothing is left to do.
	over departure = "over"
)

// weighed is what bears on the end of a secret beside its entry.
type weighed struct {
	now time.Time
	// leaving is how many declared secrets leave.
	leaving int
	// neededBy names the first of the others that use its value, and grouped is a member of its group whose run is live.
	neededBy, grouped string
}

// departs is what follows for a secret and its entry, why it waits, and when to look again at the latest; zero leaves that to what
// holds it. The first row that applies counts.
func departs(s Secret, entry *journal.Entry, w weighed) (next departure, why reason.Reason, again time.Time) {
	l := entry.Leaving
	switch {
	case entry.Retires() && !s.Leaving && entry.Live.Revocable():
		return takeBack, why, again
	case entry.Retires():
		return goOn, why, again
	case !s.Leaving && l != nil:
		return noteReturn, why, again
	case !s.Leaving:
		return stay, why, again
	case entry.Retired() || !entry.Effects():
		return over, why, again
	case l == nil || l.Owed != "":
		return noteLeaving, why, again
	}
	if why, again = asksNobody(s, l, w); !why.None() {
		return keep, why, again
	}
	r := entry.RecoveryNow()
	switch {
	case w.neededBy != "":
		return keep, reason.New(reason.LeavingNeeded, reason.Args{"needer": w.neededBy}), again
	case w.grouped != "":
		return keep, reason.New(reason.LeavingGroup, reason.Args{"member": w.grouped, "group": s.Group.Name}), again
	case entry.Live != nil:
		return stopRun, reason.New(reason.LeavingRunEnds, reason.Args{"run": string(entry.Live.ID)}), again
	case r != nil && !l.Wish().WithoutRevoking:
		return keep, r.Reason, again
	}
	return beginEnd, why, again
}

// asksNobody says why a secret that leaves is not to be retired yet, none once a person or its policy says so.
func asksNobody(s Secret, l *journal.Leaving, w weighed) (why reason.Reason, again time.Time) {
	if l.Asked != nil {
		return why, again
	}
	args := reason.Args{"since": l.Since.UTC().Format(time.RFC3339), "retire": s.Subject.Secret}
	alone := l.Since.Add(s.Policy.RetireAfter)
	switch {
	case s.Policy.RetireAfter <= 0 || s.Suspended:
		return reason.New(reason.LeavingConfirm, args), again
	case w.leaving > mostAlone:
		return reason.New(reason.LeavingMany, args).With(reason.Args{"count": strconv.Itoa(w.leaving)}), again
	case w.now.Before(alone):
		return reason.New(reason.LeavingLater, args).Till(alone), alone
	}
	return why, again
}

// weigh finds out what bears on the end of s. It reads the journal of the members of its group.
func (o *Orchestrator) weigh(ctx context.Context, s Secret) (*weighed, error) {
	w := o.weighHere(s)
	if s.Group == nil {
		return &w, nil
	}
	for _, member := range s.Group.Members {
		if member.Path == s.Path {
			continue
		}
		entry, err := o.Journal.Load(ctx, member.Path)
		if err != nil {
			return nil, err
		}
		if run := entry.Live; run != nil && run.Group != "" {
			w.grouped = member.Secret
		}
	}
	return &w, nil
}

// weighHere is weigh without the journal.
func (o *Orchestrator) weighHere(s Secret) weighed {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := weighed{now: o.Now()}
	for path, other := range o.secrets {
		if other.Leaving {
			w.leaving++
		}
		if path != s.Path && slices.Contains(other.Reads, s.Path) && (w.neededBy == "" || other.Secret < w.neededBy) {
			w.neededBy = other.Secret
		}
	}
	return w
}

// departureOf says why a secret that leaves waits, for answers without a server.
func (o *Orchestrator) departureOf(s Secret, entry *journal.Entry) reason.Reason {
	noted := *entry
	if noted.Leaving == nil {
		noted.Leaving = &journal.Leaving{Since: o.Now()}
	}
	noted.Leaving = &journal.Leaving{Since: noted.Leaving.Since, Asked: noted.Leaving.Asked}
	_, why, _ := departs(s, &noted, o.weighHere(s))
	return why
}

// departNow does what departs says of the turn's secret.
func (o *Orchestrator) departNow(ctx context.Context, t *turn) error {
	s := t.secret
	next, why, again := departs(s, t.entry, *t.weighed)
	t.departed, t.left, t.leftAgain = true, why, again
	switch next {
	case stay:
		return nil
	case noteLeaving:
		if err := o.noteLeaving(ctx, s, t.entry); err != nil {
			return err
		}
		t.departed, t.weighed = false, nil // and what follows from that
		return nil
	case noteReturn:
		return o.noteReturn(ctx, s, t.entry)
	case takeBack:
		t.ended = true
		t.seen.unsettle() // consumers are given it again
		t.seen.Again, t.seen.Regular = o.Now(), false
		_, err := o.Rotation.KeepAfterAll(ctx, s.Subject)
		return err
	case keep:
		return nil
	case stopRun:
		return o.stopRun(ctx, s, t.entry)
	case beginEnd:
		_, err := o.Rotation.PlanRetirement(ctx, ending(s), retirementOf(s, t.entry))
		if reason.Of(err).Is(reason.ValueForeign) {
			t.ended = true
			return o.foreignAtEnd(ctx, t)
		}
		if err != nil {
			return err
		}
		return o.goOnRetiring(ctx, t)
	case goOn:
		return o.goOnRetiring(ctx, t)
	case over:
		t.ended = true
		t.seen.Again, t.seen.Regular = o.sweepAfter(s.Path, o.Now()), true
		return o.closeAsked(ctx, t)
	}
	return fmt.Errorf("looking at %s: nobody does %q", s.Subject.Secret, next)
}

// foreignAtEnd says what stands at the path of a secret that is to be retired, and which nobody knows how to revoke, unless the policy
// decides about it.
func (o *Orchestrator) foreignAtEnd(ctx context.Context, t *turn) error {
	held, err := o.Values.Read(ctx, t.secret.Path)
	if err != nil {
		return err
	}
	return o.foreignFound(ctx, t.secret, t.entry, held.ID, t.seen)
}

// closeAsked closes the requests for a rotation of a secret that was retired.
func (o *Orchestrator) closeAsked(ctx context.Context, t *turn) error {
	for _, request := range t.requests {
		if t.entry.Gone == nil {
			return nil
		}
		if err := o.Queue.Close(ctx, request.ID, t.entry.Gone.Run); err != nil {
			return err
		}
	}
	return nil
}

// ending is s as it is retired: what another platform rotates is not revoked here.
func ending(s Secret) rotation.Subject {
	subject := s.Subject
	if s.Elsewhere {
		subject.Upstream = nil
	}
	return subject
}

// retirementOf is why a retirement begins.
func retirementOf(s Secret, entry *journal.Entry) journal.Trigger {
	if asked := entry.Leaving.Asked; asked != nil {
		return journal.Trigger{Kind: "manual", By: asked.By, Reason: asked.Reason}
	}
	since := entry.Leaving.Since.UTC().Format(time.RFC3339)
	return journal.Trigger{Kind: "removed", By: "policy " + s.Policy.Name, Reason: "the estate has not declared it since " + since}
}

func (o *Orchestrator) goOnRetiring(ctx context.Context, t *turn) error {
	t.ended = true
	if t.compromised {
		if err := o.compromise(ctx, t); err != nil {
			return err
		}
	}
	outlook, err := o.Rotation.Retire(ctx, ending(t.secret))
	if err != nil {
		return err
	}
	t.seen.rank = outlook.Rank
	t.seen.unsettle()
	if outlook.Ended != "" {
		t.seen.Again, t.seen.Regular = o.sweepAfter(t.secret.Path, o.Now()), true
		o.wakeRelated(t.secret)
		return nil
	}
	t.seen.hold(outlook.Waiting, outlook.Again)
	return nil
}

// noteLeaving has the journal, and then the record, say that s is no longer declared.
func (o *Orchestrator) noteLeaving(ctx context.Context, s Secret, entry *journal.Entry) error {
	if entry.Leaving == nil {
		entry.Leaving = &journal.Leaving{Since: o.Now(), Owed: o.NewRun()}
		if err := o.Journal.Save(ctx, entry); err != nil {
			return err
		}
	}
	if err := o.Record.Append(ctx, departureEvent(s, entry.Leaving.Owed, "leaving", "its document was removed", o.Now())); err != nil {
		return err
	}
	entry.Leaving.Owed = ""
	return o.Journal.Save(ctx, entry)
}

// noteReturn puts on record that s is declared again, and then has the journal forget that it was to leave.
func (o *Orchestrator) noteReturn(ctx context.Context, s Secret, entry *journal.Entry) error {
	event := departureEvent(s, o.NewRun(), "returned", "its document is back", o.Now())
	if asked := entry.Leaving.Asked; asked != nil {
		event.Detail = "it is not retired, as " + asked.By + " had asked: " + asked.Reason
	}
	if err := o.Record.Append(ctx, event); err != nil {
		return err
	}
	entry.Leaving = nil
	return o.Journal.Save(ctx, entry)
}

func departureEvent(s Secret, run authority.RunID, step, why string, at time.Time) audit.Event {
	return audit.Event{
		Run: run, Step: step, Workflow: audit.Operation, Secret: s.Subject.Secret, Path: s.Path, By: "estate", Reason: why, Result: audit.OK, At: at,
	}
}

// stopRun has a rotation that has verified nothing taken back. What cannot be taken back goes to its end.
func (o *Orchestrator) stopRun(ctx context.Context, s Secret, entry *journal.Entry) error {
	run := entry.Live
	if run.Workflow != journal.Rotation || run.Step != journal.Planned && run.Step != journal.Staged {
		return nil
	}
	asked := retirementOf(s, entry)
	err := o.Rotation.Abort(ctx, s.Subject, run.ID, asked.By, "its secret is to be retired: "+asked.Reason)
	if errors.Is(err, rotation.ErrNotAllowed) {
		return nil
	}
	return err
}

// Retire notes that a person wants the secret at path retired, which the estate must not declare. It is durable before it returns;
// a repeated request takes the place of the earlier one. What stands before it, status says.
func (o *Orchestrator) Retire(ctx context.Context, path authority.Path, asked journal.Asked) error {
	return o.onLive(ctx, path, func(s Secret) error {
		doing := "retiring " + s.Subject.Secret
		entry, err := o.Journal.Load(ctx, path)
		switch {
		case err != nil:
			return err
		case !s.Leaving && !entry.Retires():
			return &reason.Error{Doing: doing, Reason: reason.New(reason.StillDeclared, nil), Class: rotation.ErrNotAllowed}
		case entry.Retired():
			return fmt.Errorf("%s: it was retired by run %s: %w", doing, entry.Gone.Run, rotation.ErrNotAllowed)
		case entry.Leaving == nil:
			entry.Leaving = &journal.Leaving{Since: o.Now(), Owed: o.NewRun()}
		}
		asked.At = o.Now()
		if entry.Retires() {
			held, err := o.Values.Read(ctx, path)
			if err != nil && !errors.Is(err, authority.ErrNotFound) {
				return err
			}
			if held.ID.Number > entry.Live.Base {
				asked.Over = held.ID.Number
			}
		}
		entry.Leaving.Asked = &asked
		return o.Journal.Save(ctx, entry)
	})
}
