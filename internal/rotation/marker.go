// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// strange is why an account is left alone: what a run that is none of the secret's history made there may be in use.
type strange struct {
	stranger string
	run      authority.RunID // the one that is held
}

func (s *strange) Error() string {
	return s.reason().Text()
}

func (s *strange) reason() reason.Reason {
	return reason.New(reason.AccountMarkerUnknown, reason.Args{"marker": s.stranger, "force": string(s.run)})
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
	if a.seen.familiar {
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
	a.seen.familiar = true
	return nil
}

// ours holds a run before its first change where a stranger changed the account. A person who hands a value in says by that
// what the account is to be used with, and so that it may be changed.
func (a *attempt) ours(ctx context.Context) (*pause, error) {
	err := a.familiar(ctx)
	if found, is := errors.AsType[*strange](err); is && (a.run.Trigger.Kind == Supplied || a.choice == Adopted) {
		a.entry.Takes(found.stranger)
		return nil, nil
	}
	switch {
	case errors.Is(err, upstream.ErrSuperseded):
		return a.pause(a.claimed(err)), nil
	case err != nil:
		return a.stuck(reason.AccountMarkerUnread, err), nil
	}
	return nil, nil
}

// waivableMarker is the stranger that the run is held by.
func (a *attempt) waivableMarker(ctx context.Context) ([]journal.Waiver, error) {
	run, err := a.stranger(ctx)
	if err != nil || run == "" {
		return nil, err
	}
	return []journal.Waiver{{Kind: journal.WaivedMarker, Name: run, Why: "the journal does not know it"}}, nil
}
