// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/upstream"
)

// strange is why an account is left alone: what a run that is none of the secret's history made there may be in use.
type strange struct {
	stranger string
	run      authority.RunID // the one that is held
}

func (s *strange) Error() string {
	return fmt.Sprintf("the marker of its account names run %s, which its journal does not know: a newer state or another authority changed the account, and what that made may be in use", s.stranger)
}

// Hint is the operator's next move.
func (s *strange) Hint() string {
	return "see who uses the account; once it may be changed: " + next.Force(s.run)
}

func (s *strange) Unwrap() error { return upstream.ErrSuperseded }

// Stranger is the run that changed the account of s last, as its marker has it, where that is none of entry's and nobody let
// it be changed all the same; else "". An account without a marker tells of none.
func (e *Engine) Stranger(ctx context.Context, s Subject, entry *journal.Entry, rank outward.Rank) (string, error) {
	marked, able := s.Upstream.(upstream.Marked)
	if !able {
		return "", nil
	}
	run, err := outward.Do(ctx, e.Calls, toUpstream(s, rank, askTimeout), func(ctx context.Context) (string, error) {
		return marked.Stranger(ctx, entry.Runs())
	})
	if err != nil || slices.Contains(entry.Taken, run) {
		return "", err
	}
	return run, nil
}

func (a *attempt) stranger(ctx context.Context) (string, error) {
	return a.Stranger(ctx, a.s, a.entry, a.rank())
}

// familiar wants the account's marker to name no stranger: its error wraps upstream.ErrSuperseded where it does, and else
// upstream.ErrNotApplied. The answer no holds for as long as this process remembers the run.
func (a *attempt) familiar(ctx context.Context) error {
	if a.p.familiar {
		return nil
	}
	run, err := a.stranger(ctx)
	switch {
	case errors.Is(err, upstream.ErrSuperseded):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
	case run != "":
		return &strange{run, a.run.ID}
	}
	a.p.familiar = true
	return nil
}

// ours holds a run before its first change where a stranger changed the account. A person who hands a value in says by that
// what the account is to be used with, and so that it may be changed.
func (a *attempt) ours(ctx context.Context) (*pause, error) {
	err := a.familiar(ctx)
	if found, is := errors.AsType[*strange](err); is && a.run.Trigger.Kind == Supplied {
		a.entry.Takes(found.stranger)
		return nil, nil
	}
	switch {
	case errors.Is(err, upstream.ErrSuperseded):
		return a.claimed(err), nil
	case err != nil:
		return a.stuck("the upstream to say which run changed the account last", err), nil
	}
	return nil, nil
}

// claimed says what a person does about an account that belongs to another run.
func (a *attempt) claimed(err error) *pause {
	reason := "a person: " + a.s.Explained(err)
	if _, is := errors.AsType[*strange](err); is { // it names the command
		return a.wait(reason)
	}
	reason += "; an account has one owner. If nobody else owns this one, remove that claim there, and the run goes on: " + next.ShowRun(a.run.ID)
	if a.run.Step == journal.Planned || a.run.Step == journal.Staged && a.kind.Undo != upstream.Impossible {
		reason += ". If somebody does, take the run back, and have the document name another account: " + next.Abort(a.run.ID)
	}
	return a.wait(reason)
}

// waivableMarker is the stranger that the run is held by.
func (a *attempt) waivableMarker(ctx context.Context) ([]journal.Waiver, error) {
	run, err := a.stranger(ctx)
	if err != nil || run == "" {
		return nil, err
	}
	return []journal.Waiver{{Kind: journal.WaivedMarker, Name: run, Why: "the journal does not know it"}}, nil
}
