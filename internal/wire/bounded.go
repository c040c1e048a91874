// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/outward"
)

// recordTimeout bounds an append to the record.
const recordTimeout = 30 * time.Second

const theRecord = "the record"

// hangAfter is how long the authority or the record may take for one call before the platform says that it is not ready.
const hangAfter = 10 * time.Second

// unanswered says which part that everything needs holds up a call, or is not where commands look for it; "" when all is
// well. It waits for nothing.
func (p *parts) unanswered() string {
	if p.displaced.Load() {
		return fmt.Sprintf("%s is not the state folder that this process uses: that one was moved, or another was put in its place; put it back, or stop custody first", p.host.State)
	}
	for _, needed := range []struct{ part, what string }{
		{outward.Changes, "the authority has not taken a change"},
		{outward.Questions, "the authority has not answered a question"},
		{theRecord, "the record has not taken an event"},
	} {
		if began := p.calls.Oldest(needed.part); !began.IsZero() && Now().Sub(began) >= hangAfter {
			return fmt.Sprintf("%s since %s; check the disk under %s", needed.what, began.UTC().Format(time.RFC3339), p.host.State)
		}
	}
	return ""
}

// boundedRecord is the record whose appends are bounded. One that was given up may still be made: appends are idempotent
// by run and step, so it is made again.
type boundedRecord struct {
	record
	calls *outward.Calls
}

// Append implements audit's port.
func (r boundedRecord) Append(ctx context.Context, event audit.Event) error {
	_, err := outward.Do(ctx, r.calls, outward.Call{Part: theRecord, Limit: recordTimeout, Own: true}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.record.Append(ctx, event)
	})
	return err
}
