// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"custody.dev/custody/internal/audit"
)

// acceptRecord goes on with a record that was cut where nothing says that the authority is older than the world: values, runs and
// requests stay as they are. Repeating it after an error is safe.
func (e *Engine) acceptRecord(ctx context.Context, by, reason string, was []string, dry bool) (Report, error) {
	report := Report{Was: was, Gap: e.gap(), RecordAlone: true, Secrets: []Outcome{}}
	if dry {
		return report, nil
	}
	last, err := Last(ctx, e.Authority)
	if err != nil {
		return Report{}, err
	}
	ahead := e.Record.Ahead()
	if at := slices.IndexFunc(ahead, func(o audit.Outside) bool { return !o.Cut }); at >= 0 {
		return Report{}, fmt.Errorf("%s, which showed meanwhile: %w", ahead[at], ErrNewer)
	}
	if !last.gaveUp(ahead) { // else the call before was not answered, and took effect
		last.Schema, last.Run, last.Events = schema, e.NewRun(), e.Record.Size()
		e.giveUp(&last, ahead, by, reason)
		data, err := json.Marshal(last)
		if err != nil {
			return Report{}, fmt.Errorf("encoding what is accepted: %w", err)
		}
		if _, err := e.Authority.Put(ctx, recordKey, last.revision, data); err != nil {
			return Report{}, fmt.Errorf("accepting the record that was cut: %w", err)
		}
	}
	report.Incarnation = e.Authority.Incarnation()
	return report, e.Settle(context.WithoutCancel(ctx)) // what was accepted is put on record though its caller has gone
}

func (e *Engine) gap() string { return audit.GapOf(e.Record.Ahead(), e.Record.Size()) }

// giveUp notes checkpoints as given up. The event that says what the record goes on without comes before all else that is owed: it
// stands where the gap is.
func (e *Engine) giveUp(accepted *Accepted, ahead []audit.Outside, by, reason string) {
	now := e.Now()
	for _, outside := range ahead {
		accepted.GivenUp = append(accepted.GivenUp, outside.Data)
		if outside.Cut {
			accepted.Cut = now
		}
	}
	if gap := audit.GapOf(ahead, accepted.Events); gap != "" {
		accepted.Owed = append([]audit.Event{{
			Run: accepted.Run, Step: audit.StepGap, Workflow: audit.Operation, By: by, Reason: reason, Result: audit.OK, At: now, Detail: gap,
		}}, accepted.Owed...)
	}
}

// gaveUp reports whether all of these were given up, and that is still to go on record.
func (a *Accepted) gaveUp(ahead []audit.Outside) bool {
	return len(a.Owed) > 0 && !slices.ContainsFunc(ahead, func(o audit.Outside) bool {
		return !slices.ContainsFunc(a.GivenUp, func(given []byte) bool { return bytes.Equal(given, o.Data) })
	})
}
