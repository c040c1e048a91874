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
		Summary: "Rotates passwords of roles on a PostgreSQL server, version 14 or later. Custody sends the server a SCRAM-SHA-256 verifier (hash), not the password.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), Means: "Two login users take turns. Both act as one owner role. Revoking removes LOGIN and the password from the old user."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), Means: "There is one login user. Setting a new password revokes the old one."},
		},
		Tried: "PostgreSQL 15, also behind PgBouncer 1.18 (session and transaction pooling, auth_query and auth_file), with only the permissions listed below.",
		Page:  page,
	}}
}
