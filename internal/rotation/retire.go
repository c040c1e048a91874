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
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// PlanRetirement opens the run that ends s, and returns its id. The journal's entry must say that the secret is leaving. It
// fails with ErrNotNow while another run is live or a dead one's call may still land, and with ErrNotAllowed where the value
// of record is not the one that stands at the path.
func (e *Engine) PlanRetirement(ctx context.Context, s Subject, trigger journal.Trigger) (authority.RunID, error) {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return "", err
	}
	entry, now := &held.Entry, e.Now()
	doing := "retiring " + s.Secret
	switch {
	case entry.Leaving == nil:
		return "", fmt.Errorf("%s: it is declared: %w", doing, ErrNotAllowed)
	case entry.Live != nil:
		return "", fmt.Errorf("%s: run %s is live: %w", doing, entry.Live.ID, ErrNotNow)
	case now.Before(entry.QuietUntil):
		if err := e.Quieten(ctx, s, entry); err != nil {
			return "", err
		}
		return "", &reason.Error{Doing: doing, Reason: reason.New(reason.LastRunCallPending, nil).Till(entry.QuietUntil), Class: ErrNotNow}
	}
	version := "none"
	if entry.Current != nil {
		version = entry.Current.String()
	}
	switch record, err := e.Authority.Read(ctx, s.Path); {
	case err == nil && (entry.Current == nil || *entry.Current != record.ID):
		return "", &reason.Error{Doing: doing, Reason: reason.New(reason.ValueForeign, reason.Args{"path": string(s.Path), "found": record.ID.String(), "version": version}), Class: ErrNotAllowed}
	case err != nil && !errors.Is(err, authority.ErrNotFound):
		return "", err
	}
	run := &journal.Run{ID: e.NewRun(), Workflow: journal.Retirement, Step: journal.Planned, Trigger: trigger, Started: now, Policy: s.Policy}
	if entry.Current != nil {
		run.Base = entry.Current.Number
	}
	if entry.Last != nil { // if it is taken back, the next rotation sees to them
		run.Older = entry.Last.Older
	}
	entry.Live = run
	if err := e.Journal.SaveHeld(ctx, held); err != nil {
		return "", err
	}
	return run.ID, nil
}

// Retire takes the live retirement of s as far as it will go now. It is safe to call at any time, from any process. Order: the
// journal has the run; every consumer loses the secret; the grace passes; consumers lose it once more, in case a late delivery came
// through; the upstream refuses every value that the authority holds; the values are destroyed; the run is closed.
func (e *Engine) Retire(ctx context.Context, s Subject) (Outlook, error) {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil || !held.Retires() {
		return Outlook{}, err
	}
	a := &attempt{Engine: e, s: s, document: held, entry: &held.Entry}
	a.attach(e.remember(held.Live))
	a.version = held.Current
	outlook := Outlook{Run: a.run.ID}
	stop, err := a.retire(ctx)
	switch {
	case err != nil:
		e.doubt(a.run.ID)
		return outlook, err
	case stop == nil:
		e.forget(a.run.ID)
		outlook.Ended = a.entry.Last.Result
		return outlook, nil
	}
	outlook.Rank, outlook.Waiting, outlook.Again = a.rank(), stop.reason, e.Now().Add(stop.after)
	if err := a.tell(ctx, stop); err != nil {
		e.doubt(a.run.ID)
		return outlook, err
	}
	return outlook, nil
}

// KeepAfterAll closes the live retirement of s, whose secret is declared again, and reports whether it did: once the upstream
// may have been asked to refuse the credential, the retirement only goes forward.
func (e *Engine) KeepAfterAll(ctx context.Context, s Subject) (bool, error) {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil || !held.Retires() || !held.Live.Revocable() {
		return false, err
	}
	a := &attempt{Engine: e, s: s, document: held, entry: &held.Entry}
	a.attach(e.remember(held.Live))
	const why = "the secret is declared again"
	if err := a.audit(ctx, journal.Planned, ""); err != nil {
		return false, err
	}
	if err := a.audit(ctx, journal.Undone, why); err != nil {
		return false, err
	}
	a.entry.Leaving = nil
	if err := a.close(ctx, journal.ResultUndone, why, nil); err != nil {
		return false, err
	}
	e.forget(a.run.ID)
	return true, nil
}

// Withdraw takes the secret away from a consumer of s; see materialize.Consumer.
func (e *Engine) Withdraw(ctx context.Context, s Subject, c Consumer, v authority.Versioned, rank outward.Rank) error {
	_, err := outward.Do(ctx, e.Calls, toConsumer(s, c, rank), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.Consumer.Withdraw(ctx, v)
	})
	return err
}

// retire takes steps until the run is closed (nil, nil) or waits. Each step is journaled; the next one puts it on record first.
func (a *attempt) retire(ctx context.Context) (*pause, error) {
	if err := a.audit(ctx, journal.Planned, ""); err != nil {
		return nil, err
	}
	if err := a.recordCompromise(ctx); err != nil {
		return nil, err
	}
	for a.entry.Live != nil {
		if a.Stopping != nil && a.Stopping() {
			return &pause{reason: reason.New(reason.CustodyStopping, nil), after: time.Minute}, nil
		}
		a.seen.at = a.run.Step
		var stop *pause
		var err error
		switch a.run.Step {
		case journal.Planned:
			stop, err = a.withdraw(ctx, journal.Withdrawn)
		case journal.Withdrawn:
			stop, err = a.endCredential(ctx)
		case journal.Ended:
			stop, err = a.bury(ctx)
		default:
			err = fmt.Errorf("resuming run %s: unknown step %q", a.run.ID, a.run.Step)
		}
		if err != nil || stop != nil {
			return stop, err
		}
	}
	return nil, nil
}

// to journals that the run came to a step.
func (a *attempt) to(ctx context.Context, step journal.Step) error {
	a.run.Step, a.run.Waiting, a.seen.polls = step, nil, 0
	if err := a.save(ctx); err != nil {
		return err
	}
	a.observe(step)
	return nil
}

// ofRecord is the value that consumers should hold; only its path where it is lost, or was never made.
func (a *attempt) ofRecord(ctx context.Context) (authority.Versioned, error) {
	held, err := a.Authority.Read(ctx, a.s.Path)
	if errors.Is(err, authority.ErrNotFound) {
		return authority.Versioned{Path: a.s.Path}, nil
	}
	return held, err
}

// withdraw takes the secret from every consumer, and with a step journals that.
func (a *attempt) withdraw(ctx context.Context, step journal.Step) (*pause, error) {
	held, err := a.ofRecord(ctx)
	if err != nil {
		return nil, err
	}
	var left []missingProof
	for _, consumer := range a.s.Consumers {
		if err := a.Withdraw(ctx, a.s, consumer, held, a.rank()); err != nil {
			left = append(left, missingProof{consumer: consumer, why: err.Error()})
		}
	}
	if left = a.required(left); len(left) > 0 {
		if stop, err := a.notWithdrawn(ctx, left); stop != nil || err != nil {
			return stop, err
		}
	}
	if step == "" {
		return nil, nil
	}
	a.run.WithdrawnAt = a.Now()
	return nil, a.to(ctx, step)
}

// notWithdrawn holds while consumers have the secret still, unless a person goes on without them, or the policy does after a
// compromise. Each is recorded before that counts.
func (a *attempt) notWithdrawn(ctx context.Context, left []missingProof) (*pause, error) {
	asked := a.entry.Leaving.Wish()
	switch {
	case asked.AlthoughUsed:
		for _, one := range left {
			w := journal.Waiver{Kind: journal.WaivedConsumer, Name: one.consumer.Name(), Why: one.why, By: asked.By, Reason: asked.Reason}
			if err := a.auditWaiver(ctx, w); err != nil {
				return nil, err
			}
			a.run.Waived = append(a.run.Waived, w)
		}
		return nil, a.save(ctx)
	case a.breaks(a.Now(), whole):
		return nil, a.breakConsumers(ctx, left)
	}
	said := make([]string, len(left))
	for i, one := range left {
		said[i] = one.consumer.Name() + ": " + one.why
	}
	stop := a.waitFor(reason.New(reason.RetireNotWithdrawn, reason.Args{"although": a.s.Secret}).Because(strings.Join(said, "; ")))
	if until, on := a.breaksIn(a.Now(), whole); on {
		stop.after = min(stop.after, max(until, time.Millisecond))
	}
	return stop, nil
}

// withdrawnFrom says who lost the secret.
func (a *attempt) withdrawnFrom() string {
	var names, left []string
	for _, consumer := range a.s.Consumers {
		if a.waives(journal.WaivedConsumer, consumer.Name()) {
			left = append(left, consumer.Name())
			continue
		}
		names = append(names, consumer.Name())
	}
	switch {
	case len(a.s.Consumers) == 0:
		return "it has no consumer"
	case len(left) == 0:
		return "from " + strings.Join(names, ", ")
	case len(names) == 0:
		return "not from " + strings.Join(left, ", ")
	}
	return "from " + strings.Join(names, ", ") + ", not from " + strings.Join(left, ", ")
}

// endCredential makes the upstream refuse what the authority holds, once the grace is over and nobody uses it.
func (a *attempt) endCredential(ctx context.Context) (*pause, error) {
	if err := a.audit(ctx, journal.Withdrawn, a.withdrawnFrom()); err != nil {
		return nil, err
	}
	if left := a.run.WithdrawnAt.Add(a.run.Policy.RetireGrace).Sub(a.Now()); left > 0 && !a.run.Revoking && a.run.Compromise == nil {
		return a.until(reason.RetireGrace, nil, left), nil
	}
	if stop, err := a.withdraw(ctx, ""); stop != nil || err != nil { // a late delivery may have come through
		return stop, err
	}
	if a.revokesNone() == "" {
		if stop, err := a.endAll(ctx); stop != nil || err != nil {
			return stop, err
		}
		if stop, err := a.reported(ctx); stop != nil || err != nil {
			return stop, err
		}
	}
	return nil, a.to(ctx, journal.Ended)
}

// revokesNone says why nothing is asked of an upstream, "" where something is.
func (a *attempt) revokesNone() string {
	switch asked := a.entry.Leaving.Wish(); {
	case a.run.Base == 0:
		return "it has no value"
	case asked.WithoutRevoking:
		return "left as it is upstream, as " + asked.By + " asked"
	case a.s.Upstream == nil:
		return "nothing that Custody may ask honours it, so nothing is revoked"
	case !a.kind.Verifies:
		return "its value is generated, and no upstream checks it"
	}
	return ""
}

// endAll ends every version whose value the authority has, oldest first, so that the one of record stays the last that works. A kind
// with one credential has no other than that.
func (a *attempt) endAll(ctx context.Context) (*pause, error) {
	if err := a.ready(ctx, a.s, a.rank()); err != nil {
		return a.retireStuck(reason.UpstreamNotReady, err), nil
	}
	first := authority.Version(1)
	if a.kind.Capability == upstream.Overwrite {
		first = a.run.Base
	}
	for number := first; number <= a.run.Base; number++ {
		if a.seen.done(number) {
			continue
		}
		held, err := a.Authority.ReadVersion(ctx, a.s.Path, number)
		switch {
		case errors.Is(err, authority.ErrNotFound) && number == a.run.Base:
			return a.waitFor(reason.New(reason.RetireValueGone, reason.Args{"without": a.s.Secret})), nil
		case errors.Is(err, authority.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		if stop, err := a.endOne(ctx, held.Value); stop != nil || err != nil {
			return stop, err
		}
		a.seen.ended, a.seen.revoked = append(a.seen.ended, number), time.Time{}
	}
	return nil, nil
}

// done reports whether this process has seen the upstream refuse a version.
func (e *evidence) done(number authority.Version) bool { return slices.Contains(e.ended, number) }

// endOne has the upstream refuse one value.
func (a *attempt) endOne(ctx context.Context, v secret.Value) (*pause, error) {
	if a.seen.revoked.IsZero() {
		if stop, err := a.unused(ctx, v); stop != nil || err != nil {
			return stop, err
		}
		if a.overwritten(ctx, v) {
			return nil, nil
		}
		first := !a.run.Revoking
		if first { // from now on the retirement only goes forward, and the account's marker may name it
			a.run.Revoking = true
			a.entry.Changes(a.run.ID)
			if err := a.save(ctx); err != nil {
				return nil, err
			}
		}
		err := a.change(ctx, func(ctx context.Context) error { return a.endCall(ctx, v) })
		switch {
		case errors.Is(err, journal.ErrSuperseded):
			return nil, err
		case first && errors.Is(err, upstream.ErrNotApplied) && a.seen.prior.IsZero(): // nothing was changed after all
			a.run.Revoking = false
			if err := a.save(ctx); err != nil {
				return nil, err
			}
			return a.retireStuck(reason.RetireNotRevoked, err), nil
		case err != nil:
			return a.retireStuck(reason.RetireNotRevoked, err), nil
		}
		a.seen.revoked = a.Now()
	}
	if left := a.seen.revoked.Add(a.kind.Settle).Sub(a.Now()); left >= 0 && a.kind.Settle > 0 {
		return a.until(reason.RetireSettling, nil, left+1), nil
	}
	switch verdict, err := a.ask(ctx, v); verdict {
	case upstream.Refused:
		return nil, nil
	case upstream.Accepted:
		a.seen.revoked = time.Time{} // it is revoked again
		return a.retireStuck(reason.RetireStillAccepted, nil), nil
	default:
		return a.retireStuck(reason.RetireUndecided, err), nil
	}
}

// overwritten reports whether the one credential of a kind that overwrites was replaced already, as by a call of this run whose reply
// was lost: such a kind may need the current credential to set another.
func (a *attempt) overwritten(ctx context.Context, v secret.Value) bool {
	if a.kind.Capability != upstream.Overwrite || a.Now().Before(a.seen.prior) {
		return false
	}
	verdict, _ := a.ask(ctx, v)
	return verdict == upstream.Refused
}

// endCall is the call that ends v. Where an account has one credential, it is replaced by one that nobody keeps.
func (a *attempt) endCall(ctx context.Context, v secret.Value) error {
	if a.kind.Capability != upstream.Overwrite {
		return a.s.Upstream.Revoke(ctx, a.run.ID, v, secret.Value{})
	}
	var lost secret.Value
	if !a.kind.Issues {
		var err error
		if lost, err = a.s.Upstream.Propose(ctx, v); err != nil {
			return fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
		}
	}
	_, err := a.s.Upstream.Apply(ctx, a.run.ID, v, lost)
	return err
}

// unused holds while somebody still uses v, where the upstream can tell. A use before the secret was withdrawn may have been a
// consumer's.
func (a *attempt) unused(ctx context.Context, v secret.Value) (*pause, error) {
	witness, able := a.s.Upstream.(upstream.Witness)
	if a.kind.Evidence == nil || !able || a.run.Compromise != nil || a.entry.Leaving.Wish().AlthoughUsed {
		return nil, nil
	}
	if stop, err := a.undated(ctx); stop != nil || err != nil {
		return stop, err
	}
	began := a.run.WithdrawnAt
	if a.seen.dated.After(began) {
		began = a.seen.dated
	}
	if left := began.Add(a.run.Policy.QuietWindow + a.kind.Evidence.Late).Sub(a.Now()); left > 0 {
		return a.until(reason.RetireQuiet, nil, left), nil
	}
	uses, err := a.usesOf(ctx, witness, v)
	if err != nil {
		if verdict, _ := a.ask(ctx, v); verdict == upstream.Refused {
			return nil, nil
		}
		stop := a.stuck(reason.RetireUsesUnknown, err)
		if stop.reason.Is(reason.RetireUsesUnknown) {
			stop.reason = stop.reason.With(reason.Args{"although": a.s.Secret})
		}
		return stop, nil
	}
	var who []string
	for _, use := range uses {
		if name := nameOf(use); !use.Last.Before(began) && !slices.Contains(who, name) {
			who = append(who, name)
		}
	}
	if len(who) == 0 {
		return nil, nil
	}
	stop := a.wait(reason.RetireInUse, reason.Args{"who": strings.Join(who, "; "), "although": a.s.Secret})
	stop.uses = who
	return stop, nil
}

// retireStuck is stuck with the way out: to leave the credential as it is upstream.
func (a *attempt) retireStuck(code reason.Code, err error) *pause {
	stop := a.stuck(code, err)
	switch {
	case stop.reason.Is(reason.RetireSessions):
		stop.reason = stop.reason.With(reason.Args{"although": a.s.Secret})
	case stop.reason.Is(code) && code != reason.UpstreamNotReady:
		stop.reason = stop.reason.With(reason.Args{"without": a.s.Secret})
	}
	return stop
}

// bury destroys the values and closes the run. The tombstone stays: Git never gives the secret its first value again. What somebody
// else wrote to the path meanwhile is theirs until a person says that it goes as well.
func (a *attempt) bury(ctx context.Context) (*pause, error) {
	last, destroyed := a.run.Base, "its values are destroyed"
	switch record, err := a.Authority.Read(ctx, a.s.Path); {
	case errors.Is(err, authority.ErrNotFound):
	case err != nil:
		return nil, err
	case record.ID.Number > max(a.run.Base, a.entry.Leaving.Wish().Over):
		return a.wait(reason.RetireForeign, reason.Args{"found": record.ID.String(), "destroy": a.s.Secret}), nil
	case record.ID.Number > a.run.Base:
		last, destroyed = record.ID.Number, "its values are destroyed, and what somebody else wrote after them, up to version "+record.ID.String()
	}
	none := a.revokesNone()
	detail := "its upstream refuses it"
	if none != "" {
		detail = none
	}
	if err := a.audit(ctx, journal.Withdrawn, a.withdrawnFrom()); err != nil {
		return nil, err
	}
	if err := a.audit(ctx, journal.Ended, detail); err != nil {
		return nil, err
	}
	for number := authority.Version(1); number <= last; number++ {
		if err := a.Authority.Destroy(ctx, a.s.Path, number); err != nil {
			return nil, err
		}
	}
	if err := a.audit(ctx, journal.Completed, destroyed); err != nil {
		return nil, err
	}
	e := a.entry
	e.Gone = &journal.Gone{Run: a.run.ID, At: a.Now(), Number: last, Left: e.Leaving.Wish().WithoutRevoking}
	e.Leaving, e.Current, e.Rotated = nil, nil, time.Time{}
	e.Checked, e.Ends, e.Expiry, e.Retry, e.Recovery, e.Inputs, e.Formula, e.Onboarded = nil, nil, nil, nil, nil, nil, "", false
	e.Decided, a.run.Older = nil, nil
	return nil, a.close(ctx, journal.ResultCompleted, detail, nil)
}
