// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"fmt"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
)

func ldapUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	return ldapAt(b, *b.server.LDAP, *b.account.LDAP)
}

// ldapAt makes the upstream of an account in a directory, wherever a document names the two.
func ldapAt(b binding, spec v1alpha1.LDAPUpstream, account v1alpha1.LDAPAccount) (upstream.Upstream, error) {
	config := ldap.Config{
		Server: ldap.Server{Host: spec.Host, Port: spec.Port, TLS: spec.TLS, CACertificate: spec.CACertificate},
		Admin:  b.admin, Mode: upstream.Capability(account.Mode), DN: account.DN,
		Hash: spec.Hash, MarkerAttribute: spec.MarkerAttribute,
		NewPassword: b.password, Claim: b.claim, Random: Random(),
	}
	copy(config.Entries[:], account.Entries)
	if config.Mode == upstream.Alternate {
		config.LastUse = spec.LastUse
	}
	var err error
	if config.WrongEvery, err = intent.ParseDuration(cmp.Or(spec.WrongEvery, "0s")); err != nil {
		return nil, fmt.Errorf("reading wrongEvery: %w", err)
	}
	if config.Settle, err = intent.ParseDuration(cmp.Or(spec.Settle, "0s")); err != nil {
		return nil, fmt.Errorf("reading settle: %w", err)
	}
	return ldap.New(config)
}
