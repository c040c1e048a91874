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

// noteDelivered notes that every proof is in.
func (a *attempt) noteDelivered(ctx context.Context) error {
	a.seen.proven = a.Now()
	a.reach(journal.Delivered)
	if a.waivesProof() {
		return nil // delivered would be too much said
	}
	return a.audit(ctx, journal.Delivered, a.proved())
}

// readValue reads what stands at the secret's path.
func (a *attempt) readValue(ctx context.Context) error {
	h := &a.seen.here
	held, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	if h.read, h.value = true, nil; err == nil {
		h.value = &held
	}
	if a.promotedBy(h.value) {
		a.version = &held.ID
	}
	return nil
}

// held returns the secret's value, which must be the one this run promoted.
func (a *attempt) held(ctx context.Context) (authority.Versioned, *pause, error) {
	if err := a.readValue(ctx); err != nil {
		return authority.Versioned{}, nil, err
	}
	if value := a.seen.here.value; a.promotedBy(value) {
		return *value, nil, nil
	}
	return authority.Versioned{}, a.pause(a.foreignWrite()), nil
}

// tryValue signs in with the promoted value: before consumers are handed it, right before the old credential is revoked, or, where a
// run revokes nothing, before it completes. The new credential was verified before it was promoted, which can be weeks ago: a
// fail-over, a restored backup or a person may have undone it since.
func (a *attempt) tryValue(ctx context.Context) error {
	h, before := &a.seen.here, a.Now()
	given, err := a.honouredNow(ctx)
	switch {
	case err != nil:
		return err
	case h.again:
		h.last = given
	default:
		h.honoured = given
	}
	if a.seen.at == journal.Promoted && given.verdict == upstream.Accepted {
		a.seen.accepted = before
	}
	return nil
}

// watchValue signs in with the promoted value while the run waits for anything else.
func (a *attempt) watchValue(ctx context.Context) (err error) {
	h := &a.seen.here
	if h.watched, err = a.honouredNow(ctx); err != nil {
		return err
	}
	switch now := a.Now(); {
	case h.watched.verdict == upstream.Accepted:
		a.seen.accepted = now
	case !a.run.Refused:
		a.seen.watch = now.Add(time.Hour)
	}
	return nil
}

// honouredNow signs in with the promoted value, and journals and records that it is refused, until it is accepted again.
func (a *attempt) honouredNow(ctx context.Context) (answer, error) {
	held := *a.seen.here.value
	given := a.answerTo(ctx, held.Value)
	switch {
	case given.verdict == upstream.Accepted && a.run.Refused:
		a.run.Refused = false
		return given, a.save(ctx)
	case given.verdict == upstream.Accepted, given.verdict == upstream.Unknown && !a.run.Refused:
		return given, nil
	case !a.run.Refused:
		a.run.Refused = true // and stays so until it is accepted
		if err := a.save(ctx); err != nil {
			return given, err
		}
	}
	return given, a.audit(ctx, stepNewRefused, "the upstream accepted version "+held.ID.String()+" before and refuses it now; the old credential is not revoked")
}

// deliverTo delivers held to those that are owed it and returns, by consumer, what failed. That is tried again at the next look.
func (a *attempt) deliverTo(ctx context.Context, held authority.Versioned, owed []missingProof) (map[string]error, error) {
	a.seen.delivered = a.Now()
	faults := map[string]error{}
	for _, one := range owed {
		err := a.Deliver(ctx, a.s, one.consumer, held, a.rank())
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			faults[one.consumer.Name()] = err
			a.seen.delivered = time.Time{}
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

// revoke has the upstream refuse the old credential. That it may is journaled first.
func (a *attempt) revoke(ctx context.Context) error {
	if a.run.Step != journal.Delivered {
		a.run.Step, a.run.CallBy = journal.Delivered, a.Now().Add(a.kind.CallDeadline)
		if err := a.save(ctx); err != nil {
			return err
		}
	}
	old, successor := a.seen.old, a.seen.here.value.Value
	err := a.change(ctx, func(ctx context.Context) error { return a.s.Upstream.Revoke(ctx, a.run.ID, old, successor) })
	switch {
	case errors.Is(err, journal.ErrSuperseded):
		return err
	case err != nil:
		a.seen.here.called = err
		return nil
	}
	a.seen.revoked = a.Now()
	return nil
}

// complete closes the run, once every record of it is in, and then cleans up.
func (a *attempt) complete(ctx context.Context) error {
	held := a.seen.here.value
	for _, step := range a.steps() {
		if err := a.audit(ctx, step, ""); err != nil {
			return err
		}
	}
	if !a.reverts() || a.entry.Rotated.IsZero() { // the managed value is as old as it was
		a.entry.Rotated, a.entry.Retry = a.within(held.Created), nil
	}
	a.entry.Current, a.entry.Checked = &held.ID, nil
	if err := a.close(ctx, journal.ResultCompleted, a.left(), a.spent()); err != nil {
		return err
	}
	_ = a.Clean(ctx, a.entry) // the run is over: what fails is owed, and the next look at the secret does it
	return nil
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
	a.entry.QuietUntil = a.seen.prior
	if a.kind.Fences {
		a.entry.QuietUntil = time.Time{}
	}
	a.entry.Last = &journal.Outcome{
		Run: a.run.ID, Workflow: a.run.Workflow, Result: result, Trigger: a.run.Trigger, Detail: detail,
		Forced: a.run.Forced, Waived: a.run.Waived, Aborted: a.run.Aborted, Group: a.run.Group, Compromise: a.run.Compromise,
		Started: a.run.Started, Ended: a.Now(), Spent: append(a.undestroyed(a.entry), spent...),
	}
	if result != journal.ResultCompleted || !a.revokes() { // the next run that revokes sees to them
		a.entry.Last.Older = a.run.Older
	}
	a.entry.Live = nil
	return a.save(ctx)
}
