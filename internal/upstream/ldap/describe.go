// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	_ "embed" // for page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe says what people are told of this kind.
func describe() []upstream.Description {
	kind := func(mode upstream.Capability) upstream.Kind {
		config := Config{Mode: mode, Hash: SSHA, CallDeadline: defaultCallDeadline}
		if mode == upstream.Alternate {
			config.LastUse = "pwdLastSuccess"
		}
		kind := (&Upstream{Config: config}).Kind()
		if kind.Evidence != nil {
			kind.Evidence.Source = "with `lastUse` the last sign-in of the entry (pwdLastSuccess or authTimestamp)"
		}
		return kind
	}
	const hashed = "unless `hash: server`"
	return []upstream.Description{{
		Type: "ldap", Title: "LDAP directories",
		Summary: "Rotates the password of directory entries. Custody sends the server a hash, unless you set `hash: server`.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Dual), Kind: kind(upstream.Dual), Means: "One entry has two values of userPassword until the old one is deleted."},
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), FencesIf: hashed, Means: "Two entries take turns. Revoking removes the password of the old entry."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), FencesIf: hashed, Means: "One entry has one password. Setting a new password revokes the old one."},
		},
		Tried: "OpenLDAP 2.5 with and without the password policy overlay, over LDAPS and StartTLS, with only the permissions listed below. It was never run against another directory.",
		Page:  page,
	}}
}
