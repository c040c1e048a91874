// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"strings"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
)

// findings are what a person must look at. What only takes its time is none.
func findings(row inventory.Row, now time.Time) []server.Finding {
	var found []server.Finding
	if row.Expired {
		ended := reason.New(reason.LifetimeEnded, reason.Args{"at": at(row.Expires), "by": row.ExpiresBy})
		found = append(found, server.NewFinding(row.Secret, ended.With(replaces(row))))
	}
	if row.Ending {
		ends := reason.New(reason.LifetimeEnding, reason.Args{"at": at(row.Expires), "by": row.ExpiresBy})
		found = append(found, server.NewFinding(row.Secret, ends.With(replaces(row))))
	}
	if row.Held() {
		found = append(found, server.Finding{Secret: row.Secret, Shown: *row.Waiting})
	}
	if row.Refused != nil && row.Live == nil {
		found = append(found, server.Finding{Secret: row.Secret, Shown: *row.Refused})
	}
	if row.Drift != nil {
		found = append(found, server.Finding{Secret: row.Secret, Shown: *row.Drift})
	}
	if c := compromise(row); c != nil && len(c.Broken) > 0 {
		broken := reason.New(reason.ConsumersBroken, reason.Args{"consumers": strings.Join(c.Broken, ", "), "by": c.By, "at": at(c.At)})
		found = append(found, server.NewFinding(row.Secret, broken))
	}
	if rotation.Ahead(row.Rotated, now) {
		found = append(found, server.NewFinding(row.Secret, reason.New(reason.DatedAhead, reason.Args{"at": at(row.Rotated)})))
	}
	return found
}

// compromise is what the secret's live run, or else its last one, replaced a credential for; nil where it did not.
func compromise(row inventory.Row) *journal.Compromise {
	return (&journal.Entry{Live: row.Live, Last: row.Last}).Replaces()
}

// replaces says how an expired secret gets a new value, unless it says itself what keeps it from one.
func replaces(row inventory.Row) reason.Args {
	switch {
	case row.Waiting != nil || row.Live != nil || row.Refused != nil:
		return reason.Args{"explain": row.Secret}
	case row.Class == "derived":
		return reason.Args{"explain": row.Secret}
	case row.Upstream == "" && row.Origin != "generated":
		return reason.Args{"supply": row.Secret}
	}
	return reason.Args{"rotate": row.Secret}
}
