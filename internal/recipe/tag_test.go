// SPDX-License-Identifier: Apache-2.0

package recipe

import "testing"

func TestTagsNameTheRun(t *testing.T) {
	for _, test := range []struct {
		max  int
		run  string
		want string
	}{
		{200, "5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d", "custody-" + digest(10, "shop/test/key") + "-5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d-00000000-shop-test-key"},
		{40, "5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d", "custody-" + digest(20, "shop/test/key", "5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d") + "-00000000-sh"},
		{200, "run with spaces", "custody-" + digest(20, "shop/test/key", "run with spaces") + "-00000000-shop-test-key"},
	} {
		const claim = "shop/test/key"
		c := &Compiled{Source: &Recipe{Tag: &Tag{Max: test.max}}}
		got := c.Tag(claim, "run-x", "00000000")
		if c.Carries(got, claim, "run-xx") || c.Carries(got, claim, "run-") || !c.Carries(got, claim, "run-x") {
			t.Errorf("%q is taken for another run's", got)
		}
		if c.Carries(got, "shop/prod/key", "run-x") {
			t.Errorf("%q is taken for another claim's", got)
		}
		if c.Carries("custody-"+digest(10, claim)+"-run-x-by-a-person", claim, "run-x") {
			t.Error("a name without the digits at its end is taken for a tag")
		}
		if test.run != "" {
			if got := c.Tag(claim, test.run, "00000000"); got != test.want || len(got) > test.max {
				t.Errorf("got %q, want %q", got, test.want)
			}
		}
	}
}
