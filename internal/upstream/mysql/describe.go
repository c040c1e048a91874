// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	_ "embed" // for page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe says what people are told of this kind.
func describe() []upstream.Description {
	kind := func(mode upstream.Capability) upstream.Kind {
		kind := Config{Mode: mode, Usage: true, CallDeadline: defaultCallDeadline, Server: Server{Product: MariaDB, MarkerTable: "custody.accounts"}}.kind()
		if kind.Evidence != nil {
			kind.Evidence.Source = "with `usage: true` open sessions (information_schema.PROCESSLIST)"
		}
		return kind
	}
	const marked = "on MySQL, and on MariaDB with `markerTable`"
	return []upstream.Description{{
		Type: "mysql", Title: "MariaDB and MySQL",
		Summary: "Rotates passwords of accounts on MariaDB (10.4.3 or later) and MySQL (8.0.21 or later). Custody sends the server a hash, not the password.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), FencesIf: marked, Means: "Two users with the same role take turns. Revoking sets a random password that nobody knows on the old user, and locks it."},
			{Name: string(upstream.Dual), Kind: kind(upstream.Dual), FencesIf: marked, Means: "One user has two passwords: on MariaDB as alternative authentication methods (OR), on MySQL by RETAIN CURRENT PASSWORD."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), FencesIf: marked, Means: "One user has one password. Setting a new password revokes the old one."},
		},
		Tried: "MariaDB 10.11, with only the permissions listed below. It has never been run on MySQL: its statements were written from MySQL's manual, and the tests only compare their text.",
		Page:  page,
	}}
}
