// SPDX-License-Identifier: Apache-2.0

// Package upstreamtest runs the test suite that every upstream passes, also the doubles, under `go test`. Package
// conformance says what the suite tests, and what it cannot.
package upstreamtest

import (
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/conformance"
)

// Fixture is one fresh upstream that honours nothing yet, or nothing that the suite knows.
type Fixture struct {
	Upstream upstream.Upstream
	// Break makes the upstream unreachable and Mend undoes it. Both are needed when Kind.Verifies.
	Break, Mend func()
	// Wait lets changes propagate; nil when they show at once.
	Wait func()
	// Refused turns a proposed candidate into one that the upstream never takes; nil when it has no such rule.
	Refused func(t *testing.T, candidate secret.Value) secret.Value
	// Cut makes the upstream lose its replies after that many from now on, while requests still arrive; Mend undoes it.
	// Nil where no wire lies between.
	Cut func(replies int)
	// Hold keeps back what is said to the upstream after that many requests from now on; Mend ends that for what is said
	// later, and land delivers what was kept back, returns when the upstream has answered it, and says how many requests
	// that were. Nil where no wire lies between.
	Hold func(requests int) (land func() (kept int))
	// Throttle makes the upstream answer that it is asked too often; Mend undoes it. Nil when it never does.
	Throttle func()
	// Skew moves the clock that the upstream was configured with. Nil when it reads none.
	Skew func(by time.Duration)
	// Held names every credential of the account that would be accepted now, by identities that are not secret. Nil when
	// that cannot be asked.
	Held func(t *testing.T) []string
	// Public names the fields of its values that are not secret, besides username: an access key's id, say.
	Public []string
	// EnforcesRun: runs that a later one superseded are refused with ErrSuperseded.
	EnforcesRun bool
	// Beside: fixtures are independent, so that one may be broken or wait while another is used.
	Beside bool
	// Log returns everything that the part has written and shown; it is searched for values. Nil when there is nothing.
	Log func() string
}

// Run runs the whole suite. fresh is called at least once for each test; where replies are lost, once for each reply.
func Run(t *testing.T, fresh func(t *testing.T) Fixture) {
	t.Helper()
	run(t, fresh, nil)
}

func run(t *testing.T, fresh func(t *testing.T) Fixture, chosen func(name string) bool) {
	t.Helper()
	conformance.Run(runner{t}, func(on conformance.T) conformance.Fixture {
		t := on.(runner).T
		t.Helper()
		return fresh(t).forSuite(t)
	}, chosen)
}

// runner is a test as the suite knows it.
type runner struct{ *testing.T }

func (r runner) Run(name string, test func(conformance.T)) bool {
	r.Helper()
	return r.T.Run(name, func(t *testing.T) { test(runner{t}) })
}

func (f Fixture) forSuite(t *testing.T) conformance.Fixture {
	t.Helper()
	if f.Upstream.Kind().Verifies && (f.Break == nil || f.Mend == nil) {
		t.Fatal("the fixture must be able to break and mend its upstream")
	}
	suited := conformance.Fixture{
		Upstream: f.Upstream, Break: f.Break, Mend: f.Mend, Wait: f.Wait, Cut: f.Cut, Hold: f.Hold, Throttle: f.Throttle, Skew: f.Skew,
		Public: f.Public, EnforcesRun: f.EnforcesRun, Log: f.Log, Beside: f.Beside,
	}
	if thorough.Of(false, true, false) { // doubles, which are all that the fast loop has, lose little time by every place
		suited.Draw = thorough.Random(t, t.Name()).IntN
	}
	if f.Refused != nil {
		suited.Refused = func(on conformance.T, candidate secret.Value) secret.Value {
			return f.Refused(on.(runner).T, candidate)
		}
	}
	if f.Held != nil {
		suited.Held = func(on conformance.T) []string { return f.Held(on.(runner).T) }
	}
	return suited
}
