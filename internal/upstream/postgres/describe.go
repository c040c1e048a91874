// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	_ "embed" // for page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe says what people are told of this kind.
func describe() []upstream.Description {
	kind := func(mode upstream.Capability) upstream.Kind {
		kind := Config{Mode: mode, Usage: true, CallDeadline: defaultCallDeadline}.kind()
		if kind.Evidence != nil {
			kind.Evidence.Source = "with `usage: true` open sessions (pg_stat_activity)"
		}
		return kind
	}
	return []upstream.Description{{
		Type: "postgres", Title: "PostgreSQL",
		Summary: "Rotates the password of roles on a PostgreSQL server, 14 or later; the server is sent a SCRAM-SHA-256 verifier, not the password.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), Means: "Two login users take turns and both become one owner role at sign-in; revoking takes LOGIN and the password from the old one."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), Means: "One login user: applying a password revokes the one before it."},
		},
		Tried: "PostgreSQL 15, and PgBouncer 1.18 before it (session and transaction pooling, auth_query and auth_file), with the rights named below and no more.",
		Page:  page,
	}}
}
