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
		Summary: "Rotates the password that an entry of a directory binds with; the server is sent a hash, unless told otherwise.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Dual), Kind: kind(upstream.Dual), Means: "One entry has two values of userPassword until the old one's is deleted."},
			{Name: string(upstream.Alternate), Kind: kind(upstream.Alternate), FencesIf: hashed, Means: "Two entries take turns; the old one keeps its password until it is revoked, then has none."},
			{Name: string(upstream.Overwrite), Kind: kind(upstream.Overwrite), FencesIf: hashed, Means: "One entry has one password: applying the new one is the revocation of the old."},
		},
		Tried: "OpenLDAP 2.5 with and without the password policy overlay, over LDAPS and StartTLS, with the rights named below and no more. No other directory has been tried.",
		Page:  page,
	}}
}
