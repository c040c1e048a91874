// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/upstream"
)

// checkRetry is how long after a refused sign-in with the value of record the next is tried; it doubles with each.
const checkRetry = 5 * time.Minute

// NextCheck is when the value of record is to be tried at its upstream again; false when it never is. A value counts as
// tried when its run completed or it was handed over. Looks are spread: each comes earlier than verifyEvery by a stable
// share of half of it. A refused one is tried again with a growing back-off, and never more often than wrongEvery allows.
func NextCheck(entry journal.Entry, policy journal.Policy, wrongEvery time.Duration, now time.Time) (time.Time, bool) {
	every := policy.VerifyEvery
	if every <= 0 || entry.Current == nil || entry.Live != nil {
		return time.Time{}, false
	}
	last, wait := began(entry), watchEvery(entry.Path, every)
	if checked := entry.CheckedNow(); checked != nil {
		last = checked.At
		if checked.Refused {
			wait = max(min(every, checkRetry<<min(max(checked.Tries-1, 0), 12)), 2*wrongEvery)
		}
	}
	if Ahead(last, now) {
		return now, true // by a clock that ran ahead
	}
	return last.Add(wait), true
}

// watchEvery is verifyEvery, less a stable share of half of it for each path.
func watchEvery(path authority.Path, every time.Duration) time.Duration {
	return every - Share(path+" verify", every/2)
}

// Check signs in with the value of record of s, which has no live run, within what locks accounts out. Unknown comes with the
// reason.
func (e *Engine) Check(ctx context.Context, s Subject, held authority.Versioned) (upstream.Verdict, error) {
	if err := e.Ready(ctx, s); err != nil {
		return upstream.Unknown, err
	}
	a := &attempt{Engine: e, s: s, known: known{kind: s.Upstream.Kind()}}
	return a.ask(ctx, held.Value)
}
