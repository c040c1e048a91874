// SPDX-License-Identifier: Apache-2.0

package aws

import (
	_ "embed" // the page
	"time"

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// describe tells people what this kind can do.
func describe() []upstream.Description {
	u := &Upstream{Config: Config{CallDeadline: defaultCallDeadline, Settle: 15 * time.Second}}
	return []upstream.Description{{
		Type: "aws", Title: "AWS access keys",
		Summary: "Rotates the access keys of IAM users of Amazon Web Services.",
		Modes: []upstream.Mode{{
			Kind:  u.Kind(),
			Means: "A user has two access keys at most: IAM issues the second, and the first is made inactive once nobody needs it.",
		}},
		Tried: "Never run against AWS itself. Tried against a local server written from what AWS publishes of IAM and STS: signatures, " +
			"the quota of two keys, pages, throttling, errors, lost replies, and keys that are known and forgotten late.",
		Page: page,
	}}
}
