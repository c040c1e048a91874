// SPDX-License-Identifier: Apache-2.0

package mail

import (
	_ "embed" // for page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe says what people are told of this kind.
func describe() []upstream.Description {
	kind := func(mode upstream.Capability) upstream.Kind {
		return (&Upstream{Config: Config{Mode: mode, File: &PasswdFile{}, Settle: defaultSettle, CallDeadline: defaultCallDeadline}}).Kind()
	}
	const hashed = "unless kept in a directory with `hash: server`"
	return []upstream.Description{{
		Type: "mail", Title: "Mail logins",
		Summary: "Rotates the password with which something signs in to a mail server to send: kept in a passwd-file, a table or a directory, tried by signing in for submission.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Dual), Kind: kind(upstream.Dual), Means: "One login is known to two passdbs of Dovecot, each with a password of its own; the old one's place gets a hash of a password that nobody knows."},
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), FencesIf: hashed, Means: "Two logins take turns; the old one's password is replaced by one that nobody knows."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), FencesIf: hashed, Means: "One login has one password: applying the new one is the revocation of the old."},
		},
		Tried: "Dovecot 2.3 alone and behind Postfix 3.7, with passwd-files, a table in PostgreSQL 15 and entries of OpenLDAP 2.5. Changes of a table were tried on MariaDB 10.11 too, there without a mail server that reads it.",
		Page:  page,
	}}
}
