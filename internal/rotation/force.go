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
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// Force waives what the live run id is missing now and only a person can judge, and returns it in words: that a run which the
// journal does not know changed the account; each consumer without its proof; each use of the old credential, or that the upstream cannot tell of any; of a run that is taken back,
// or that its upstream cannot undo, what is left upstream. Each is recorded by itself before it counts. What is missing
// later stays required. It waives no sign-in, no compare-and-set, no tombstone and no deadline. ErrNotAllowed: nothing that
// can be waived is missing.
func (e *Engine) Force(ctx context.Context, s Subject, id authority.RunID, by, why string) ([]string, error) {
	held, run, err := e.live(ctx, s, id)
	if err != nil {
		return nil, err
	}
	entry := &held.Entry
	a := &attempt{Engine: e, s: s, document: held, entry: entry}
	a.attach(newEvidence(run))
	waivers, err := a.waivable(ctx)
	if err != nil {
		return nil, err
	}
	if len(waivers) == 0 {
		return nil, fmt.Errorf("forcing run %s: nothing is missing that a person may waive; see what it waits for: %w", id, ErrNotAllowed)
	}
	said := make([]string, len(waivers))
	for i, w := range waivers {
		w.By, w.Reason = by, why
		said[i] = w.String()
		if err := a.auditWaiver(ctx, w); err != nil {
			return nil, err
		}
		if w.Kind == journal.WaivedMarker {
			entry.Takes(w.Name)
		}
		if !slices.ContainsFunc(run.Waived, w.Same) {
			run.Waived = append(run.Waived, w)
		}
	}
	run.Forced = by + ": " + why
	return said, a.save(ctx)
}

// waivable is what the run is missing now, as far as a person may waive it.
func (a *attempt) waivable(ctx context.Context) ([]journal.Waiver, error) {
	switch a.run.Step {
	case journal.Undoing:
		return []journal.Waiver{{Kind: journal.WaivedUndo}}, nil
	case journal.Planned:
		return a.waivableMarker(ctx)
	case journal.Staged, journal.Applied:
		waivers, err := a.waivableRoom(ctx)
		if len(waivers) > 0 || err != nil {
			return waivers, err
		}
		waivers, err = a.waivableMarker(ctx)
		if len(waivers) == 0 && a.kind.Undo == upstream.Impossible {
			return []journal.Waiver{{Kind: journal.WaivedUndo}}, nil
		}
		return waivers, err
	}
	if done, err := a.hasPromoted(ctx, a.s.Path, a.run); err != nil || !done {
		return nil, err
	}
	held, stop, err := a.held(ctx)
	if err != nil || stop != nil {
		return nil, err
	}
	a.version = &held.ID
	var waivers []journal.Waiver
	missing, err := a.missing(ctx, held, nil)
	if err != nil {
		return nil, err
	}
	for _, one := range a.required(missing) {
		waivers = append(waivers, journal.Waiver{Kind: journal.WaivedConsumer, Name: one.consumer.Name(), Why: one.why})
	}
	if len(waivers) > 0 {
		return waivers, nil
	}
	if a.run.Waiting != nil && a.run.Waiting.Reason.Is(reason.SessionsNotEnded) {
		return []journal.Waiver{{Kind: journal.WaivedSessions, Why: a.run.Waiting.Reason.Cause}}, nil
	}
	if waivers, err = a.waivableUses(ctx); len(waivers) > 0 || err != nil {
		return waivers, err
	}
	return a.waivableMarker(ctx)
}

// waivableRoom are the consumers that a run waits for which takes the place of one that had not revoked; see makeRoom.
func (a *attempt) waivableRoom(ctx context.Context) ([]journal.Waiver, error) {
	if len(a.run.Older) == 0 || a.run.Waiting == nil || !a.run.Waiting.Reason.Is(reason.CompromiseWaits) {
		return nil, nil
	}
	held, err := a.Authority.Read(ctx, a.s.Path)
	if err != nil {
		return nil, err
	}
	missing, err := a.missing(ctx, held, nil)
	var waivers []journal.Waiver
	for _, one := range a.required(missing) {
		waivers = append(waivers, journal.Waiver{Kind: journal.WaivedConsumer, Name: one.consumer.Name(), Why: one.why})
	}
	return waivers, err
}

// waivableUses are the uses of the old credential that the run said it waits for, as far as the upstream still tells of
// them, or that it can tell of none.
func (a *attempt) waivableUses(ctx context.Context) ([]journal.Waiver, error) {
	witness, able := a.s.Upstream.(upstream.Witness)
	if a.kind.Evidence == nil || !able || a.run.Base == 0 {
		return nil, nil
	}
	old, err := a.base(ctx)
	if err != nil {
		return nil, err
	}
	uses, err := a.usesOf(ctx, witness, old)
	if errors.Is(err, outward.ErrNotBegun) { // it was not asked
		return nil, err
	}
	if err != nil {
		return []journal.Waiver{{Kind: journal.WaivedEvidence, Why: err.Error()}}, nil
	}
	var waivers []journal.Waiver
	for _, use := range uses {
		w := journal.Waiver{Kind: journal.WaivedUse, Name: nameOf(use), Why: "last seen " + use.Last.UTC().Format(time.RFC3339)}
		if a.run.Waiting != nil && slices.Contains(a.run.Waiting.Uses, w.Name) && !slices.ContainsFunc(waivers, w.Same) && !a.waives(w.Kind, w.Name) {
			waivers = append(waivers, w)
		}
	}
	return waivers, nil
}

// auditWaiver records one waiver of the run.
func (a *attempt) auditWaiver(ctx context.Context, w journal.Waiver) error {
	event := a.event(journal.Step(w.Step()), w.String())
	event.By, event.Reason = w.By, w.Reason
	if w.Kind == journal.WaivedConsumer {
		event.Consumer = w.Name
	}
	if err := a.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("recording what is waived of run %s: %w", a.run.ID, err)
	}
	return nil
}
