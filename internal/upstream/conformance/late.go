// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// maxRequests is more than a call makes, manyRequests about what one makes.
	maxRequests, manyRequests = 64, 8
	// holding is how long a caller waits at first for a call whose requests are kept back: those that pass must have their
	// time. It is doubled when they had too little, so many times, up to half a minute.
	holding, doublings = 250 * time.Millisecond, 8
)

// testLate keeps back what a call says from some request on, each time on a fresh fixture. It searches for the last
// request that the call needs, and lets that one land late, and those before it, or one that is drawn of them.
func testLate(b *bench) {
	last, ok := b.lastRequest()
	if !ok {
		return
	}
	points := []int{last}
	switch {
	case b.Draw == nil:
		for requests := range last {
			points = append(points, requests)
		}
	case last > 0:
		points = append(points, b.Draw(last))
	}
	b.each(len(points), func(i int) {
		for requests := points[i]; requests >= 0; requests-- { // a call that once needs fewer is kept back earlier
			if whole, _ := b.keepBack(fmt.Sprintf("landing after %d requests", requests), requests, late); !whole {
				return
			}
		}
	})
}

// lastRequest searches for the last request that Apply needs, counted from 0.
func (b *bench) lastRequest() (last int, ok bool) {
	b.Helper()
	held, end := -1, maxRequests
	for end-held > 1 {
		requests := (held + end) / 2
		if held < 0 { // most calls need few
			requests = min(end/2, manyRequests)
		}
		whole, passed := b.keepBack(fmt.Sprintf("after %d requests", requests), requests, onItsWay)
		switch {
		case !passed:
			return 0, false
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
	return held, held >= 0 && end < maxRequests
}

// keepBack runs test on a fresh fixture, with so much time that something is kept back after so many requests.
func (b *bench) keepBack(name string, requests int, test func(*bench, given) (kept int, whole bool)) (whole, passed bool) {
	b.Helper()
	wait := min(b.kind.CallDeadline, holding)
	for range doublings {
		kept := 0
		passed = b.anew(fmt.Sprintf("%s, within %s", name, wait), func(b *bench) { kept, whole = test(b, b.giveUp(requests, wait)) })
		if whole || kept > 0 || !passed {
			return whole, passed
		}
		wait *= 2
	}
	b.Errorf("after %d requests: the call failed, and nothing of it was kept back", requests)
	return false, false
}

// given is a call of run-2 that was given up while a request was on its way, and what was before it.
type given struct {
	first, candidate secret.Value
	land             func() (kept int)
	// err is what the call ended with; nil says that it had all that it needed.
	err error
}

// giveUp makes a call and gives it up.
func (b *bench) giveUp(requests int, wait time.Duration) (g given) {
	b.Helper()
	g.first = b.issue("run-1", none)
	g.candidate = b.propose(g.first)
	g.land = b.Hold(requests)
	ctx, cancel := context.WithTimeout(b.Context(), wait)
	defer cancel()
	_, g.err = b.tryApply(ctx, "run-2", g.first, g.candidate)
	b.Mend()
	if g.err == nil {
		return g
	}
	b.fits(g.err)
	b.honours(g.first, "while a request is on its way")
	return g
}

// onItsWay looks no further than giveUp. It returns how many requests were kept back, or that the call had all that it
// needed.
func onItsWay(_ *bench, g given) (kept int, whole bool) { return g.land(), g.err == nil }

// late: a caller gives up while a request is on its way, and its run is taken back. The request lands once the next run
// has applied its candidate, where the upstream fences; elsewhere before the call's deadline, which the next run awaits.
// It returns as onItsWay does.
func late(b *bench, g given) (kept int, whole bool) {
	defer g.land()
	if g.err == nil {
		return 0, true
	}
	if !b.kind.Fences {
		g.land() // and has landed
		b.wait()
		if errors.Is(g.err, upstream.ErrNotApplied) && !b.kind.Issues {
			b.is(upstream.Refused, g.candidate, fmt.Sprintf("the candidate that is said not to be applied (%v)", g.err))
		}
	}
	current := b.undo("run-2", g.first, g.candidate)
	third := b.applyUntil("run-3", current, b.propose(current))
	kept = g.land()
	b.wait()
	b.undisturbed(current, g.candidate, third, 1)
	return kept, false
}
