// SPDX-License-Identifier: Apache-2.0

package generated

import (
	_ "embed" // the page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe tells people what this kind can do.
func Describe() upstream.Description {
	return upstream.Description{
		Type: "generated", Title: "Generated values",
		Summary: "For secrets that no outside system checks: signing keys, session keys, tokens that only your own processes share. " +
			"Custody generates them by a rule, `origin.generated`. There is no `Upstream` document.",
		Modes: []upstream.Mode{{
			Kind:  (&Upstream{}).Kind(),
			Means: "no system refuses the old value, so both values are valid as long as your own programs accept them.",
		}},
		Tried: "there is no system to run against; the tests check the rules.",
		Page:  page,
	}
}
