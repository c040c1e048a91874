// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/go-ldap/ldap/v3"
)

const (
	ldapAdmin    = "cn=custody,dc=example,dc=org"
	ldapServices = "ou=services,dc=example,dc=org"
	// ldapAccess is what the page states, and no more.
	ldapAccess = `access to dn.subtree="ou=services,dc=example,dc=org" attrs=userPassword
  by dn.exact="cn=custody,dc=example,dc=org" write
  by anonymous auth
  by * none
access to dn.subtree="ou=services,dc=example,dc=org" attrs=description
  by dn.exact="cn=custody,dc=example,dc=org" write
  by * read
access to dn.subtree="ou=services,dc=example,dc=org"
  by dn.exact="cn=custody,dc=example,dc=org" read
  by * none
access to dn.exact="cn=custody,dc=example,dc=org" attrs=userPassword,description
  by self write
  by anonymous auth
  by * none
access to dn.exact="cn=custody,dc=example,dc=org"
  by self read
  by * none
access to attrs=userPassword
  by anonymous auth
  by * none
access to *
  by * none
`
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
			dns = append(dns, "cn="+name+","+ldapServices)
		}
		return dns
	}
	return kind{
		name: "ldap-" + mode, capability: capability, signIn: ldapSignIn,
		start: func(s *stage, accounts []string) part {
			d := startLDAP(s)
			for _, account := range accounts {
				for _, name := range entries(account) {
					s.must(nil, d.As(s.t.Context(), d.Root, func(conn *ldap.Conn) error {
						entry := ldap.NewAddRequest("cn="+name+","+ldapServices, nil)
						entry.Attribute("objectClass", []string{"person"})
						entry.Attribute("cn", []string{name})
						entry.Attribute("sn", []string{name})
						return conn.Add(entry)
					}))
				}
			}
			return part{
				at: fmt.Sprintf("%s:%d", d.Host, d.Port), upstream: "ldap", log: d.Log,
				account: func(name string) string { return fmt.Sprintf(parameters, names(name)...) },
				held: func(ctx context.Context, name string) (held []string, err error) {
					for _, dn := range names(name) {
						passwords, err := d.Values(ctx, dn.(string), "userPassword")
						if err != nil {
							return nil, err
						}
						for i := range passwords {
							held = append(held, fmt.Sprintf("%s %d", dn, i+1))
						}
					}
					return held, nil
				},
				rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
					classes, err := d.Values(ctx, fields["username"], "objectClass")
					return strings.Join(classes, " "), err
				},
			}
		},
	}
}

func startLDAP(s *stage) *realparts.OpenLDAP {
	return once(s, "ldap", func() *realparts.OpenLDAP {
		password := rand.Text()
		d := realparts.Directory(s.t, realparts.OpenLDAPOptions{Access: ldapAccess, Entries: fmt.Sprintf(`dn: %s
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: custody
userPassword: %s

dn: %s
objectClass: organizationalUnit
ou: services

`, ldapAdmin, password, ldapServices)})
		host, port := s.via(d.Host, d.TLSPort)
		s.upstream("ldap", fmt.Sprintf("ldap:\n  host: %s\n  port: %d\n", host, port)+authorities(d.CA),
			map[string]string{"username": ldapAdmin, "password": password}, "ldap: {mode: overwrite, dn: '"+ldapAdmin+"'}")
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
