// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"testing"

	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream/conformance"
)

// Form is one of the ways in which a kind is used on one real part: a mode, a plugin, TLS.
type Form struct {
	Name  string
	Fresh func(t *testing.T) Fixture
}

// Forms runs the suite on several forms, one after the other, each under its name. Those tests of it that take long (the
// ones that lose replies and keep requests back) run on one form each, which is drawn from the forms that give it something
// to try; in the long run, on every form. All others always run on every form.
func Forms(t *testing.T, forms []Form) {
	t.Helper()
	forEach(t, forms, func(t *testing.T, fresh func(*testing.T) Fixture, chosen func(string) bool) {
		t.Helper()
		run(t, fresh, chosen)
	})
}

// ParallelForms is Forms with the forms beside each other: most of their time is waiting for replies that were lost. The
// forms end after the test that calls it, before its clean-up.
func ParallelForms(t *testing.T, forms []Form) {
	t.Helper()
	forEach(t, forms, func(t *testing.T, fresh func(*testing.T) Fixture, chosen func(string) bool) {
		t.Helper()
		t.Parallel()
		run(t, fresh, chosen)
	})
}

func forEach(t *testing.T, forms []Form, suite func(t *testing.T, fresh func(*testing.T) Fixture, chosen func(string) bool)) {
	t.Helper()
	drawn := draw(t, forms)
	for i, form := range forms {
		t.Run(form.Name, func(t *testing.T) {
			suite(t, form.Fresh, func(name string) bool {
				at, one := drawn[name]
				return !one || at == i
			})
		})
	}
}

// draw chooses, by its number, the form that each slow test runs on. A test that is not in it runs on every form.
func draw(t *testing.T, forms []Form) map[string]int {
	t.Helper()
	if thorough.Long() || len(forms) < 2 {
		return nil
	}
	candidates := map[string][]int{}
	for i, form := range forms {
		for _, name := range conformance.Slow(form.Fresh(t).forSuite(t)) {
			candidates[name] = append(candidates[name], i)
		}
	}
	random, drawn := thorough.Random(t, t.Name()), map[string]int{}
	for _, name := range conformance.Names() { // in an order that repeats
		if on := candidates[name]; len(on) > 0 {
			drawn[name] = on[random.IntN(len(on))]
			t.Logf("%s runs on the form %s", name, forms[drawn[name]].Name)
		} else if conformance.IsSlow(name) {
			drawn[name] = -1 // it has nothing to try
		}
	}
	return drawn
}
