// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
	"custody.dev/custody/internal/upstream/login"

	"github.com/go-ldap/ldap/v3"
)

// ServerSpec is an LDAP directory that supports the assertion control (RFC 4528), such as OpenLDAP.
type ServerSpec struct {
	// Host name, IP address, or path of the Unix socket (ldapi).
	Host string `json:"host"`
	// Port. Default 636 with tls: ldaps, else 389.
	Port int `json:"port,omitempty"`
	// TLS mode: ldaps (default), starttls or disable. disable is allowed only for loopback addresses and sockets.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// How Custody hashes a password before it sends it: ssha (default), ssha512, argon2 or bcrypt. With server, Custody
	// sends the plain password in a password modify operation, and the server hashes it.
	Hash string `json:"hash,omitempty"`
	// Attribute of the account's entry in which Custody keeps its marker (claim and run id). It may have other values
	// too. Default description.
	MarkerAttribute string `json:"markerAttribute,omitempty"`
	// Minimum time between two sign-ins of Custody that are refused, for directories that lock accounts: at least twice
	// pwdFailureCountInterval / pwdMaxFailure. Default: no limit.
	WrongEvery string `json:"wrongEvery,omitempty"`
	// How long a change takes to reach every replica. Default 0s.
	Settle string `json:"settle,omitempty"`
	// mode alternate: operational attribute with the time of an entry's last sign-in: pwdLastSuccess (OpenLDAP 2.5 with
	// lastbind on) or authTimestamp (overlay lastbind). Default: Custody does not look.
	LastUse string `json:"lastUse,omitempty"`
}

// AccountSpec names the entry or entries of one secret. They must exist.
type AccountSpec struct {
	// dual (two passwords on one entry), alternate (two entries that take turns) or overwrite (one password on one
	// entry).
	Mode upstream.Capability `json:"mode"`
	// dual, overwrite: distinguished name (DN) of the entry.
	DN string `json:"dn,omitempty"`
	// alternate: distinguished names of the two entries.
	Entries []string `json:"entries,omitempty"`
}

// Type is entries of a directory, known by their distinguished names.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "ldap", Admin: upstream.AdminNeeded, Defaults: Defaults, Endpoints: Endpoints, Claims: Claims, CheckAccount: checkAccount,
		AdminFields: func(server ServerSpec) []upstream.OneOf { return login.AdminFields(server.Host) },
		Check:       func(server ServerSpec, _ bool, bad upstream.Report) { CheckServer(server, bad) },
		Interrupts:  func(_ ServerSpec, account AccountSpec) bool { return account.Mode == upstream.Overwrite },
		SignsIn:     func(name string) AccountSpec { return AccountSpec{Mode: upstream.Overwrite, DN: name} },
		Describe:    describe, Open: Open,
	}.Type()
}

// Defaults fills in what the parameters of a directory may leave out.
func Defaults(server *ServerSpec) {
	server.TLS = cmp.Or(server.TLS, "ldaps")
	if server.TLS == "ldaps" {
		server.Port = cmp.Or(server.Port, 636)
	}
	server.Port = cmp.Or(server.Port, 389)
	server.Hash = cmp.Or(server.Hash, SSHA)
	server.MarkerAttribute = cmp.Or(server.MarkerAttribute, defaultMarker)
}

// Claims are entries, as two writings of one name share them.
func Claims(server ServerSpec, account AccountSpec) []string {
	var names []string
	for _, dn := range append([]string{account.DN}, account.Entries...) {
		names = append(names, canonicalDN(dn))
	}
	return fields.Claims(fmt.Sprintf("%s:%d", strings.ToLower(server.Host), server.Port), names...)
}

// IsDN reports whether text has the form of a distinguished name.
func IsDN(text string) bool {
	parsed, err := ldap.ParseDN(text)
	return err == nil && len(parsed.RDNs) > 0
}

// canonicalDN is dn as two writings of one name share it, as far as can be told without the directory's schema.
func canonicalDN(dn string) string {
	return dnSpaces.ReplaceAllString(strings.ToLower(strings.TrimSpace(dn)), "$1")
}

var dnSpaces = lazyregexp.New(`\s*([,=+])\s*`)

// CheckServer checks the parameters of a directory.
func CheckServer(server ServerSpec, bad upstream.Report) {
	if !filepath.IsAbs(server.Host) {
		fields.Host(server.Host, bad)
	}
	fields.Port(server.Port, bad)
	fields.Certificate(server.CACertificate, bad)
	switch server.TLS {
	case "ldaps", "starttls":
	case "disable":
		if !transport.Local(server.Host) {
			bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(server.TLS))
	}
	if !slices.Contains(hashes, server.Hash) {
		bad(upstream.RuleForm, upstream.At("hash"), "there is no hash "+plaintext.Show(server.Hash))
	}
	if !attributeForm.MatchString(server.MarkerAttribute) {
		bad(upstream.RuleForm, upstream.At("markerAttribute"), "not the name of an attribute")
	}
	if server.LastUse != "" && !attributeForm.MatchString(server.LastUse) {
		bad(upstream.RuleForm, upstream.At("lastUse"), "not the name of an attribute")
	}
	fields.Duration("wrongEvery", server.WrongEvery, bad)
	fields.Duration("settle", server.Settle, bad)
}

func checkAccount(server ServerSpec, account AccountSpec, bad upstream.Report) {
	name := func(step upstream.Trail, dn string) {
		if dn != "" && !IsDN(dn) {
			bad(upstream.RuleAccount, step, "not a distinguished name")
		}
	}
	switch account.Mode {
	case upstream.Alternate:
		switch {
		case len(account.Entries) != 2:
			bad(upstream.RuleAlternate, upstream.At("entries"), fmt.Sprintf("mode alternate wants two entries, not %d", len(account.Entries)))
		case slices.Contains(account.Entries, ""):
			bad(upstream.RuleAlternate, upstream.At("entries"), "an entry has no name")
		case canonicalDN(account.Entries[0]) == canonicalDN(account.Entries[1]):
			bad(upstream.RuleAlternate, upstream.At("entries"), "both entries are the same")
		}
		if account.DN != "" {
			bad(upstream.RuleAlternate, upstream.At("dn"), "dn belongs to the modes dual and overwrite")
		}
	case upstream.Overwrite, upstream.Dual:
		rule := upstream.RuleOverwrite
		if account.Mode == upstream.Dual {
			rule = upstream.RuleAccount
		}
		if account.DN == "" {
			bad(rule, nil, "mode "+string(account.Mode)+" without a dn")
		}
		if len(account.Entries) > 0 {
			bad(rule, upstream.At("entries"), "entries belongs to mode alternate")
		}
		if account.Mode == upstream.Dual && server.Hash == ByServer {
			bad(upstream.RuleMode, upstream.At("mode"), "a password that the server hashes replaces all others, so mode dual needs another hash")
		}
	case "":
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
	}
	name(upstream.At("dn"), account.DN)
	for i, dn := range account.Entries {
		name(upstream.At("entries", i), dn)
	}
}

// Endpoints is the directory.
func Endpoints(server ServerSpec) []string {
	return []string{fields.Address(server.Host, server.Port, server.TLS, server.CACertificate)}
}

// Open makes the upstream of an account in a directory. Mail's too are kept in one.
func Open(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config := Config{
		Server: Server{Host: server.Host, Port: server.Port, TLS: server.TLS, CACertificate: server.CACertificate},
		Admin:  b.Admin, Mode: account.Mode, DN: account.DN, Hash: server.Hash, MarkerAttribute: server.MarkerAttribute,
		NewPassword: b.Password, Claim: b.Claim, Random: b.Random,
	}
	copy(config.Entries[:], account.Entries)
	if config.Mode == upstream.Alternate {
		config.LastUse = server.LastUse
	}
	var err error
	if config.WrongEvery, err = fields.Time("wrongEvery", server.WrongEvery); err != nil {
		return nil, err
	}
	if config.Settle, err = fields.Time("settle", server.Settle); err != nil {
		return nil, err
	}
	return New(config)
}
