// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// policyDecidesEvery is how long after a policy decided about somebody else's write it decides again: somebody who writes on and on is
// not answered with a version each time, but shown to a person.
const policyDecidesEvery = time.Hour

// DecideForeign ends what somebody else's write to the path of a secret began: rotation.Adopted takes the value over, and
// rotation.Reverted puts the managed one back. It returns the run that does it, durable before it returns; repeated, the same run.
// Errors: rotation.ErrNotAllowed and ErrNotNow; nothing was changed then.
func (o *Orchestrator) DecideForeign(ctx context.Context, path authority.Path, choice, by, why string) (run authority.RunID, err error) {
	err = o.onLive(ctx, path, func(s Secret) error {
		run, err = o.decideForeign(ctx, s, choice, by, why)
		return err
	})
	return run, err
}

func (o *Orchestrator) decideForeign(ctx context.Context, s Secret, choice, by, why string) (authority.RunID, error) {
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return "", err
	}
	recovery := entry.RecoveryNow()
	switch name := s.Subject.Secret; {
	case s.Derived != nil && choice == rotation.Adopted:
		return "", fmt.Errorf("adopting the value of %s: it is computed from others; supply those, or have it computed again: %s: %w", name, next.Revert(name), rotation.ErrNotAllowed)
	case s.Derived != nil:
		run, err := o.Derivation.Revert(ctx, *s.Derived, by, why)
		if errors.Is(err, derivation.ErrNothingForeign) {
			err = fmt.Errorf("%w: %w", err, rotation.ErrNotAllowed)
		}
		return run, err
	case s.Handover != nil && entry.Tombstone == nil:
		return "", fmt.Errorf("deciding about the value at the path of %s: it is still to be handed over from Git; see %s: %w", name, next.Explain(name), rotation.ErrNotNow)
	case choice == rotation.Adopted:
		return o.Rotation.Adopt(ctx, s.Subject, by, why)
	case recovery != nil: // what would be put back is of an older state, and held for that
		return "", &reason.Error{Doing: "putting the managed value of " + name + " back", Reason: recovery.Reason, Class: rotation.ErrNotAllowed}
	}
	return o.Rotation.Revert(ctx, s.Subject, by, why)
}

// policyDecides has the policy decide about somebody else's write, where it says adopt or revert. It returns whether a run carries that
// out, and why none does.
func (o *Orchestrator) policyDecides(ctx context.Context, s Secret) (done bool, cause string, err error) {
	choice := s.Policy.OnForeignWrite
	if s.Elsewhere || choice != rotation.Adopted && choice != rotation.Reverted {
		return false, "", nil
	}
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return false, "", err
	}
	by := "policy " + s.Policy.Name
	if d := entry.Decided; d != nil && d.By == by && !rotation.Ahead(d.At, o.Now()) && o.Now().Sub(d.At) < policyDecidesEvery {
		return false, fmt.Sprintf("%s decided (%s) about version %s at %s, and somebody wrote again; it decides once an hour", by, d.Choice, d.Version, d.At.UTC().Format(time.RFC3339)), nil
	}
	_, err = o.decideForeign(ctx, s, choice, by, "onForeignWrite: "+choice)
	switch {
	case errors.Is(err, journal.ErrSuperseded) || ctx.Err() != nil:
		return false, "", err
	case err != nil:
		return false, by + " says " + choice + ": " + s.Explained(err), nil
	}
	return true, "", nil
}

// foreignFound says that the value at the path is not the one on record, unless the policy decides what becomes of it.
func (o *Orchestrator) foreignFound(ctx context.Context, s Secret, entry *journal.Entry, found authority.VersionID, seen *State) error {
	done, cause, err := o.policyDecides(ctx, s)
	switch {
	case err != nil:
		return err
	case done:
		seen.unsettle()
		seen.hold(reason.Reason{}, o.Now())
		return nil
	}
	return &reason.Error{Reason: foreignReason(s, entry, found).Because(cause)}
}

// foreignReason says that the value that is there is not the one on record.
func foreignReason(s Secret, entry *journal.Entry, found authority.VersionID) reason.Reason {
	args := reason.Args{"path": string(s.Path), "found": found.String(), "version": "none"}
	if entry.Current != nil {
		args["version"], args["revert"] = entry.Current.String(), s.Subject.Secret
	}
	switch {
	case s.Elsewhere:
		delete(args, "revert")
	case s.Derived == nil:
		args["adopt"] = s.Subject.Secret
	}
	return reason.New(reason.ValueForeign, args)
}
