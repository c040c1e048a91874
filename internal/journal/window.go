// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"slices"
	"time"
)

// Open reports whether t lies in one of the policy's windows; no windows means always. A window whose zone the system does not know is
// never open.
func (p *Policy) Open(t time.Time) bool {
	return len(p.Windows) == 0 || slices.ContainsFunc(p.Windows, func(w Window) bool { return w.open(t) })
}

// Opens is when the next of the policy's windows begins after t, zero where none does.
func (p *Policy) Opens(after time.Time) time.Time {
	var next time.Time
	for _, window := range p.Windows {
		for start := range window.starts(after, -1, 9) { // a week, and the days to which a start may be moved
			if start.After(after) && (next.IsZero() || start.Before(next)) {
				next = start
			}
		}
	}
	return next
}

// Begins is the first moment from t on at which a window is open: t itself where one is open then, zero where none ever is.
func (p *Policy) Begins(t time.Time) time.Time {
	if p.Open(t) {
		return t
	}
	return p.Opens(t)
}

// open reports whether t lies in the window. It lasts its duration, whatever the zone's clock does meanwhile.
func (w Window) open(t time.Time) bool {
	for start := range w.starts(t, -2-int(w.Duration/(24*time.Hour)), 1) { // it may have begun days ago
		if !t.Before(start) && t.Before(start.Add(w.Duration)) {
			return true
		}
	}
	return false
}

// starts yields when the window begins on the days around that of t, from first days after it to last: on the days of the calendar
// that the window names.
func (w Window) starts(t time.Time, first, last int) func(yield func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		zone, err := time.LoadLocation(w.Zone)
		if err != nil {
			return // lint refuses unknown zones; one that vanished from the system opens nothing
		}
		year, month, today := t.In(zone).Date()
		for ahead := first; ahead <= last; ahead++ {
			day := time.Date(year, month, today+ahead, 0, 0, 0, 0, time.UTC) // the calendar's: a zone may skip the day's first hour
			if len(w.Days) > 0 && !slices.Contains(w.Days, day.Weekday()) {
				continue
			}
			if !yield(shownAt(day.Add(w.Start), zone)) {
				return
			}
		}
	}
}

// shownAt is when a zone's clock shows the time of day and the date that local has in UTC. What the clock skips is later by as much as it
// skips; of what it shows twice, it is the first.
func shownAt(local time.Time, zone *time.Location) time.Time {
	at := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, zone)
	_, offset := at.Zone()
	if early := local.Sub(at.Add(time.Duration(offset) * time.Second)); early > 0 { // time.Date moves what is skipped to either side
		at = at.Add(early)
	}
	from, _ := at.ZoneBounds()
	if from.IsZero() {
		return at
	}
	_, offset = at.Zone()
	_, before := from.Add(-1).Zone()
	if first := at.Add(time.Duration(offset-before) * time.Second); before > offset && first.Before(from) {
		return first
	}
	return at
}
