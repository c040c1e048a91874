// SPDX-License-Identifier: Apache-2.0

package redis

import (
	_ "embed" // the page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// describe tells people what this kind can do.
func describe() []upstream.Description {
	pair := Pair{&Upstream{Config: Config{Mode: upstream.Alternate, CallDeadline: defaultCallDeadline}}}
	dual := &Upstream{Config: Config{Mode: upstream.Dual, CallDeadline: defaultCallDeadline}}
	return []upstream.Description{{
		Type: "redis", Title: "Redis and Valkey",
		Summary: "Rotates the passwords of users in the access control lists of Redis 6 or later, or of Valkey.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Dual), Kind: dual.Kind(), Means: "One user has two passwords: Custody adds the new one, and removes the old one when nobody needs it any more."},
			{Name: string(upstream.Alternate), Kind: pair.Kind(), Means: "Two users with the permissions of one template take turns: Custody switches the other one on with a new password, and switches the old one off when nobody needs it any more."},
		},
		Tried: "Redis 7.0, with and without TLS, with one node and with two. Never run against Redis 6 or 8, or Valkey.",
		Page:  page,
	}}
}
