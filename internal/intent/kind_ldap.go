// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/transport"
)

// ldapDual: two passwords on one entry.
const ldapDual = "dual"

// ldapKind: entries of a directory, known by their distinguished names.
func ldapKind() kind {
	return kind{
		name: "ldap", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			server := ldapDefaults(*spec.LDAP)
			spec.LDAP = &server
		},
		server:    func(spec v1alpha1.UpstreamSpec, bad report) { ldapServer(*spec.LDAP, bad) },
		endpoints: func(spec v1alpha1.UpstreamSpec) []string { return ldapEndpoints(*spec.LDAP) },
		account: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
			ldapAccount(*spec.LDAP, *rotation.LDAP, bad)
		},
		interrupts: func(rotation v1alpha1.RotationSpec) bool { return rotation.LDAP.Mode == modeOverwrite },
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			return ldapClaims(*spec.LDAP, *rotation.LDAP)
		},
	}
}

func ldapDefaults(server v1alpha1.LDAPUpstream) v1alpha1.LDAPUpstream {
	server.TLS = cmp.Or(server.TLS, "ldaps")
	if server.TLS == "ldaps" {
		server.Port = cmp.Or(server.Port, 636)
	}
	server.Port = cmp.Or(server.Port, 389)
	server.Hash = cmp.Or(server.Hash, "ssha")
	server.MarkerAttribute = cmp.Or(server.MarkerAttribute, "description")
	return server
}

func ldapClaims(server v1alpha1.LDAPUpstream, account v1alpha1.LDAPAccount) []string {
	var names []string
	for _, dn := range append([]string{account.DN}, account.Entries...) {
		names = append(names, canonicalDN(dn))
	}
	return claimsAt(fmt.Sprintf("%s:%d", strings.ToLower(server.Host), server.Port), names...)
}

// canonicalDN is dn as two writings of one name share it, as far as can be told without the directory's schema.
func canonicalDN(dn string) string {
	return ldapSpaces.ReplaceAllString(strings.ToLower(strings.TrimSpace(dn)), "$1")
}

var (
	ldapSpaces    = lazyregexp.New(`\s*([,=+])\s*`)
	ldapName      = lazyregexp.New(`^[A-Za-z0-9.-]+\s*=[^=]+(\s*[,+]\s*[A-Za-z0-9.-]+\s*=[^=]+)*$`)
	ldapAttribute = lazyregexp.New(`^[A-Za-z][A-Za-z0-9-]*$`)
)

func ldapServer(server v1alpha1.LDAPUpstream, bad report) {
	if !filepath.IsAbs(server.Host) {
		hostRule(server.Host, bad)
	}
	portRule(server.Port, bad)
	certificateRule(server.CACertificate, bad)
	switch server.TLS {
	case "ldaps", "starttls":
	case "disable":
		if !transport.Local(server.Host) {
			bad("upstream-tls", at("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(server.TLS))
	}
	if !slices.Contains([]string{"ssha", "ssha512", "argon2", "bcrypt", "server"}, server.Hash) {
		bad("upstream-form", at("hash"), "there is no hash "+show(server.Hash))
	}
	if !ldapAttribute.MatchString(server.MarkerAttribute) {
		bad("upstream-form", at("markerAttribute"), "not the name of an attribute")
	}
	if server.LastUse != "" && !ldapAttribute.MatchString(server.LastUse) {
		bad("upstream-form", at("lastUse"), "not the name of an attribute")
	}
	ldapDuration("wrongEvery", server.WrongEvery, bad)
	ldapDuration("settle", server.Settle, bad)
}

// ldapDuration checks a duration that may be left out.
func ldapDuration(field, text string, bad report) {
	if text == "" {
		return
	}
	if _, err := ParseDuration(text); err != nil {
		bad("upstream-form", at(field), "not a duration")
	}
}

func ldapAccount(server v1alpha1.LDAPUpstream, account v1alpha1.LDAPAccount, bad report) {
	name := func(step trail, dn string) {
		if dn != "" && !ldapName.MatchString(dn) {
			bad("account-form", step, "not a distinguished name")
		}
	}
	switch account.Mode {
	case modeAlternate:
		switch {
		case len(account.Entries) != 2:
			bad("account-alternate", at("entries"), fmt.Sprintf("mode alternate wants two entries, not %d", len(account.Entries)))
		case slices.Contains(account.Entries, ""):
			bad("account-alternate", at("entries"), "an entry has no name")
		case canonicalDN(account.Entries[0]) == canonicalDN(account.Entries[1]):
			bad("account-alternate", at("entries"), "both entries are the same")
		}
		if account.DN != "" {
			bad("account-alternate", at("dn"), "dn belongs to the modes dual and overwrite")
		}
	case modeOverwrite, ldapDual:
		rule := "account-overwrite"
		if account.Mode == ldapDual {
			rule = "account-form"
		}
		if account.DN == "" {
			bad(rule, nil, "mode "+account.Mode+" without a dn")
		}
		if len(account.Entries) > 0 {
			bad(rule, at("entries"), "entries belongs to mode alternate")
		}
		if account.Mode == ldapDual && server.Hash == "server" {
			bad("account-mode", at("mode"), "a password that the server hashes replaces all others, so mode dual needs another hash")
		}
	case "":
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(account.Mode))
	}
	name(at("dn"), account.DN)
	for i, dn := range account.Entries {
		name(at("entries", i), dn)
	}
}

func ldapEndpoints(server v1alpha1.LDAPUpstream) []string {
	return []string{addressOf(server.Host, server.Port, server.TLS, server.CACertificate)}
}
