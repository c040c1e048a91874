// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

const (
	strategyHold = "hold"

	// redeliverAfter bounds how often a consumer that shows no proof is disturbed again.
	redeliverAfter = 5 * time.Minute
	// stepOverlap records that proofs were still missing at maxOverlap.
	stepOverlap journal.Step = "overlap-exceeded"
	stepForced  journal.Step = "forced"
)

// deliver brings the promoted version to every consumer declared now and collects their proofs.
func (a *attempt) deliver(ctx context.Context) (*pause, error) {
	held, stop, err := a.held(ctx)
	if stop != nil || err != nil {
		return stop, err
	}
	if err := a.audit(ctx, journal.Promoted, ""); err != nil {
		return nil, err
	}
	missing, err := a.missing(ctx, held, nil)
	if err != nil {
		return nil, err
	}
	if owed := a.owed(held, missing); len(owed) > 0 {
		if stop, err := a.worthHanding(ctx, held, owed); stop != nil || err != nil {
			return stop, err
		}
		faults, err := a.deliverTo(ctx, held, owed)
		if err != nil {
			return nil, err
		}
		if missing, err = a.missing(ctx, held, faults); err != nil {
			return nil, err
		}
	}
	required := a.required(missing)
	if len(required) > 0 && a.breaks(whole) {
		if err := a.breakConsumers(ctx, required); err != nil {
			return nil, err
		}
		required = nil
	}
	if len(required) > 0 {
		if stop, err := a.watched(ctx, held); stop != nil || err != nil {
			return stop, err
		}
		return a.lacking(ctx, held, required)
	}
	a.p.proven = a.Now()
	a.reach(journal.Delivered)
	if a.waivesProof() {
		return nil, nil // delivered would be too much said
	}
	return nil, a.audit(ctx, journal.Delivered, a.proved())
}

// held returns the secret's value, which must be the one this run promoted.
func (a *attempt) held(ctx context.Context) (authority.Versioned, *pause, error) {
	held, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return held, nil, err
	}
	if err != nil || held.ID.Run != a.run.ID || held.ID.Number != a.run.Follows()+1 {
		return held, a.foreignWrite(held, err == nil), nil
	}
	a.version = &held.ID
	return held, nil, nil
}

// owed returns those who are handed the version now: everybody at once, then rarely. Past maxOverlap the strategy hold
// disturbs nobody again who has it; who has not is locked out where the old credential is gone, and gets it whatever
// the strategy.
func (a *attempt) owed(held authority.Versioned, missing []missingProof) []missingProof {
	if !a.p.delivered.IsZero() && a.Now().Sub(a.p.delivered) < redeliverAfter {
		return nil
	}
	if a.run.Policy.FailureStrategy == strategyHold && a.overdue(held) {
		return slices.DeleteFunc(slices.Clone(missing), func(l missingProof) bool { return l.has })
	}
	return missing
}

func (a *attempt) overdue(held authority.Versioned) bool {
	return a.run.Policy.MaxOverlap > 0 && a.Now().Sub(held.Created) > a.run.Policy.MaxOverlap
}

// deliverTo delivers held to those that are owed it and returns, by consumer, what failed. That is tried again at the next look.
func (a *attempt) deliverTo(ctx context.Context, held authority.Versioned, owed []missingProof) (map[string]error, error) {
	a.p.delivered = a.Now()
	faults := map[string]error{}
	for _, one := range owed {
		err := a.Deliver(ctx, a.s, one.consumer, held, a.rank())
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			faults[one.consumer.Name()] = err
			a.p.delivered = time.Time{}
		}
	}
	return faults, nil
}

// proved names the consumers that proved the version, and how.
func (a *attempt) proved() string {
	said := make([]string, len(a.s.Consumers))
	for i, consumer := range a.s.Consumers {
		said[i] = fmt.Sprintf("%s: %s", consumer.Name(), consumer.Needs)
	}
	return strings.Join(said, ", ")
}

// missingProof is a consumer without the proof that revocation needs.
type missingProof struct {
	consumer Consumer
	why      string
	has      bool // it shows that it has the version, and not enough
}

// missing asks every consumer and returns those that cannot yet show that they run on held. One whose delivery just
// failed is among them, whatever it would show.
func (a *attempt) missing(ctx context.Context, held authority.Versioned, faults map[string]error) ([]missingProof, error) {
	var lacking []missingProof
	for _, consumer := range a.s.Consumers {
		if fault := faults[consumer.Name()]; fault != nil {
			lacking = append(lacking, missingProof{consumer: consumer, why: fault.Error()})
			continue
		}
		proof, err := a.Prove(ctx, a.s, consumer, held, a.rank())
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			lacking = append(lacking, missingProof{consumer: consumer, why: err.Error()})
			continue
		}
		if proof.Version == held.ID && proof.Level >= consumer.Needs {
			continue
		}
		lacking = append(lacking, missingProof{consumer, describe(proof, held.ID, consumer.Needs), proof.Version == held.ID})
	}
	return lacking, nil
}

func describe(proof materialize.Proof, want authority.VersionID, needs materialize.Level) string {
	if proof.Version != want {
		return "does not run on this version yet" + because(proof.Missing)
	}
	return fmt.Sprintf("shows %s, %s is needed%s", proof.Level, needs, because(proof.Missing))
}

func because(missing string) string {
	if missing == "" {
		return ""
	}
	return " (" + missing + ")"
}

// lacking waits for proofs, says whose, and at maxOverlap does what the policy's failure strategy says. It never
// revokes; only a proof that a person waived is not waited for.
func (a *attempt) lacking(ctx context.Context, held authority.Versioned, missing []missingProof) (*pause, error) {
	reasons := make([]string, len(missing))
	for i, one := range missing {
		reasons[i] = fmt.Sprintf("%s %s", one.consumer.Name(), one.why)
	}
	said, force := strings.Join(reasons, "; "), string(a.run.ID)
	if left, on := a.breaksIn(whole); on {
		return a.waitBroken(said, force, left), nil
	}
	if !a.overdue(held) {
		return a.wait(reason.ProofMissing, reason.Args{"consumers": said, "force": force}), nil
	}
	strategy := a.run.Policy.FailureStrategy
	if err := a.audit(ctx, stepOverlap, "past maxOverlap ("+strategy+"): "+said); err != nil {
		return nil, err
	}
	return a.wait(reason.OverlapExceeded, reason.Args{"strategy": strategy, "consumers": said, "force": force}), nil
}

// revoke makes the upstream refuse the old credential, after the settle time, one more look at every proof, and one more
// sign-in with the new one, and checks that it does.
func (a *attempt) revoke(ctx context.Context) (*pause, error) {
	if !a.replaces() || !a.run.Policy.RevokeOld || !a.kind.Verifies {
		held, stop, err := a.held(ctx)
		if stop == nil && err == nil && a.kind.Verifies {
			stop, err = a.stillHonoured(ctx, held)
		}
		if stop != nil || err != nil {
			return stop, err
		}
		a.reach(journal.Revoked)
		return nil, nil
	}
	if !a.pending() {
		return a.pendingGone(), nil
	}
	if !a.p.revoked.IsZero() {
		return a.refused(ctx)
	}
	held, stop, err := a.held(ctx)
	if stop != nil || err != nil {
		return stop, err
	}
	// A call to revoke may have come through. It is made again all the same: a refusal alone can be an outage. The new
	// credential is asked for first: after a refused sign-in none may follow for a while where accounts are locked.
	gone := upstream.Accepted
	if a.run.Step == journal.Delivered {
		if stop, err := a.stillHonoured(ctx, held); stop != nil || err != nil {
			return stop, err
		}
		if gone, err = a.ask(ctx, a.p.old); gone == upstream.Unknown {
			return a.stuck(reason.OldUndecided, err), nil
		}
	}
	if gone == upstream.Accepted {
		if stop, err := a.settled(ctx); stop != nil || err != nil {
			return a.watching(stop), err
		}
		if a.p.at != journal.Delivered {
			return nil, nil // a proof was lost while settling
		}
	}
	if a.run.Step != journal.Delivered {
		a.run.Step, a.run.CallBy = journal.Delivered, a.Now().Add(a.kind.CallDeadline)
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	old := a.p.old
	err = a.change(ctx, func(ctx context.Context) error { return a.s.Upstream.Revoke(ctx, a.run.ID, old, held.Value) })
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return nil, err
	case errors.Is(err, upstream.ErrSuperseded):
		return a.claimed(err), nil
	case err != nil:
		return a.stuck(reason.OldNotRevoked, err), nil
	}
	a.p.revoked = a.Now()
	return a.refused(ctx)
}

// refused checks that the old credential no longer opens anything, once its end had time to show everywhere.
func (a *attempt) refused(ctx context.Context) (*pause, error) {
	if left := a.p.revoked.Add(a.kind.Settle).Sub(a.Now()); left >= 0 && a.kind.Settle > 0 {
		return a.until(reason.OldSettling, nil, left+1), nil
	}
	switch verdict, err := a.ask(ctx, a.p.old); verdict {
	case upstream.Refused:
		if more, err := a.replacedNext(ctx); more || err != nil {
			return nil, err
		}
		if stop, err := a.endCompromise(ctx); stop != nil || err != nil {
			return stop, err
		}
		a.reach(journal.Revoked)
		return nil, a.audit(ctx, journal.Revoked, a.took())
	case upstream.Accepted:
		a.p.revoked = time.Time{} // it is revoked again
		return a.wait(reason.OldStillAccepted, nil), nil
	default:
		return a.stuck(reason.OldUndecided, err), nil
	}
}

// settled waits out the settle time since the last proof, and then looks at the value and every proof, signs in with the new
// credential, and asks who uses the old one, once more.
func (a *attempt) settled(ctx context.Context) (*pause, error) {
	held, stop, err := a.held(ctx)
	if stop != nil || err != nil {
		return stop, err
	}
	if a.p.proven.IsZero() { // resumed here: the proofs were in, but this process has not seen them
		a.reach(journal.Promoted)
		return nil, nil
	}
	if stop, err := a.watched(ctx, held); stop != nil || err != nil {
		return stop, err
	}
	if left := a.p.proven.Add(a.run.Policy.Settle).Sub(a.Now()); left > 0 && !a.breaks(whole) {
		if broken, on := a.breaksIn(whole); on {
			left = min(left, broken)
		}
		return a.until(reason.SettleTime, nil, left), nil
	}
	missing, err := a.missing(ctx, held, nil)
	if err != nil {
		return nil, err
	}
	if len(a.required(missing)) > 0 {
		a.p.proven = time.Time{}
		a.reach(journal.Promoted)
		return nil, nil
	}
	if stop, err := a.stillHonoured(ctx, held); stop != nil || err != nil {
		return stop, err
	}
	return a.quiet(ctx) // last: somebody may use the old one at any moment
}

// complete closes the run, once every record of it is in, and then cleans up.
func (a *attempt) complete(ctx context.Context) (*pause, error) {
	held, stop, err := a.held(ctx)
	if stop != nil || err != nil {
		return stop, err
	}
	for _, step := range a.steps() {
		if err := a.audit(ctx, step, ""); err != nil {
			return nil, err
		}
	}
	if !a.reverts() || a.entry.Rotated.IsZero() { // the managed value is as old as it was
		a.entry.Rotated, a.entry.Retry = a.within(held.Created), nil
	}
	a.entry.Current, a.entry.Checked = &held.ID, nil
	if err := a.close(ctx, journal.ResultCompleted, a.left(), a.spent()); err != nil {
		return nil, err
	}
	_ = a.Clean(ctx, a.entry) // the run is over: what fails is owed, and the next look at the secret does it
	return nil, nil
}

// within is when the authority created the run's version, as the clock here shows it: the authority dates by a clock of its own, and no
// version is older than its run. One that is dated a year ago would be due again at once, for ever.
func (a *attempt) within(created time.Time) time.Time {
	switch now := a.Now(); {
	case created.Before(a.run.Started):
		return a.run.Started
	case created.After(now):
		return now
	}
	return created
}

// replaces reports whether the run has a credential that ends with it. One that puts the managed value back has none. Where the
// values of the run are gone, what it began with tells.
func (a *attempt) replaces() bool {
	if a.pending() {
		return !a.p.old.Empty()
	}
	return a.run.Base > 0
}

// revokes says whether this run's old credential is refused at its end.
func (a *attempt) revokes() bool {
	return a.replaces() && a.run.Policy.RevokeOld && a.s.Upstream != supplied{}
}

// spent are the versions whose values end with the run: more than one where a person replaced a refused one, or somebody else wrote
// in between; see Run.Over. What somebody else wrote ends in any case: it was taken over as another version, or put aside.
func (a *attempt) spent() (spent []authority.Version) {
	first := a.run.Base
	switch {
	case a.revokes():
		spent = slices.Clone(a.run.Older)
	case a.reverts():
	case a.run.Over == 0:
		return nil
	default:
		first++
	}
	for old := max(first, 1); old <= a.run.Follows(); old++ {
		spent = append(spent, old)
	}
	return spent
}

// left names what a run that adopted a value does not end itself.
func (a *attempt) left() string {
	d := a.entry.Decided
	if d == nil || d.Run != a.run.ID || d.Choice != Adopted || a.run.Base == 0 || a.revokes() {
		return ""
	}
	return fmt.Sprintf("Custody does not revoke the value before (version %d); remove it upstream yourself", a.run.Base)
}

// steps are the transitions of a completed run, in order.
func (a *attempt) steps() []journal.Step {
	steps := []journal.Step{journal.Planned, journal.Staged, journal.Applied, journal.Verified, journal.Promoted}
	switch {
	case a.run.Trigger.Kind == Adopted || a.reverts(): // nothing is made upstream
		steps = []journal.Step{journal.Planned, journal.Verified, journal.Promoted}
	case a.kind.Issues:
		steps[1], steps[2] = steps[2], steps[1]
	}
	if !a.waivesProof() {
		steps = append(steps, journal.Delivered)
	}
	if a.revokes() {
		steps = append(steps, journal.Revoked)
	}
	return append(steps, journal.Completed)
}

// close ends the run in the journal: outcome, next start, the end of the run and of its values change together. What the last run
// left to be destroyed, and was not, is left to the next look after this one.
func (a *attempt) close(ctx context.Context, result journal.Result, detail string, spent []authority.Version) error {
	a.entry.QuietUntil = a.p.prior
	if a.kind.Fences {
		a.entry.QuietUntil = time.Time{}
	}
	a.entry.Last = &journal.Outcome{
		Run: a.run.ID, Workflow: a.run.Workflow, Result: result, Trigger: a.run.Trigger, Detail: detail,
		Forced: a.run.Forced, Waived: a.run.Waived, Aborted: a.run.Aborted, Group: a.run.Group, Compromise: a.run.Compromise,
		Started: a.run.Started, Ended: a.Now(), Spent: append(a.Engine.owed(a.entry), spent...),
	}
	if result != journal.ResultCompleted || !a.revokes() { // the next run that revokes sees to them
		a.entry.Last.Older = a.run.Older
	}
	a.entry.Live = nil
	return a.save(ctx)
}
