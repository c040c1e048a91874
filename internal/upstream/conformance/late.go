// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/upstream"
)

const (
	// maxRequests is more than a call makes, manyRequests about what one makes.
	maxRequests, manyRequests = 64, 8
	// lastRequests is Fixture.Last unless it is set.
	lastRequests = 4
	// holding is how long a caller waits at first for a call whose requests are kept back: those that pass must have their
	// time. It is doubled when they had too little, so many times, up to half a minute.
	holding, doublings = 250 * time.Millisecond, 8
)

// testLate keeps back what a call says from some request on, each time on a fresh fixture. It searches for the last
// request that the call needs, and then tries those before it.
func testLate(b *bench) {
	tried := map[int]bool{}
	try := func(requests int) (whole, passed bool) {
		tried[requests] = true
		wait := min(b.kind.CallDeadline, holding)
		for range doublings {
			kept := 0
			passed = b.anew(fmt.Sprintf("after %d requests, within %s", requests, wait), func(b *bench) { kept, whole = late(b, requests, wait) })
			if whole || kept > 0 || !passed {
				return whole, passed
			}
			wait *= 2
		}
		b.Errorf("after %d requests: the call failed, and nothing of it was kept back", requests)
		return false, false
	}
	held, end := -1, maxRequests
	for end-held > 1 {
		requests := (held + end) / 2
		if held < 0 { // most calls need few
			requests = min(end/2, manyRequests)
		}
		whole, passed := try(requests)
		switch {
		case !passed:
			return
		case whole:
			end = requests
		default:
			held = requests
		}
	}
	switch {
	case held < 0:
		b.Errorf("the call made no request: nothing was kept back")
	case end == maxRequests:
		b.Errorf("the call makes %d requests or more", maxRequests)
	}
	for requests := held - 1; requests >= max(0, end-cmp.Or(b.Last, lastRequests)); requests-- {
		if tried[requests] {
			continue
		}
		if _, passed := try(requests); !passed {
			return
		}
	}
}

// late: a caller gives up while a request is on its way, and its run is taken back. The request lands once the next run
// has applied its candidate, where the upstream fences; elsewhere before the call's deadline, which the next run awaits.
// It returns how many requests were kept back, or that the call had all that it needed.
func late(b *bench, requests int, wait time.Duration) (kept int, whole bool) {
	first := b.issue("run-1", none)
	candidate := b.propose(first)
	land := b.Hold(requests)
	defer land()
	ctx, cancel := context.WithTimeout(b.Context(), wait)
	defer cancel()
	_, err := b.tryApply(ctx, "run-2", first, candidate)
	b.Mend()
	if err == nil {
		return 0, true
	}
	b.fits(err)
	b.honours(first, "while a request is on its way")
	if !b.kind.Fences {
		land() // and has landed
		b.wait()
		if errors.Is(err, upstream.ErrNotApplied) && !b.kind.Issues {
			b.is(upstream.Refused, candidate, fmt.Sprintf("the candidate that is said not to be applied (%v)", err))
		}
	}
	current := b.takeBack("run-2", first, candidate)
	third := b.applyUntil("run-3", current, b.propose(current))
	kept = land()
	b.wait()
	b.undisturbed(current, candidate, third, 1)
	return kept, false
}
