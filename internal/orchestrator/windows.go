// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"slices"
	"time"

	"custody.dev/custody/internal/journal"
)

// opens is when the next of the windows begins after now, zero when there are none.
func opens(windows []journal.Window, now time.Time) time.Time {
	var next time.Time
	for _, window := range windows {
		zone, err := time.LoadLocation(window.Zone)
		if err != nil {
			continue // it opens nothing; see rotation.Due
		}
		today := now.In(zone)
		for ahead := range 8 { // a week, and the day on which today's has begun already
			day := today.AddDate(0, 0, ahead)
			start := time.Date(day.Year(), day.Month(), day.Day(), int(window.Start.Hours()), int(window.Start.Minutes())%60, 0, 0, zone)
			if !start.After(now) || len(window.Days) > 0 && !slices.Contains(window.Days, day.Weekday()) {
				continue
			}
			if next.IsZero() || start.Before(next) {
				next = start
			}
			break
		}
	}
	return next
}
