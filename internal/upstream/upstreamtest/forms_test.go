// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"crypto/rand"
	"testing"
	"time"

	"custody.dev/custody/internal/upstream/conformance"
	"custody.dev/custody/internal/upstream/memory"
)

// double is a form of the double; one that is not wired has no replies to lose.
func double(name string, shape memory.Shape, wired bool) Form {
	return Form{Name: name, Fresh: func(t *testing.T) Fixture {
		t.Helper()
		u, err := memory.New(memory.Config{Shape: shape, Random: rand.Reader, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		f := Fixture{Upstream: u, Break: func() { u.SetDown(true) }, Mend: func() { u.SetDown(false) }}
		if wired {
			f.Cut = func(int) {}
		}
		return f
	}}
}

// Each slow test runs on one form that gives it something to try, and the same commit draws the same.
func TestSlowTestsAreDrawn(t *testing.T) {
	t.Setenv("CUSTODY_LONG", "")
	t.Setenv("CUSTODY_SEED", "4")
	forms := []Form{double("unwired", memory.Dual, false), double("dual", memory.Dual, true), double("overwrite", memory.Overwrite, true)}
	drawn := draw(t, forms)
	for _, name := range conformance.Names() {
		at, ok := drawn[name]
		switch {
		case ok != conformance.IsSlow(name):
			t.Errorf("%s: drawn %v, slow %v", name, ok, !ok)
		case ok && at == 0:
			t.Errorf("%s runs on a form that gives it nothing to try", name)
		case name == "LostRepliesOfRevoke" && at != 1:
			t.Errorf("%s runs on form %d, want the one that revokes", name, at)
		case name == "RequestsThatLandLate" && at != -1:
			t.Errorf("%s runs on form %d, though none keeps requests back", name, at)
		}
	}
	for name, at := range draw(t, forms) {
		if drawn[name] != at {
			t.Errorf("%s: drawn %d, then %d", name, drawn[name], at)
		}
	}
	if !testing.Short() { // which outranks the long run
		t.Setenv("CUSTODY_LONG", "1")
		if got := draw(t, forms); len(got) > 0 {
			t.Errorf("the long run draws %v, want every test on every form", got)
		}
	}
}
