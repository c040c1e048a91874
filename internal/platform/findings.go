// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"fmt"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/next"
)

// findings are what a person must look at. What only takes its time is none.
func findings(row inventory.Row, now time.Time) []string {
	var found []string
	if row.Expired {
		found = append(found, fmt.Sprintf("%s expired at %s (%s); %s", row.Secret, row.Expires.UTC().Format(time.RFC3339), row.ExpiresBy, replaces(row)))
	}
	if row.Waiting != "" && !row.ByDesign {
		found = append(found, row.Secret+" waits for "+row.Waiting)
	}
	if row.Refused != "" && row.Live == nil {
		found = append(found, row.Secret+": "+row.Refused)
	}
	if row.Drift != "" {
		found = append(found, row.Secret+": "+row.Drift)
	}
	if ahead := ahead(row, now); ahead != "" {
		found = append(found, ahead)
	}
	return found
}

// replaces says how an expired secret gets a new value, unless it says itself what keeps it from one.
func replaces(row inventory.Row) string {
	switch {
	case row.Waiting != "" || row.Live != nil || row.Refused != "":
		return "what it waits for is said apart: " + next.Explain(row.Secret)
	case row.Class == "derived":
		return "it is computed anew with its inputs: " + next.Explain(row.Secret)
	case row.Upstream == "" && row.Origin != "generated":
		return "hand in a new value: " + next.Supply(row.Secret)
	}
	return "replace it: " + next.Rotate(row.Secret)
}
