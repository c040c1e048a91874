// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/outward"
)

// recordTimeout bounds an append to the record.
const recordTimeout = 30 * time.Second

// boundedRecord is the record whose appends are bounded. One that was given up may still be made: appends are idempotent
// by run and step, so it is made again.
type boundedRecord struct {
	record
	calls *outward.Calls
}

// Append implements audit's port.
func (r boundedRecord) Append(ctx context.Context, event audit.Event) error {
	_, err := outward.Do(ctx, r.calls, outward.Call{Part: "the record", Limit: recordTimeout, Own: true}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.record.Append(ctx, event)
	})
	return err
}
