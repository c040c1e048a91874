// SPDX-License-Identifier: Apache-2.0

// Package ldaptest tests the type of upstream ldap with the whole product, on OpenLDAP. It sets up what people set up
// by hand, as the page says, and has clients that sign in with code of their own. It uses no code of the adapter.
package ldaptest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/go-ldap/ldap/v3"
)

// Kinds share one directory, reached over verified TLS.
func Kinds() []acceptance.Kind {
	one := func(name string) []string { return []string{name} }
	pair := func(name string) []string { return []string{name + "_a", name + "_b"} }
	return []acceptance.Kind{
		ldapKind("dual", upstream.Dual, one, "ldap: {mode: dual, dn: '%s'}"),
		ldapKind("alternate", upstream.Alternate, pair, "ldap: {mode: alternate, entries: ['%s', '%s']}"),
		ldapKind("overwrite", upstream.Overwrite, one, "ldap: {mode: overwrite, dn: '%s'}"),
	}
}

func ldapKind(mode string, capability upstream.Capability, entries func(string) []string, parameters string) acceptance.Kind {
	names := func(account string) (dns []any) {
		for _, name := range entries(account) {
			dns = append(dns, "cn="+name+","+realparts.LDAPServices)
		}
		return dns
	}
	return acceptance.Kind{
		Name: "ldap-" + mode, Capability: capability, SignIn: ldapSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			d := Start(s)
			for _, account := range accounts {
				Entries(s, d, entries(account)...)
			}
			return acceptance.Part{
				At: fmt.Sprintf("%s:%d", d.Host, d.Port), Upstream: "ldap", Log: d.Log,
				Account: func(name string) string { return fmt.Sprintf(parameters, names(name)...) },
				Held:    func(ctx context.Context, name string) ([]string, error) { return Held(ctx, d, entries(name)) },
				Rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
					classes, err := d.Values(ctx, fields["username"], "objectClass")
					return strings.Join(classes, " "), err
				},
			}
		},
	}
}

// Entries makes entries without a password.
func Entries(s *acceptance.Stage, d *realparts.OpenLDAP, names ...string) {
	for _, name := range names {
		_, err := d.AddService(s.T().Context(), name, nil)
		s.Must(nil, err)
	}
}

// Held names every password of some entries.
func Held(ctx context.Context, d *realparts.OpenLDAP, names []string) (held []string, err error) {
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

// Start starts the directory, whose admin rotates itself, once for the stage.
func Start(s *acceptance.Stage) *realparts.OpenLDAP {
	return acceptance.Once(s, "ldap", func() *realparts.OpenLDAP {
		d, admin := realparts.ServicesDirectory(s.T(), realparts.OpenLDAPOptions{})
		host, port := s.Via(d.Host, d.TLSPort)
		s.Upstream("ldap", fmt.Sprintf("ldap:\n  host: %s\n  port: %d\n", host, port)+acceptance.Authorities(d.CA),
			map[string]string{"username": realparts.LDAPAdmin, "password": admin.ExposeText("password")}, "ldap: {mode: overwrite, dn: '"+realparts.LDAPAdmin+"'}")
		return d
	})
}

// ldapSignIn goes over plain text: Custody's own way over TLS is not the clients'.
func ldapSignIn(_ context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	conn, err := ldap.DialURL("ldap://"+at, ldap.DialWithDialer(&net.Dialer{Timeout: acceptance.SignInLimit}))
	if err != nil {
		return upstream.Unknown, err
	}
	defer func() { _ = conn.Close() }()
	conn.SetTimeout(acceptance.SignInLimit - time.Second)
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
