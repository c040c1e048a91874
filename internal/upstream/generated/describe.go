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
			"Custody draws them by rule; there is no `Upstream` document, and `origin.generated` alone makes it so.",
		Modes: []upstream.Mode{{
			Kind:  (&Upstream{}).Kind(),
			Means: "nothing outside refuses the old value, so both are valid as long as consumers take them.",
		}},
		Tried: "there is nothing outside to try it on; the rules are tested.",
		Page:  page,
	}
}
