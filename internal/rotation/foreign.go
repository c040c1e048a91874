// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// The kinds of trigger of runs that end what somebody else's write to the secret's path began. Both begin at verified: nothing is
// applied upstream, and the run only goes forward.
const (
	// Adopted: the value that somebody else wrote becomes the secret's own.
	Adopted = journal.Adopt
	// Reverted: the managed value is written over it.
	Reverted = journal.Revert
)

// Adopt takes over the value that somebody else wrote to the secret's path, by a run that begins with it; or, where a run is live that
// verified its candidate, by that run, which goes on with it in place of its candidate. The upstream must accept the value now, where
// it can be asked, and the value must be the secret's own. What is replaced is revoked at the end, by the same evidence as in any run.
// It returns the run; repeated after its answer was lost, the same run. Errors: ErrNotAllowed and ErrNotNow; nothing was changed then.
func (e *Engine) Adopt(ctx context.Context, s Subject, by, why string) (authority.RunID, error) {
	return e.decideForeign(ctx, s, Adopted, by, why)
}

// Revert has the managed value written over the one that somebody else wrote to the secret's path: the version on record, by a run
// that begins with it; or, where a run is live that verified its candidate, that candidate, by that run. Nothing is revoked upstream
// that the run would not revoke anyway. It returns the run; repeated after its answer was lost, the same run. Errors: ErrNotAllowed and
// ErrNotNow; nothing was changed then.
func (e *Engine) Revert(ctx context.Context, s Subject, by, why string) (authority.RunID, error) {
	return e.decideForeign(ctx, s, Reverted, by, why)
}

// decideForeign stores what is decided about somebody else's write, with the run that carries it out, in one write.
func (e *Engine) decideForeign(ctx context.Context, s Subject, choice, by, why string) (authority.RunID, error) {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return "", err
	}
	a := &attempt{Engine: e, s: s, document: held, entry: &held.Entry, choice: choice}
	found, err := e.Authority.Read(ctx, s.Path)
	switch {
	case errors.Is(err, authority.ErrNotFound):
		return "", a.undecided(ErrNotAllowed, a.explain(), "the authority holds no value at %s, so there is nothing to adopt and nothing to write over", s.Path)
	case err != nil:
		return "", err
	}
	if run, err := a.decided(found.ID); run != "" || err != nil {
		return run, err
	}
	switch run := a.entry.Live; {
	case !a.entry.Foreign(found.ID):
		return "", a.undecided(ErrNotAllowed, a.explain(), "version %s at its path is Custody's own; nobody else wrote there", found.ID)
	case run == nil:
		err = a.beginForeign(ctx, found, by, why)
	case run.Workflow != journal.Rotation:
		return "", a.undecided(ErrNotNow, a.explain(), "run %s, a %s, is live", run.ID, run.Workflow)
	case run.Step == journal.Verified || run.Step == journal.Promoted || run.Step == journal.Delivered:
		err = a.turnForeign(ctx, found)
	default:
		return "", a.undecided(ErrNotNow, "it stops before it writes over that version; to take it back first: "+next.Abort(run.ID),
			"run %s is live, and has not verified its candidate yet", run.ID)
	}
	if err != nil {
		return "", err
	}
	a.entry.Decided = &journal.Decision{Version: found.ID, Choice: choice, Run: a.run.ID, By: by, Reason: why, At: e.Now()}
	defer e.touch(a.run.ID)
	if err := a.save(ctx); err != nil {
		return "", err
	}
	return a.run.ID, errors.Join(a.audit(ctx, journal.Planned, ""), a.recordDecision(ctx))
}

// decided returns the run of the decision that was stored already, when its answer was lost; "" where there is none. The other decision
// about the same version is refused: what was begun goes forward.
func (a *attempt) decided(found authority.VersionID) (authority.RunID, error) {
	d := a.entry.Decided
	if d == nil {
		return "", nil
	}
	pending := a.entry.Live != nil && a.entry.Live.ID == d.Run && d.Version == found
	switch {
	case d.Choice == a.choice && (pending || found.Run == d.Run):
		return d.Run, nil
	case pending:
		return "", a.undecided(ErrNotAllowed, "see it: "+next.ShowRun(d.Run), "%s decided the other (%s) about version %s, and run %s goes forward with that", d.By, d.Choice, found, d.Run)
	}
	return "", nil
}

// undecided is why nothing was decided, of class, with what comes next.
func (a *attempt) undecided(class error, hint, why string, args ...any) error {
	return again{fmt.Errorf("%s: %s: %w", a.doing(), fmt.Sprintf(why, args...), class), hint}
}

func (a *attempt) explain() string { return "see where it stands: " + next.Explain(a.s.Secret) }

// doing says what a person has the attempt do.
func (a *attempt) doing() string {
	switch a.choice {
	case Adopted:
		return "adopting the value of " + a.s.Secret + " that somebody else wrote"
	case Reverted:
		return "putting the managed value of " + a.s.Secret + " back"
	}
	return "supplying a value to " + a.s.Secret
}

// beginForeign makes the run that carries a decision out between runs. Nothing is stored yet.
func (a *attempt) beginForeign(ctx context.Context, found authority.Versioned, by, why string) error {
	now, entry := a.Now(), a.entry
	switch {
	case a.s.Suspended:
		return a.undecided(ErrNotAllowed, a.explain(), "it is suspended")
	case now.Before(entry.QuietUntil):
		if err := a.Quieten(ctx, a.s, entry); err != nil {
			return err
		}
		return &reason.Error{Doing: a.doing(), Reason: reason.New(reason.LastRunCallPending, nil).Till(entry.QuietUntil), Class: ErrNotNow}
	}
	if err := a.Ready(ctx, a.s); err != nil {
		return &reason.Error{Doing: a.doing(), Reason: reason.New(reason.UpstreamNotReady, nil).Because(a.s.Explained(err)), Class: ErrNotNow}
	}
	managed, err := a.managed(ctx)
	if err != nil {
		return err
	}
	if a.choice == Adopted {
		if err := a.opens(ctx, found.Value); err != nil {
			return err
		}
	}
	_ = a.Clean(ctx, entry) // what fails stays owed; see close
	entry.Rename(a.s.Secret)
	policy := a.s.Policy
	entry.Policy = &policy
	entry.Live = &journal.Run{
		ID: a.NewRun(), Workflow: journal.Rotation, Step: journal.Verified, Trigger: journal.Trigger{Kind: a.choice, By: by, Reason: why},
		Started: now, Policy: policy, Base: managed.ID.Number, Over: found.ID.Number,
	}
	if entry.Last != nil {
		entry.Live.Older = entry.Last.Older
	}
	a.attach(&evidence{recorded: map[journal.Step]bool{}})
	if a.choice == Adopted {
		err = a.takesOver(ctx, managed.Value, found.Value)
	} else {
		err = a.putsBack(ctx, managed.Value, found.Value)
	}
	if err != nil {
		return err
	}
	entry.Changes(a.run.ID)
	return nil
}

// managed is the version on record, the zero one where there is none, or where its value was destroyed.
func (a *attempt) managed(ctx context.Context) (authority.Versioned, error) {
	if a.entry.Current == nil {
		return authority.Versioned{}, nil
	}
	held, err := a.Authority.ReadVersion(ctx, a.s.Path, a.entry.Current.Number)
	if errors.Is(err, authority.ErrNotFound) { // an authority that was behind may not have shown it yet
		held, err = a.Authority.ReadVersion(ctx, a.s.Path, a.entry.Current.Number)
	}
	if errors.Is(err, authority.ErrNotFound) || err == nil && held.ID != *a.entry.Current {
		return authority.Versioned{}, nil
	}
	return held, err
}

// takesOver has the run promote the value that somebody else wrote, in place of what it has.
func (a *attempt) takesOver(ctx context.Context, old, found secret.Value) error {
	if err := a.follows(old, found); err != nil {
		return err
	}
	a.seen.old, a.seen.candidate = old, found
	if a.kind.Verifies {
		if err := a.honoured(ctx, found); err != nil {
			return err
		}
		if stop := a.onboard(ctx); stop != nil {
			return a.stopped(stop, nil)
		}
	}
	if stop, err := a.ours(ctx); stop != nil || err != nil {
		return a.stopped(stop, err)
	}
	a.storePending(old, found)
	if a.run.Trigger.Kind == Adopted { // the escrow keeps one value for each run: of another run it has the candidate
		if err := a.escrow(ctx); err != nil {
			return err
		}
	}
	a.run.PromoteBy = a.Now().Add(promoteWithin)
	return a.digested(ctx, found)
}

// stopped is what a run would wait for, as an error.
func (a *attempt) stopped(stop *pause, err error) error {
	if err != nil {
		return err
	}
	return &reason.Error{Doing: a.doing(), Reason: stop.reason, Class: ErrNotNow}
}

func (a *attempt) digested(ctx context.Context, v secret.Value) (err error) {
	a.run.Digest, err = a.digest(ctx, v)
	return err
}

// putsBack has the run promote the managed value. It makes no sense where the upstream accepts the other one alone: somebody replaced
// the credential there. Where it accepts neither, the run waits for a value that works.
func (a *attempt) putsBack(ctx context.Context, managed, found secret.Value) error {
	if managed.Empty() {
		return a.undecided(ErrNotAllowed, a.otherwise(), "no managed value is left to put back: the version on record is gone, or there never was one")
	}
	if a.kind.Verifies && !managed.Equal(found) {
		if verdict, _ := a.ask(ctx, managed); verdict == upstream.Refused {
			switch verdict, err := a.ask(ctx, found); verdict {
			case upstream.Accepted:
				return a.undecided(ErrNotAllowed, a.otherwise(), "the upstream refuses the managed value, and accepts the one that somebody else wrote")
			case upstream.Unknown:
				return fmt.Errorf("%s: the upstream refuses it, and cannot say whether it accepts the other one (%w): %w", a.doing(), err, ErrNotNow)
			}
		}
	}
	a.storePending(secret.Value{}, managed)
	return a.digested(ctx, managed)
}

// otherwise names the other decision.
func (a *attempt) otherwise() string {
	if a.choice == Adopted {
		return "to put the managed value back: " + next.Revert(a.s.Secret)
	}
	return "to take the other one over: " + next.AdoptValue(a.s.Secret)
}

// turnForeign has a run that verified its candidate go on from there once more, over the version that somebody else wrote: with its
// candidate, or with that version's value. What was waived was of the version before.
func (a *attempt) turnForeign(ctx context.Context, found authority.Versioned) error {
	a.attach(newEvidence(a.entry.Live))
	if !a.values() {
		return a.stopped(a.pause(a.pendingGone()), nil)
	}
	if stop := a.fence(); stop != nil {
		return a.stopped(stop, nil)
	}
	a.run.PromoteBy = a.Now().Add(-promoteWithin) // it is asked for again before it is promoted
	if a.choice == Adopted {
		old, candidate := a.seen.old, a.seen.candidate
		if candidate.Equal(found.Value) {
			return a.undecided(ErrNotAllowed, a.otherwise(), "it is the one that run %s made", a.run.ID)
		}
		if err := a.takesOver(ctx, old, found.Value); err != nil {
			return err
		}
		if old.Empty() { // of what is replaced, each is revoked before the run ends
			a.storePending(candidate, found.Value)
		} else {
			a.replacing(old, append(slices.Clone(a.document.Pending.Replaced), candidate))
		}
	}
	a.run.Step, a.run.Over, a.run.Refused, a.run.Waiting = journal.Verified, found.ID.Number, false, nil
	a.run.Forced, a.run.Waived = "", nil
	return nil
}

// decisionStep is the step in which what is decided about a version that somebody else wrote is on record.
func decisionStep(d *journal.Decision) journal.Step {
	if d.Choice == Adopted {
		return journal.Step(fmt.Sprintf("value-adopted %d", d.Version.Number))
	}
	return journal.Step(fmt.Sprintf("value-reverted %d", d.Version.Number))
}

// recordDecision records who decided what about a version that somebody else wrote, where the run carries that out.
func (a *attempt) recordDecision(ctx context.Context) error {
	d := a.entry.Decided
	if d == nil || d.Run != a.run.ID || a.seen.recorded[decisionStep(d)] {
		return nil
	}
	event := a.event(decisionStep(d), "version "+d.Version.String()+" is one that somebody else wrote")
	event.Version, event.By, event.Reason = &d.Version, d.By, d.Reason
	if err := a.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("recording what is decided about version %s: %w", d.Version, err)
	}
	a.seen.recorded[decisionStep(d)] = true
	return nil
}

// replacedNext has the run revoke the next of the credentials that it replaced, once the one before is refused.
func (a *attempt) replacedNext(ctx context.Context) error {
	left := a.document.Pending.Replaced
	a.seen.old, a.seen.revoked, a.seen.here = left[0], time.Time{}, answers{}
	a.replacing(left[0], left[1:])
	return a.save(ctx)
}

// replacing notes what ends with the run: old first, and then the others. The next save writes it.
func (a *attempt) replacing(old secret.Value, others []secret.Value) {
	pending := *a.document.Pending
	pending.Old, pending.Replaced = old, others
	a.document.Pending = &pending
}
