// SPDX-License-Identifier: Apache-2.0

package github

import (
	_ "embed" // for the page
	"time"

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe says what people are told of this kind.
func describe() []upstream.Description {
	u := &Upstream{Config: Config{CallDeadline: defaultCallDeadline, Settle: 10 * time.Second}}
	return []upstream.Description{{
		Type:    "github",
		Title:   "GitHub App installation tokens",
		Summary: "Creates access tokens for an installation of a GitHub App, restricted to repositories and permissions, and revokes the previous token.",
		Modes: []upstream.Mode{{
			Kind:  u.Kind(),
			Means: "The old and the new token are both valid until the old one is revoked, or expires an hour after it was created.",
		}},
		Tried: "A local server built from GitHub's published description. It was never run against github.com or a GitHub Enterprise Server.",
		Page:  page,
	}}
}
