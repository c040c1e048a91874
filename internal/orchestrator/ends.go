// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/expiry"
	"custody.dev/custody/internal/journal"
)

// ends notes when the value of record ends by what the value itself says: once for each version, and only where it says so.
func (o *Orchestrator) ends(ctx context.Context, entry *journal.Entry, held authority.Versioned) error {
	if entry.EndsNow() != nil {
		return nil
	}
	end := expiry.Of(held.Value)
	if end.At.IsZero() {
		return nil
	}
	entry.Ends = &journal.Ends{Version: held.ID, At: end.At, By: end.By}
	return o.Journal.Save(ctx, entry)
}
