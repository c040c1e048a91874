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
			{Name: string(upstream.Dual), Kind: dual.Kind(), Means: "One user has two passwords: the new one is added beside the old one, which is removed once nobody needs it."},
			{Name: string(upstream.Alternate), Kind: pair.Kind(), Means: "Two users with the rights of one template take turns: the other is switched on with a new password, the old one is switched off once nobody needs it."},
		},
		Tried: "Run against Redis 7.0, with and without TLS, one node and two. Not run against Redis 6 or 8, or Valkey.",
		Page:  page,
	}}
}
