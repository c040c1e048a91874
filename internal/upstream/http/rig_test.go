// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"sync"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"
)

// apply issues or applies what follows current.
func apply(t *testing.T, u *adapter.Upstream, run authority.RunID, current secret.Value) secret.Value {
	t.Helper()
	var candidate secret.Value
	var err error
	if !u.Kind().Issues {
		if candidate, err = u.Propose(t.Context(), current); err != nil {
			t.Fatalf("Propose: %v", err)
		}
	}
	v, err := u.Apply(t.Context(), run, current, candidate)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return v
}

func verdict(t *testing.T, u *adapter.Upstream, v secret.Value, want upstream.Verdict) {
	t.Helper()
	got, err := u.Verify(t.Context(), v)
	if got != want {
		t.Errorf("Verify: got %s (%v), want %s", got, err, want)
	}
}

func collect(t *testing.T, u *adapter.Upstream, run authority.RunID) {
	t.Helper()
	collector, ok := u.Powers().(upstream.Collector)
	if !ok {
		t.Fatal("no power to collect")
	}
	if err := collector.Collect(t.Context(), run); err != nil {
		t.Fatalf("Collect: %v", err)
	}
}

// atOnce runs suites beside each other, however many tests may be parallel: they wait more than they work.
func atOnce(t *testing.T, suites map[string]func(*testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for name, suite := range suites {
		all.Go(func() { t.Run(name, suite) })
	}
	all.Wait()
}
