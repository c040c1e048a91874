// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/go-ldap/ldap/v3"
)

// ldapKinds share one directory, reached over verified TLS.
func ldapKinds() []kind {
	one := func(name string) []string { return []string{name} }
	pair := func(name string) []string { return []string{name + "_a", name + "_b"} }
	return []kind{
		ldapKind("dual", upstream.Dual, one, "ldap: {mode: dual, dn: '%s'}"),
		ldapKind("alternate", upstream.Alternate, pair, "ldap: {mode: alternate, entries: ['%s', '%s']}"),
		ldapKind("overwrite", upstream.Overwrite, one, "ldap: {mode: overwrite, dn: '%s'}"),
	}
}

func ldapKind(mode string, capability upstream.Capability, entries func(string) []string, parameters string) kind {
	names := func(account string) (dns []any) {
		for _, name := range entries(account) {
			dns = append(dns, "cn="+name+","+realparts.LDAPServices)
		}
		return dns
	}
	return kind{
		name: "ldap-" + mode, capability: capability, signIn: ldapSignIn,
		start: func(s *stage, accounts []string) part {
			d := startLDAP(s)
			for _, account := range accounts {
				ldapEntries(s, d, entries(account)...)
			}
			return part{
				at: fmt.Sprintf("%s:%d", d.Host, d.Port), upstream: "ldap", log: d.Log,
				account: func(name string) string { return fmt.Sprintf(parameters, names(name)...) },
				held:    func(ctx context.Context, name string) ([]string, error) { return ldapHeld(ctx, d, entries(name)) },
				rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
					classes, err := d.Values(ctx, fields["username"], "objectClass")
					return strings.Join(classes, " "), err
				},
			}
		},
	}
}

// ldapEntries makes entries without a password.
func ldapEntries(s *stage, d *realparts.OpenLDAP, names ...string) {
	for _, name := range names {
		_, err := d.AddService(s.t.Context(), name, nil)
		s.must(nil, err)
	}
}

// ldapHeld names every password of some entries.
func ldapHeld(ctx context.Context, d *realparts.OpenLDAP, names []string) (held []string, err error) {
	for _, name := range names {
		passwords, err := d.Values(ctx, "cn="+name+","+realparts.LDAPServices, "userPassword")
		if err != nil {
			return nil, err
		}
		for i := range passwords {
			held = append(held, fmt.Sprintf("%s %d", name, i+1))
		}
	}
	return held, nil
}

func startLDAP(s *stage) *realparts.OpenLDAP {
	return once(s, "ldap", func() *realparts.OpenLDAP {
		d, admin := realparts.ServicesDirectory(s.t, realparts.OpenLDAPOptions{})
		host, port := s.via(d.Host, d.TLSPort)
		s.upstream("ldap", fmt.Sprintf("ldap:\n  host: %s\n  port: %d\n", host, port)+authorities(d.CA),
			map[string]string{"username": realparts.LDAPAdmin, "password": admin.ExposeText("password")}, "ldap: {mode: overwrite, dn: '"+realparts.LDAPAdmin+"'}")
		return d
	})
}

// ldapSignIn goes over plain text: Custody's own way over TLS is not the clients'.
func ldapSignIn(_ context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	conn, err := ldap.DialURL("ldap://"+at, ldap.DialWithDialer(&net.Dialer{Timeout: signInLimit}))
	if err != nil {
		return upstream.Unknown, err
	}
	defer func() { _ = conn.Close() }()
	conn.SetTimeout(signInLimit - time.Second)
	switch err := conn.Bind(fields["username"], fields["password"]); {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials):
		return upstream.Refused, nil
	case err != nil:
		return upstream.Unknown, err
	}
	who, err := conn.WhoAmI(nil)
	if err != nil || !strings.EqualFold(who.AuthzID, "dn:"+fields["username"]) {
		return upstream.Unknown, fmt.Errorf("asking who signed in: %w", err)
	}
	return upstream.Accepted, nil
}
