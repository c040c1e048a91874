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
		Summary: "Rotates access keys of IAM users of Amazon Web Services.",
		Modes: []upstream.Mode{{
			Kind:  u.Kind(),
			Means: "A user can have two access keys. IAM creates the second one; Custody makes the first one inactive when nobody needs it any more.",
		}},
		Tried: "Never run against AWS itself. It was run against a local server built from AWS's published description of IAM and STS: signatures, " +
			"the limit of two keys, pages, throttling, errors, lost replies, and changes that take effect late.",
		Page: page,
	}}
}
