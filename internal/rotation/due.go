// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

const (
	maxAttempts = 5
	retryFirst  = time.Minute
	retryCap    = 6 * time.Hour
)

// unnoticed is the most that a clock is set back by without being held for it; see trigger.Clock. What it dates further
// ahead than that was dated by a clock that was wrong.
const unnoticed = 15 * time.Minute

// Ahead reports whether at, the time of something past, is one that only a clock which ran ahead can have given it. It is
// old then, nobody knows how.
func Ahead(at, now time.Time) bool { return at.After(now.Add(unnoticed)) }

// Later reports whether the next attempt has to wait: for a person's request, or until the time that is set for it. One
// that a clock ahead of time set is none.
func Later(retry *journal.Retry, now time.Time) bool {
	if retry == nil {
		return false
	}
	return retry.Held || now.Before(retry.NotBefore) && !Ahead(retry.NotBefore.Add(-retryAfter(retry.Attempts)), now)
}

// retryAfter doubles from a minute to six hours.
func retryAfter(attempts int) time.Duration {
	return min(retryCap, retryFirst<<min(max(attempts, 1)-1, 10))
}

// Situation is all that decides whether a secret is due.
type Situation struct {
	Entry  journal.Entry
	Policy journal.Policy
	// First: the first value is Custody's to make.
	First bool
	// Requests are the ids of the open requests by people or events.
	Requests []string
	// Compromised: one of them reports a compromise.
	Compromised bool
	Now         time.Time
}

// Reason says why a run is due. People read it in every place that shows a run.
type Reason struct {
	Kind string // first, time, event, compromise or requested
	Text string
}

// check gives a reason to start a run, or nil.
type check func(Situation) *Reason

var due = []check{neverIssued, requested, recovered, pastDue}

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
	taken := func(id string) bool { return s.Entry.Last != nil && slices.Contains(s.Entry.Last.Trigger.Requests, id) }
	return Later(s.Entry.Retry, s.Now) && !slices.ContainsFunc(s.Requests, func(id string) bool { return !taken(id) })
}

func neverIssued(s Situation) *Reason {
	recovers := s.Entry.RecoveryNow() != nil // then a person says that the first value of this authority is to be made
	if s.Entry.Current != nil || !s.First || recovers && len(s.Requests) == 0 {
		return nil
	}
	return &Reason{"first", "never issued"}
}

func requested(s Situation) *Reason {
	if len(s.Requests) == 0 || s.Entry.Current == nil {
		return nil
	}
	if s.Compromised {
		return &Reason{journal.Compromised, "reported as compromised"}
	}
	return &Reason{"requested", "requested"}
}

// recovered: an older state was put back, and what it holds is refused upstream.
func recovered(s Situation) *Reason {
	r := s.Entry.RecoveryNow()
	if r == nil || !r.Replaced() || r.Version == nil {
		return nil
	}
	return &Reason{"event", r.Reason.Text()}
}

// BetweenWindows reports whether a run would begin by the clock alone, if it were not for the policy's windows.
func BetweenWindows(s Situation) bool {
	return s.Entry.Live == nil && !backingOff(s) && overdue(s) != nil && !s.Policy.Open(s.Now)
}

func pastDue(s Situation) *Reason {
	if !s.Policy.Open(s.Now) {
		return nil
	}
	return overdue(s)
}

// overdue is pastDue at whatever hour.
func overdue(s Situation) *Reason {
	if s.Entry.RecoveryNow() != nil {
		return nil
	}
	next, ok := NextDue(s.Entry, s.Policy)
	since := began(s.Entry)
	ahead := Ahead(since, s.Now)
	switch {
	case !ok || s.Now.Before(next) && !ahead:
		return nil
	case ahead:
		return &Reason{"time", "its value is dated " + since.Format(time.RFC3339) + ", by a clock that ran ahead"}
	}
	return &Reason{"time", "its lifetime of " + s.Policy.TTL.String() + " ends " + Ends(s.Entry, s.Policy).Format(time.RFC3339)}
}

// Ends is when the current version's declared lifetime ends; zero when it has none.
func Ends(entry journal.Entry, policy journal.Policy) time.Time {
	if policy.RotationType != "time" || policy.TTL <= 0 || entry.Rotated.IsZero() {
		return time.Time{}
	}
	return began(entry).Add(policy.TTL)
}

// began is when the lifetime of the current version began. The authority dates it by a clock of its own: where that runs
// ahead, the end of the run that made the version is believed.
func began(entry journal.Entry) time.Time {
	if last := entry.Last; last != nil && entry.Current != nil && last.Run == entry.Current.Run && last.Ended.Before(entry.Rotated) {
		return last.Ended
	}
	return entry.Rotated
}

// NextDue is when the clock alone starts the next run, windows aside; false when it never does.
func NextDue(entry journal.Entry, policy journal.Policy) (time.Time, bool) {
	ends := Ends(entry, policy)
	if ends.IsZero() {
		return ends, false
	}
	return ends.Add(-policy.RotateBefore).Add(-Share(entry.Path, policy.Jitter)), true
}

// Share is a stable part of jitter for one path, so that secrets made together do not rotate together.
func Share(path authority.Path, jitter time.Duration) time.Duration {
	if jitter <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(path)) // a weaker hash gives paths that differ in their last letter nearly the same share
	return time.Duration(float64(jitter) * (float64(binary.BigEndian.Uint64(sum[:8])>>11) / math.Exp2(53)))
}
