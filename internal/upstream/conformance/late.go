// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/upstream"
)

const (
	// maxRequests is more than a call makes, manyRequests about what one makes.
	maxRequests, manyRequests = 64, 8
	// holding is how long a caller waits at most for a call whose requests are kept back: those that pass must have their
	// time.
	holding = time.Second
)

// testLate keeps back what a call says from some request on, each time on a fresh fixture. It closes in on the last
// request that the call needs: what changes something is said towards the end.
func testLate(b *bench) {
	held, whole := -1, maxRequests
	for whole-held > 1 {
		requests, complete := (held+whole)/2, false
		if held < 0 { // most calls need few
			requests = min(whole/2, manyRequests)
		}
		if !b.anew(fmt.Sprintf("after %d requests", requests), func(b *bench) { complete = late(b, requests) }) {
			return
		}
		if complete {
			whole = requests
		} else {
			held = requests
		}
	}
	switch {
	case held < 0:
		b.Errorf("the call made no request: nothing was kept back")
	case whole == maxRequests:
		b.Errorf("the call makes %d requests or more", maxRequests)
	}
}

// late: a caller gives up while a request is on its way, and its run is taken back. The request lands once the next run
// has applied its candidate, where the upstream fences; elsewhere before the call's deadline, which the next run awaits.
func late(b *bench, requests int) (whole bool) {
	first := b.issue("run-1", none)
	candidate := b.propose(first)
	land := b.Hold(requests)
	defer land()
	ctx, cancel := context.WithTimeout(b.Context(), min(b.kind.CallDeadline, holding))
	defer cancel()
	_, err := b.tryApply(ctx, "run-2", first, candidate)
	b.Mend()
	if err == nil {
		return true
	}
	b.fits(err)
	b.honours(first, "while a request is on its way")
	if !b.kind.Fences {
		land()
		b.pause(min(b.kind.CallDeadline, landing))
		b.wait()
		if errors.Is(err, upstream.ErrNotApplied) && !b.kind.Issues {
			b.is(upstream.Refused, candidate, fmt.Sprintf("the candidate that is said not to be applied (%v)", err))
		}
	}
	current := b.takeBack("run-2", first, candidate)
	third := b.applyUntil("run-3", current, b.propose(current))
	land()
	for range 3 {
		b.is(upstream.Accepted, third, "the next run's candidate")
		b.honours(current, "during the next run")
		b.pause(again)
	}
	if !b.kind.Issues && b.kind.Undo != upstream.Impossible {
		b.is(upstream.Refused, candidate, "the candidate that was taken back")
	}
	b.revokeUntil("run-3", current, third)
	b.is(upstream.Accepted, third, "the next run's candidate in the end")
	b.is(upstream.Refused, current, "the old credential in the end")
	b.holds(1, "in the end")
	return false
}
