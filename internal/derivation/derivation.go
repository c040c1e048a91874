// SPDX-License-Identifier: Apache-2.0

// Package derivation computes the value of a derived secret from other secrets, and computes it again when one of them
// has a new version: for example a connection string or a docker config.
//
// Guaranteed: it computes only from current versions, and the journal says from which. The run of an input revokes its
// old credential only after the derived value was computed from the new one and every consumer of that value has proved
// it (see Dependent). If several inputs belong to one group, it waits until all of them are promoted, so that consumers
// are disturbed once. No upstream checks a derived value. Not guaranteed: that the derived value still works if an
// input was revoked by force.
//
// Cost: computing a value again takes one read for each input, one value write, two journal writes and three events;
// checking whether that is necessary takes only the reads.
package derivation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
)

// Authority is what derivation needs of the authority; see authority.Store for each method's promise.
type Authority interface {
	Read(ctx context.Context, path authority.Path) (authority.Versioned, error)
	Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error)
	Destroy(ctx context.Context, path authority.Path, number authority.Version) error
	DigestKey(ctx context.Context, path authority.Path) ([]byte, error)
}

// Input is one secret that the value is computed from, under the name that the formula gives it.
type Input struct {
	Name   string
	Secret string
	Path   authority.Path
}

// Subject is one derived secret.
type Subject struct {
	Secret  string
	Path    authority.Path
	Inputs  []Input
	Formula *formula.Formula
}

// Config wires an Engine.
type Config struct {
	Authority Authority
	Journal   journal.Entries
	Record    audit.Recorder
	Now       func() time.Time
	NewRun    func() authority.RunID
}

// Engine rebuilds derived secrets. It keeps nothing in memory.
type Engine struct{ Config }

// New returns an engine.
func New(config Config) *Engine { return &Engine{config} }

var none reason.Reason

// Rebuild brings the value of record up to the versions of its inputs. It returns why it waits, none when the value
// is up to date. Repeating it changes nothing more; a race with another engine is journal.ErrSuperseded.
func (e *Engine) Rebuild(ctx context.Context, s Subject) (reason.Reason, error) {
	entry, err := e.Journal.Load(ctx, s.Path)
	if err != nil {
		return none, err
	}
	if run := entry.Live; run != nil && run.Workflow != journal.Derivation {
		return reason.New(reason.RunUnfinishedDerived, reason.Args{"run": string(run.ID), "workflow": string(run.Workflow), "secret": s.Secret}), nil
	}
	held, base, err := e.current(ctx, s.Path)
	if err != nil {
		return none, err
	}
	key, err := e.Authority.DigestKey(ctx, s.Path)
	if err != nil {
		return none, err
	}
	if run := entry.Live; run != nil && held.ID.Run == run.ID && held.ID.Number == run.Base+1 { // cut off after the write
		if !slices.Equal(held.Value.Digest(key), run.Digest) {
			run.Inputs = nil // another process of this run wrote first; from what, is not known: it is computed again
		}
		return none, e.complete(ctx, s, entry, held)
	}
	reverts := entry.Live != nil && entry.Live.Trigger.Kind == reverted && entry.Live.Base == base
	switch {
	case entry.Current == nil || reverts:
	case base == 0:
		return reason.New(reason.ValueGone, reason.Args{"version": entry.Current.String()}), nil
	case *entry.Current != held.ID:
		return reason.New(reason.ValueForeign, reason.Args{
			"path": string(s.Path), "found": held.ID.String(), "version": entry.Current.String(), "revert": s.Secret,
		}), nil
	}
	if base == 0 && entry.Gone != nil { // it begins anew after what was destroyed
		base = entry.Gone.Number
	}
	values, versions, waiting, err := e.inputs(ctx, s)
	if err != nil || !waiting.None() {
		return waiting, err
	}
	if behind(entry, versions) {
		return none, fmt.Errorf("reading the inputs of %s: %w", s.Secret, journal.ErrBehind)
	}
	if entry.Current != nil && entry.Live == nil && maps.Equal(entry.Inputs, versions) && entry.Formula == s.Formula.Digest() {
		return none, nil
	}
	value, err := s.Formula.Compute(values)
	if err != nil {
		return none, err
	}
	trigger := journal.Trigger{Kind: "derived", By: "custody", Reason: changed(entry, versions, s)}
	entry.Rename(s.Secret)
	if entry.Live == nil {
		entry.Live = &journal.Run{ID: e.NewRun(), Workflow: journal.Derivation, Step: journal.Planned, Trigger: trigger, Started: e.Now(), Base: base}
	}
	entry.Live.Digest, entry.Live.Inputs, entry.Live.Formula = value.Digest(key), versions, s.Formula.Digest()
	if err := e.Journal.Save(ctx, entry); err != nil {
		return none, err
	}
	if err := e.audit(ctx, s, entry.Live, journal.Planned); err != nil {
		return none, err
	}
	id, err := e.Authority.Write(ctx, s.Path, base, entry.Live.ID, value)
	if errors.Is(err, authority.ErrConflict) {
		return none, fmt.Errorf("writing %s: %w", s.Path, journal.ErrSuperseded) // the next look says by whom
	}
	if err != nil {
		return none, err
	}
	return none, e.complete(ctx, s, entry, authority.Versioned{Path: s.Path, ID: id, Created: e.Now(), Value: value})
}

// reverted is the kind of trigger of a run that computes the value over one that somebody else wrote.
const reverted = "revert"

// Revert has the value computed again over the version that somebody else wrote to its path, by the next Rebuild. It returns the run;
// repeated before that, the same run.
func (e *Engine) Revert(ctx context.Context, s Subject, by, why string) (authority.RunID, error) {
	entry, err := e.Journal.Load(ctx, s.Path)
	if err != nil {
		return "", err
	}
	held, base, err := e.current(ctx, s.Path)
	if err != nil {
		return "", err
	}
	switch run := entry.Live; {
	case base == 0 || !entry.Foreign(held.ID) || entry.Current == nil:
		return "", fmt.Errorf("putting the managed value of %s back: nobody else wrote to its path: %w", s.Secret, ErrNothingForeign)
	case run != nil && run.Trigger.Kind == reverted && run.Base == base:
		return run.ID, nil
	case run != nil && run.Workflow != journal.Derivation:
		return "", fmt.Errorf("putting the managed value of %s back: run %s, a %s, is live: %w", s.Secret, run.ID, run.Workflow, ErrNothingForeign)
	}
	entry.Rename(s.Secret)
	entry.Live = &journal.Run{
		ID: e.NewRun(), Workflow: journal.Derivation, Step: journal.Planned, Started: e.Now(), Base: base,
		Trigger: journal.Trigger{Kind: reverted, By: by, Reason: why},
	}
	entry.Decided = &journal.Decision{Version: held.ID, Choice: reverted, Run: entry.Live.ID, By: by, Reason: why, At: e.Now()}
	if err := e.Journal.Save(ctx, entry); err != nil {
		return "", err
	}
	return entry.Live.ID, e.audit(ctx, s, entry.Live, journal.Planned)
}

// ErrNothingForeign: there is nothing to put back; nothing was changed.
var ErrNothingForeign = errors.New("nothing was changed")

// current returns the newest version, and its number for the next to follow; 0 when there is none.
func (e *Engine) current(ctx context.Context, path authority.Path) (authority.Versioned, authority.Version, error) {
	held, err := e.Authority.Read(ctx, path)
	if errors.Is(err, authority.ErrNotFound) {
		return authority.Versioned{}, 0, nil
	}
	return held, held.ID.Number, err
}

// inputs reads every input, and says which one has no value yet or is about to have another.
func (e *Engine) inputs(ctx context.Context, s Subject) (map[string]secret.Value, map[string]journal.Input, reason.Reason, error) {
	values, versions := map[string]secret.Value{}, map[string]journal.Input{}
	moving, moved := map[string]authority.RunID{}, map[authority.RunID]bool{}
	for _, input := range s.Inputs {
		held, err := e.Authority.Read(ctx, input.Path)
		if errors.Is(err, authority.ErrNotFound) {
			return nil, nil, reason.New(reason.InputWithoutValue, reason.Args{"input": input.Secret}), nil
		}
		if err != nil {
			return nil, nil, none, err
		}
		entry, err := e.Journal.Load(ctx, input.Path)
		if err != nil {
			return nil, nil, none, err
		}
		promoted := entry.Live != nil && held.ID.Run == entry.Live.ID
		if entry.Live != nil && !promoted && entry.Live.Step == journal.Delivered { // the value that it promoted is not in this reading
			return nil, nil, none, fmt.Errorf("reading %s, of which %s is computed: %w", input.Secret, s.Secret, journal.ErrBehind)
		}
		if !promoted && (entry.Current == nil || *entry.Current != held.ID) {
			return nil, nil, reason.New(reason.InputForeign, reason.Args{"input": input.Secret}), nil
		}
		if !promoted && entry.RecoveryNow() != nil {
			return nil, nil, reason.New(reason.InputRecovering, reason.Args{"input": input.Secret}), nil
		}
		if run := entry.Live; run != nil && run.Group != "" {
			if promoted {
				moved[run.Group] = true
			} else {
				moving[input.Secret] = run.Group
			}
		} else if last := entry.Last; last != nil && last.Group != "" && last.Run == held.ID.Run {
			moved[last.Group] = true
		}
		values[input.Name], versions[input.Name] = held.Value, journal.Input{Path: input.Path, Version: held.ID}
	}
	for _, name := range slices.Sorted(maps.Keys(moving)) {
		if moved[moving[name]] {
			return nil, nil, reason.New(reason.InputInGroup, reason.Args{"input": name}), nil
		}
	}
	return values, versions, none, nil
}

// behind reports whether the value was, or is being, computed from a later version of an input than was read now. Where the
// authority answers with what it had a while ago, that may be one whose credential is revoked already.
func behind(entry *journal.Entry, versions map[string]journal.Input) bool {
	known := []map[string]journal.Input{entry.Inputs}
	if entry.Live != nil {
		known = append(known, entry.Live.Inputs)
	}
	for _, inputs := range known {
		for name, input := range inputs {
			if versions[name].Before(input) {
				return true
			}
		}
	}
	return false
}

// complete closes the run: the record first, then the journal.
func (e *Engine) complete(ctx context.Context, s Subject, entry *journal.Entry, held authority.Versioned) error {
	run := entry.Live
	for _, step := range []journal.Step{journal.Planned, journal.Promoted, journal.Completed} {
		if err := e.audit(ctx, s, run, step); err != nil {
			return err
		}
	}
	spent := e.destroy(ctx, entry)
	id := held.ID
	entry.Current, entry.Rotated, entry.Inputs, entry.Formula = &id, held.Created, run.Inputs, run.Formula
	entry.Last = &journal.Outcome{
		Run: run.ID, Workflow: run.Workflow, Result: journal.ResultCompleted, Trigger: run.Trigger, Started: run.Started, Ended: e.Now(),
		Spent: spent,
	}
	entry.Live = nil
	return e.Journal.Save(ctx, entry)
}

// destroy destroys the value that the live run replaces, and what an earlier run still owes. It returns those that it could not
// destroy, for the outcome: the inputs' runs and the consumers do not wait for that.
func (e *Engine) destroy(ctx context.Context, entry *journal.Entry) (left []authority.Version) {
	var spent []authority.Version
	if entry.Last != nil {
		spent = slices.Clone(entry.Last.Spent)
	}
	first := entry.Live.Base
	if entry.Current != nil { // somebody else may have written over it
		first = min(first, entry.Current.Number)
	} else if entry.Gone != nil { // what is before was destroyed when the secret was retired
		first = max(first, entry.Gone.Number+1)
	}
	for old := max(first, 1); old <= entry.Live.Base; old++ {
		spent = append(spent, old)
	}
	for _, number := range spent {
		if e.Authority.Destroy(ctx, entry.Path, number) != nil {
			left = append(left, number)
		}
	}
	return left
}

func (e *Engine) audit(ctx context.Context, s Subject, run *journal.Run, step journal.Step) error {
	return e.Record.Append(ctx, audit.Event{
		Run: run.ID, Step: string(step), Workflow: audit.Workflow(run.Workflow), Secret: s.Secret, Path: s.Path,
		By: run.Trigger.By, Reason: run.Trigger.Reason, Result: audit.OK, At: e.Now(),
	})
}

// changed says why the value is computed.
func changed(entry *journal.Entry, versions map[string]journal.Input, s Subject) string {
	if entry.Current == nil {
		return "never computed"
	}
	var names []string
	for _, input := range s.Inputs {
		if entry.Inputs[input.Name] != versions[input.Name] {
			names = append(names, input.Secret)
		}
	}
	if len(names) == 0 {
		return "its formula changed"
	}
	return "a new version of " + strings.Join(names, ", ")
}
