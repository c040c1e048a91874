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
	const hashed = "unless passwords are in a directory with `hash: server`"
	return []upstream.Description{{
		Type: "mail", Title: "Mail logins",
		Summary: "Rotates the password that a program uses to send mail through a mail server. Passwords are stored in a passwd-file, a database table or a directory; Custody tests them by signing in for submission.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Dual), Kind: kind(upstream.Dual), Means: "One login is in two passdbs of Dovecot, with a different password in each. Revoking replaces the old password with a random one that nobody knows."},
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), FencesIf: hashed, Means: "Two logins take turns. Revoking replaces the password of the old login with a random one that nobody knows."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), FencesIf: hashed, Means: "One login has one password. Setting a new password revokes the old one."},
		},
		Tried: "Dovecot 2.3 alone and behind Postfix 3.7, with passwd-files, a table in PostgreSQL 15 and entries of OpenLDAP 2.5. Changes of a table also in MariaDB 10.11, but there without a mail server that reads it.",
		Page:  page,
	}}
}
