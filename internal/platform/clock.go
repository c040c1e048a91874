// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
)

// redate dates what a clock that ran ahead dated later than now: when it happened is not known, and it was not later than
// now. Each is on record. A run that moves meanwhile dates its own end.
func (p *Platform) redate(ctx context.Context, by string) error {
	entries, err := p.Journal.All(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if entry.Fault == nil {
			errs = append(errs, p.redateOne(ctx, entry.Path, by))
		}
	}
	return errors.Join(errs...)
}

func (p *Platform) redateOne(ctx context.Context, path authority.Path, by string) error {
	for {
		entry, err := p.Journal.Load(ctx, path)
		if err != nil {
			return err
		}
		now := p.Now()
		was := entry.Rotated
		if !putBack(entry, now) {
			return nil
		}
		switch err := p.Journal.Save(ctx, entry); {
		case errors.Is(err, journal.ErrSuperseded) && ctx.Err() == nil:
			continue
		case err != nil:
			return err
		}
		return p.Record.Append(ctx, audit.Event{
			Run: p.NewRun(), Step: "dated-anew", Workflow: audit.Operation, Secret: entry.Secret, Path: path, Version: entry.Current, By: by,
			Reason: "the time shown is right", Result: audit.OK, Detail: "it was dated " + was.UTC().Format(time.RFC3339) + ", by a clock that ran ahead", At: now,
		})
	}
}

// putBack brings every time of the entry that lies ahead of now back to it, and reports whether there was one.
func putBack(entry *journal.Entry, now time.Time) bool {
	times := []*time.Time{&entry.Rotated}
	if last := entry.Last; last != nil {
		changed := *last
		entry.Last = &changed
		times = append(times, &changed.Started, &changed.Ended)
	}
	if entry.Checked != nil {
		times = append(times, &entry.Checked.At, &entry.Checked.Since)
	}
	if entry.Live != nil {
		times = append(times, &entry.Live.Started)
		if entry.Live.Waiting != nil {
			times = append(times, &entry.Live.Waiting.Since)
		}
	}
	found := false
	for _, at := range times {
		if rotation.Ahead(*at, now) {
			*at, found = now, true
		}
	}
	return found
}
