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
		Summary: "Rotates the password of accounts on MariaDB (10.4.3 or later) and MySQL (8.0.21 or later); the server is sent a hash, not the password.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), FencesIf: marked, Means: "Two users take turns and have the same role; the old one keeps its password until it is revoked, then gets one that nobody knows, and is locked."},
			{Name: string(upstream.Dual), Kind: kind(upstream.Dual), FencesIf: marked, Means: "One user has two passwords: on MariaDB as alternatives of its authentication, on MySQL by RETAIN CURRENT PASSWORD."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), FencesIf: marked, Means: "One user has one password: applying the new one is the revocation of the old."},
		},
		Tried: "MariaDB 10.11, with the rights named below and no more. It has never been run on MySQL: what is sent there was written from its manual, and only the text of its statements is tested.",
		Page:  page,
	}}
}
