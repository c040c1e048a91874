// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Supplied is the kind of trigger of a run that a person began by handing in its value.
const Supplied = "supply"

// stepSupplied records that a person handed the value in.
const stepSupplied journal.Step = "supplied"

// Supply hands in a value that a person has: to the live run, if it waits for what its upstream made when a reply was
// lost or if the upstream refuses what it promoted, and otherwise as the candidate of a run of its own. The value must be honoured now, where an upstream can say
// so: it was made or set there by hand. It returns the run. Errors: ErrNotAllowed and ErrNotNow; nothing was kept then.
// After any other error a run may have begun that waits for the value.
func (e *Engine) Supply(ctx context.Context, s Subject, by, why string, v secret.Value) (authority.RunID, error) {
	if err := v.Fits(); err != nil {
		return "", err
	}
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return "", err
	}
	a := &attempt{Engine: e, s: s, document: held, entry: &held.Entry}
	if held.Live == nil {
		if err := a.begin(ctx, by, why, v); err != nil {
			return "", err
		}
	}
	if run := a.entry.Live; run == nil || run.Workflow != journal.Rotation {
		return "", fmt.Errorf("supplying a value to %s: another run is live: %w", s.Secret, ErrNotNow)
	}
	a.attach(newEvidence(a.entry.Live))
	defer e.touch(a.run.ID) // what an upstream issued and nothing else holds stays, whether v is taken or refused
	err = a.take(ctx, by, why, v)
	if !errors.Is(err, errTakesNone) {
		return a.run.ID, err
	}
	if stop := a.givesWay(ctx, v); stop != nil {
		return "", fmt.Errorf("%w, and does not give way to one: %w", err, stop)
	}
	if err := a.giveWay(ctx, by, why); err != nil {
		return "", err
	}
	return e.Supply(ctx, s, by, why, v)
}

// again is the refusal of a value for which another is to be handed in.
type again struct {
	error

	hint string
}

func (r again) Unwrap() error { return r.error }

// Hint is the next command.
func (r again) Hint() string { return r.hint }

// turnsDown is the refusal of a value, of class, with the reason why and what to hand in instead.
func (a *attempt) turnsDown(class error, what, why string, args ...any) error {
	hint := what + ": " + next.Supply(a.s.Secret)
	if a.choice != "" { // the value is there, and no other can be handed in for it
		hint = a.otherwise()
	}
	return again{fmt.Errorf("%s: %s: %w", a.doing(), fmt.Sprintf(why, args...), class), hint}
}

// errTakesNone: the live run waits for no value.
var errTakesNone = fmt.Errorf("it waits for none: %w", ErrNotAllowed)

// givesWay says why the live run, which needs no value, does not make room for v; nil when it does. It does where it can go
// nowhere: nothing that it has is honoured upstream, v is, and none of its calls can land any more. So it is with the run of
// an admin credential that was replaced by hand: it would need itself.
func (a *attempt) givesWay(ctx context.Context, v secret.Value) error {
	early := a.run.Step == journal.Planned || a.run.Step == journal.Staged || a.run.Step == journal.Undoing
	leaves := a.kind.Issues && a.run.Turn != ""
	if !early || leaves || a.run.Group != "" || !a.kind.Verifies {
		return fmt.Errorf("see what it waits for: %s: %w", next.Explain(a.s.Secret), ErrNotAllowed)
	}
	if stop := a.fence(); stop != nil {
		return &reason.Error{Reason: stop.reason, Class: ErrNotNow}
	}
	if err := a.honoured(ctx, v); err != nil {
		return err
	}
	if a.kind.Capability == upstream.Overwrite { // what has one password honours no other
		return nil
	}
	old, err := a.base(ctx)
	if err != nil {
		return err
	}
	has := []secret.Value{old}
	if a.values() {
		has = append(has, a.seen.candidate)
	}
	for _, one := range has {
		if one.Empty() {
			continue
		}
		switch verdict, err := a.ask(ctx, one); verdict {
		case upstream.Refused:
		case upstream.Accepted:
			return fmt.Errorf("the upstream honours what it has; take the run back first: %s: %w", next.Abort(a.run.ID), ErrNotAllowed)
		default:
			return fmt.Errorf("the upstream cannot say whether it honours what the run has: %w: %w", err, ErrNotNow)
		}
	}
	return nil
}

// giveWay ends the live run without touching the upstream.
func (a *attempt) giveWay(ctx context.Context, by, reason string) error {
	a.run.Step, a.run.Undo, a.run.Aborted = journal.Undoing, fmt.Sprintf("%s handed in a value in its place: %s", by, reason), true
	if err := a.save(ctx); err != nil {
		return err
	}
	if err := a.audit(ctx, journal.Planned, ""); err != nil {
		return err
	}
	return a.abandon(ctx)
}

// begin plans the run that v becomes the candidate of.
func (a *attempt) begin(ctx context.Context, by, reason string, v secret.Value) error {
	if err := a.followed(ctx, a.s, a.entry); err != nil {
		return err
	}
	if a.s.Upstream != nil {
		a.kind, a.seen = a.s.Upstream.Kind(), &evidence{}
		if !a.kind.Verifies {
			return fmt.Errorf("supplying a value to %s: Custody makes its values itself; use %s: %w", a.s.Secret, next.Rotate(a.s.Secret), ErrNotAllowed)
		}
		if err := a.honoured(ctx, v); err != nil {
			return err
		}
	}
	if err := a.opens(ctx, v); err != nil {
		return err
	}
	held, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	if err := a.follows(held.Value, v); err != nil {
		return err
	}
	if _, err := a.plan(ctx, a.s, journal.Trigger{Kind: Supplied, By: by, Reason: reason}, nil); err != nil {
		return err
	}
	if a.document, err = a.Journal.LoadHeld(ctx, a.s.Path); err == nil {
		a.entry = &a.document.Entry
	}
	return err
}

// take keeps v as the run's candidate.
func (a *attempt) take(ctx context.Context, by, why string, v secret.Value) error {
	handed := a.run.Trigger.Kind == Supplied && a.run.Step == journal.Planned
	issuing := a.kind.Issues && a.run.Step == journal.Staged
	lost, stranded := issuing && a.kind.LostReply == upstream.Person, issuing && a.kind.Undo == upstream.Impossible
	none := fmt.Errorf("supplying a value to run %s: %w", a.run.ID, errTakesNone)
	replaces := a.run.Refused
	if !handed && !lost && !stranded && !replaces {
		return none
	}
	if stop := a.fence(); stop != nil {
		return &reason.Error{Doing: fmt.Sprintf("supplying a value to run %s", a.run.ID), Reason: stop.reason, Class: ErrNotNow}
	}
	over := a.run.Over
	if replaces {
		var err error
		if over, err = a.replaced(ctx); err != nil {
			return err
		}
	}
	switch {
	case replaces:
	case a.values(): // a second one only where the first turned out to be worth nothing, and the run can go nowhere without
		if verdict, err := a.ask(ctx, a.seen.candidate); !stranded || verdict != upstream.Refused {
			if a.seen.candidate.Equal(v) && a.run.Supplied != "" { // it was stored, and the answer was lost
				return a.recordSupply(ctx)
			}
			return fmt.Errorf("supplying a value to run %s: it has one: %w", a.run.ID, errors.Join(ErrNotAllowed, err))
		}
	case !handed && !lost:
		return none
	}
	old, err := a.base(ctx)
	if err != nil {
		return err
	}
	if err := a.follows(old, v); err != nil {
		return err
	}
	check := a.honoured
	if handed { // when the run was begun, and the run itself signs in
		check = a.own
	}
	if err := check(ctx, v); err != nil {
		return err
	}
	a.storePending(old, v)
	if a.run.Supplied = "by " + by + ": " + why; handed {
		return a.store(ctx)
	}
	if replaces { // it goes the way from verified to completed once more, and what was waived was of the refused version
		a.run.Step, a.run.Over, a.run.Refused, a.run.Waiting = journal.Verified, over, false, nil
		a.run.Forced, a.run.Waived, a.run.PromoteBy = "", nil, a.Now().Add(promoteWithin)
	}
	if a.run.Digest, err = a.digest(ctx, v); err != nil {
		return err
	}
	return a.store(ctx)
}

// replaced is the version that a value follows which is handed in for one that the upstream refuses: what the run promoted, or,
// where it was refused before that, what it was to follow.
func (a *attempt) replaced(ctx context.Context) (authority.Version, error) {
	done, err := a.hasPromoted(ctx, a.s.Path, a.run)
	if err != nil || !done && a.run.Step == journal.Verified {
		return a.run.Over, err
	}
	held, stop, err := a.held(ctx)
	if stop != nil {
		return 0, &reason.Error{Doing: fmt.Sprintf("supplying a value to run %s", a.run.ID), Reason: stop.reason, Class: ErrNotAllowed}
	}
	return held.ID.Number, err
}

// store stores the value that was handed in, and then records it. To make the value may have ended the credential before it
// upstream, so that only the person has one that works: nothing comes before it is stored. If the record fails, the run
// makes the entry before it goes on.
func (a *attempt) store(ctx context.Context) error {
	if err := a.save(ctx); err != nil {
		return err
	}
	return a.recordSupply(ctx)
}

// recordSupply records who handed in the run's value, where somebody did.
func (a *attempt) recordSupply(ctx context.Context) error {
	if a.run.Supplied == "" {
		return nil
	}
	return a.audit(ctx, stepSupplied, a.run.Supplied)
}

// follows wants a value that is new, and that consumers can take as they took old.
func (a *attempt) follows(old, v secret.Value) error {
	for _, name := range old.Names() {
		if a.made() && !v.Has(name) {
			return a.turnsDown(ErrNotAllowed, "hand in all fields", "the field %s is missing; the secret has %s", name, strings.Join(old.Names(), ", "))
		}
	}
	for _, name := range v.Names() {
		if v.ExposeText(name) == "" && (!old.Has(name) || old.ExposeText(name) != "") {
			return a.turnsDown(ErrNotAllowed, "hand in all fields", "the field %s is empty", name)
		}
	}
	if consumer, err := a.s.unfit(v); err != nil {
		return a.turnsDown(ErrNotAllowed, "hand in one that it can be given, or change its format or reader in the secret's document", "consumer %s cannot be given it (%v)", consumer, err)
	}
	if v.Equal(old) {
		return a.turnsDown(ErrNotAllowed, "hand in another", "it is the one that the secret has")
	}
	return nil
}

// made says whether people make the secret's values.
func (a *attempt) made() bool { return a.s.Upstream == nil || a.s.Upstream == supplied{} }

// honoured wants the upstream to honour v now, and v to be the secret's own.
func (a *attempt) honoured(ctx context.Context, v secret.Value) error {
	switch verdict, err := a.ask(ctx, v); {
	case verdict == upstream.Accepted:
		return a.own(ctx, v)
	case verdict == upstream.Unknown:
		return fmt.Errorf("%s: the upstream cannot say whether it honours it (%w): %w", a.doing(), err, ErrNotNow)
	case a.kind.Settle > 0:
		return a.turnsDown(ErrNotNow, "hand it in again then, or one that the upstream accepts", "the upstream refuses it; what was just made there takes up to %s to show", a.kind.Settle)
	}
	return a.turnsDown(ErrNotAllowed, "hand in one that the upstream accepts", "the upstream refuses it")
}

// own wants v to be of an account that the secret's runs change, or of the one that its value is of, such as a login from
// before Custody: what is honoured may be the credential of another account. Where the upstream does not tell, any is.
func (a *attempt) own(ctx context.Context, v secret.Value) error {
	owner, able := a.s.Upstream.(upstream.Owner)
	if !able || a.kind.Whose == "" {
		return nil
	}
	given, err := a.whose(ctx, owner, v)
	if err != nil {
		return fmt.Errorf("%s: the upstream cannot say of which account it is (%w): %w", a.doing(), err, ErrNotNow)
	}
	if given.own {
		return nil
	}
	held, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	if before, err := a.whose(ctx, owner, held.Value); err == nil && before.name == given.name {
		return nil
	}
	return a.turnsDown(ErrNotAllowed, "hand in one of that account", "it is of %s; hand in one of the account that the secret's document names", given.name)
}

// account is what upstream.Owner says of a credential.
type account struct {
	name string
	own  bool
}

func (a *attempt) whose(ctx context.Context, owner upstream.Owner, v secret.Value) (account, error) {
	return outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) (account, error) {
		name, own, err := owner.Whose(ctx, v)
		return account{name, own}, err
	})
}

// opens wants v to open what the secret is the admin credential of, where nothing else can be asked about it.
func (a *attempt) opens(ctx context.Context, v secret.Value) error {
	if a.s.Upstream != nil || a.s.Opens == nil {
		return nil
	}
	switch verdict, err := a.Opens(ctx, a.s, v); {
	case err == nil && (verdict == upstream.Accepted || verdict == ""): // or it cannot be asked about
		return nil
	case verdict == upstream.Refused:
		return a.turnsDown(ErrNotAllowed, "hand in one that it accepts", "the upstream that it opens refuses it; it was mistyped, or belongs to another account")
	default:
		return fmt.Errorf("%s: the upstream that it opens cannot say whether it takes it (%w): %w", a.doing(), err, ErrNotNow)
	}
}

// supplied stands in for the upstream of a secret whose values only people make: nothing outside is asked or changed.
type supplied struct{}

var _ upstream.Upstream = supplied{}

func (supplied) Kind() upstream.Kind {
	return upstream.Kind{
		Name: "supplied", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Recover, CallDeadline: time.Second,
		Fences: true, // nothing is called, so nothing can land late
	}
}

func (supplied) Propose(context.Context, secret.Value) (secret.Value, error) {
	return secret.Value{}, errors.New("its values are made by people; hand one in")
}

func (supplied) Apply(_ context.Context, _ authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	return candidate, nil
}

func (supplied) Verify(context.Context, secret.Value) (upstream.Verdict, error) {
	return upstream.Accepted, nil
}

func (supplied) Revoke(context.Context, authority.RunID, secret.Value, secret.Value) error {
	return nil
}
