// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"custody.dev/custody/internal/journal"
)

const (
	maxAttempts = 5
	retryFirst  = time.Minute
	retryCap    = 6 * time.Hour
)

// retryAfter doubles from a minute to six hours.
func retryAfter(attempts int) time.Duration {
	return min(retryCap, retryFirst<<min(attempts-1, 10))
}

// Situation is all that decides whether a secret is due.
type Situation struct {
	Entry  journal.Entry
	Policy journal.Policy
	// First: the first value is Custody's to make.
	First bool
	// Requests are the ids of the open requests by people or events.
	Requests []string
	Now      time.Time
}

// Reason says why a run is due. People read it in every place that shows a run.
type Reason struct {
	Kind string // first, time or requested
	Text string
}

// check gives a reason to start a run, or nil.
type check func(Situation) *Reason

var due = []check{neverIssued, requested, pastDue}

// Due returns the first reason to start a run now, or nil. It decides and changes nothing.
func Due(s Situation) *Reason {
	if s.Entry.Live != nil || backingOff(s) {
		return nil
	}
	for _, check := range due {
		if reason := check(s); reason != nil {
			return reason
		}
	}
	return nil
}

// backingOff: after failures only time passing, or a request that the failed run had not taken, starts another run. When
// that came in does not matter: it may have come while that run was live, or by a clock that was set back since.
func backingOff(s Situation) bool {
	retry := s.Entry.Retry
	if retry == nil {
		return false
	}
	taken := func(id string) bool { return s.Entry.Last != nil && slices.Contains(s.Entry.Last.Trigger.Requests, id) }
	if slices.ContainsFunc(s.Requests, func(id string) bool { return !taken(id) }) {
		return false
	}
	return retry.Held || s.Now.Before(retry.NotBefore)
}

func neverIssued(s Situation) *Reason {
	if s.First && s.Entry.Current == nil {
		return &Reason{"first", "never issued"}
	}
	return nil
}

func requested(s Situation) *Reason {
	if len(s.Requests) == 0 || s.Entry.Current == nil {
		return nil
	}
	return &Reason{"requested", "requested"}
}

func pastDue(s Situation) *Reason {
	next, ok := NextDue(s.Entry, s.Policy)
	if !ok || s.Now.Before(next) || !open(s.Policy.Windows, s.Now) {
		return nil
	}
	return &Reason{"time", "its lifetime of " + s.Policy.TTL.String() + " ends " + Ends(s.Entry, s.Policy).Format(time.RFC3339)}
}

// Ends is when the current version's declared lifetime ends; zero when it has none.
func Ends(entry journal.Entry, policy journal.Policy) time.Time {
	if policy.RotationType != "time" || policy.TTL <= 0 || entry.Rotated.IsZero() {
		return time.Time{}
	}
	return entry.Rotated.Add(policy.TTL)
}

// NextDue is when the clock alone starts the next run, windows aside; false when it never does.
func NextDue(entry journal.Entry, policy journal.Policy) (time.Time, bool) {
	ends := Ends(entry, policy)
	if ends.IsZero() {
		return ends, false
	}
	return ends.Add(-policy.RotateBefore).Add(-share(string(entry.Path), policy.Jitter)), true
}

// share is a stable part of jitter for one path, so that secrets made together do not rotate together.
func share(path string, jitter time.Duration) time.Duration {
	if jitter <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(path)) // a weaker hash gives paths that differ in their last letter nearly the same share
	return time.Duration(float64(jitter) * (float64(binary.BigEndian.Uint64(sum[:8])>>11) / math.Exp2(53)))
}

// open reports whether now lies in one of the windows; no windows means always.
func open(windows []journal.Window, now time.Time) bool {
	if len(windows) == 0 {
		return true
	}
	for _, window := range windows {
		zone, err := time.LoadLocation(window.Zone)
		if err != nil {
			continue // lint refuses unknown zones; one that vanished from the system opens nothing
		}
		local := now.In(zone)
		for back := range 2 + int(window.Duration/(24*time.Hour)) { // a window may have begun days ago
			day := local.AddDate(0, 0, -back)
			if len(window.Days) > 0 && !slices.Contains(window.Days, day.Weekday()) {
				continue
			}
			hours, minutes := int(window.Start.Hours()), int(window.Start.Minutes())%60
			start := time.Date(day.Year(), day.Month(), day.Day(), hours, minutes, 0, 0, zone)
			if !now.Before(start) && now.Before(start.Add(window.Duration)) {
				return true
			}
		}
	}
	return false
}
