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
func (e *Engine) Supply(ctx context.Context, s Subject, by, reason string, v secret.Value) (authority.RunID, error) {
	if err := v.Fits(); err != nil {
		return "", err
	}
	entry, err := e.Journal.Load(ctx, s.Path)
	if err != nil {
		return "", err
	}
	a := &attempt{Engine: e, s: s, entry: entry}
	if entry.Live == nil {
		if err := a.begin(ctx, by, reason, v); err != nil {
			return "", err
		}
	}
	if run := a.entry.Live; run == nil || run.Workflow != journal.Rotation {
		return "", fmt.Errorf("supplying a value to %s: another run is live: %w", s.Secret, ErrNotNow)
	}
	a.takeUp(&progress{prior: a.entry.Live.CallBy, recorded: map[journal.Step]bool{}})
	defer e.touch(a.run.ID) // what an upstream issued and nothing else holds stays, whether v is taken or refused
	return a.run.ID, a.take(ctx, by, reason, v)
}

// begin plans the run that v becomes the candidate of.
func (a *attempt) begin(ctx context.Context, by, reason string, v secret.Value) error {
	if err := a.followed(ctx, a.s, a.entry); err != nil {
		return err
	}
	if a.s.Upstream != nil {
		a.kind, a.p = a.s.Upstream.Kind(), &progress{}
		if !a.kind.Verifies {
			return fmt.Errorf("supplying a value to %s: Custody makes its values itself; use `custody rotate`: %w", a.s.Secret, ErrNotAllowed)
		}
		if err := a.honoured(ctx, v); err != nil {
			return err
		}
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
	a.entry, err = a.Journal.Load(ctx, a.s.Path)
	return err
}

// take keeps v as the run's candidate.
func (a *attempt) take(ctx context.Context, by, reason string, v secret.Value) error {
	handed := a.run.Trigger.Kind == Supplied && a.run.Step == journal.Planned
	issuing := a.kind.Issues && a.run.Step == journal.Staged
	lost, stranded := issuing && a.kind.LostReply == upstream.Person, issuing && a.kind.Undo == upstream.Impossible
	none := fmt.Errorf("supplying a value to run %s: it waits for none: %w", a.run.ID, ErrNotAllowed)
	replaces := a.run.Refused
	if !handed && !lost && !stranded && !replaces {
		return none
	}
	if stop := a.fence(); stop != nil {
		return fmt.Errorf("supplying a value to run %s: it waits for %s: %w", a.run.ID, stop.reason, ErrNotNow)
	}
	var refused authority.Versioned
	if replaces {
		var stop *pause
		var err error
		if refused, stop, err = a.held(ctx); err != nil {
			return err
		} else if stop != nil {
			return fmt.Errorf("supplying a value to run %s: it waits for %s: %w", a.run.ID, stop.reason, ErrNotAllowed)
		}
	}
	kept, err := a.pending(ctx)
	if err != nil {
		return err
	}
	switch {
	case replaces:
	case kept: // a second one only where the first turned out to be worth nothing, and the run can go nowhere without
		if verdict, err := a.ask(ctx, a.p.candidate); !stranded || verdict != upstream.Refused {
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
	if !handed {
		if err := a.honoured(ctx, v); err != nil {
			return err
		}
	}
	if err := a.keep(ctx, old, v); err != nil {
		return err
	}
	if err := a.audit(ctx, stepSupplied, "by "+by+": "+reason); err != nil || handed {
		return err
	}
	if replaces { // it goes the way from verified to completed once more
		a.run.Step, a.run.Over, a.run.Refused, a.run.Waiting = journal.Verified, refused.ID.Number, false, nil
	}
	if a.run.Digest, err = a.digest(ctx, v); err != nil {
		return err
	}
	return a.Journal.Save(ctx, a.entry)
}

// follows wants a value that is new, and that consumers can take as they took old.
func (a *attempt) follows(old, v secret.Value) error {
	for _, name := range old.Names() {
		if a.made() && !v.Has(name) {
			return fmt.Errorf("supplying a value to %s: the field %s is missing; the secret has %s: %w", a.s.Secret, name, strings.Join(old.Names(), ", "), ErrNotAllowed)
		}
	}
	for _, name := range v.Names() {
		if v.ExposeText(name) == "" && (!old.Has(name) || old.ExposeText(name) != "") {
			return fmt.Errorf("supplying a value to %s: the field %s is empty: %w", a.s.Secret, name, ErrNotAllowed)
		}
	}
	if v.Equal(old) {
		return fmt.Errorf("supplying a value to %s: it is the one that the secret has: %w", a.s.Secret, ErrNotAllowed)
	}
	return nil
}

// made says whether people make the secret's values.
func (a *attempt) made() bool { return a.s.Upstream == nil || a.s.Upstream == supplied{} }

// honoured wants the upstream to honour v now.
func (a *attempt) honoured(ctx context.Context, v secret.Value) error {
	switch verdict, err := a.ask(ctx, v); {
	case verdict == upstream.Accepted:
		return nil
	case verdict == upstream.Unknown:
		return fmt.Errorf("supplying a value to %s: the upstream cannot say whether it honours it (%w): %w", a.s.Secret, err, ErrNotNow)
	case a.kind.Settle > 0:
		return fmt.Errorf("supplying a value to %s: the upstream refuses it; what was just made there takes up to %s to show: %w", a.s.Secret, a.kind.Settle, ErrNotNow)
	}
	return fmt.Errorf("supplying a value to %s: the upstream refuses it: %w", a.s.Secret, ErrNotAllowed)
}

// supplied stands in for the upstream of a secret whose values only people make: nothing outside is asked or changed.
type supplied struct{}

var _ upstream.Upstream = supplied{}

func (supplied) Kind() upstream.Kind {
	return upstream.Kind{Name: "supplied", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Recover, CallDeadline: time.Second}
}

func (supplied) Propose(context.Context, secret.Value) (secret.Value, error) {
	return secret.Value{}, errors.New("its values are made by people; hand one in with `custody supply`")
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
