// SPDX-License-Identifier: Apache-2.0

package ldap_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/upstreamtest"

	client "github.com/go-ldap/ldap/v3"
)

// access is what the page states, and no more.
const access = `access to dn.subtree="ou=services,dc=example,dc=org" attrs=userPassword
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

const (
	adminDN  = "cn=custody,dc=example,dc=org"
	services = "ou=services,dc=example,dc=org"
	policyDN = "cn=default,ou=policies,dc=example,dc=org"
)

// rig is a directory whose administrator may do what the page states.
type rig struct {
	*testing.T
	server *realparts.OpenLDAP
	admin  secret.Value
	names  *atomic.Int64
}

func newRig(t *testing.T, options realparts.OpenLDAPOptions) *rig {
	t.Helper()
	password := random(t)
	options.Entries = fmt.Sprintf(`dn: %s
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: custody
userPassword: %s

dn: %s
objectClass: organizationalUnit
ou: services

dn: ou=policies,dc=example,dc=org
objectClass: organizationalUnit
ou: policies

`, adminDN, password, services) + options.Entries
	options.Access = access
	return &rig{T: t, server: realparts.Directory(t, options), admin: credential(t, adminDN, password), names: new(atomic.Int64)}
}

// policed is a directory with the password policy overlay.
func policed(lines string, settings ...string) realparts.OpenLDAPOptions {
	return realparts.OpenLDAPOptions{
		Modules:  []string{"ppolicy"},
		Database: "overlay ppolicy\nppolicy_default " + policyDN + "\n" + lines,
		Entries: "dn: " + policyDN + "\nobjectClass: applicationProcess\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n" +
			strings.Join(settings, "\n") + "\n",
	}
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig {
	return &rig{T: t, server: r.server, admin: r.admin, names: r.names}
}

// entry makes one without a password and returns its name.
func (r *rig) entry() string {
	return r.entryOf(map[string][]string{"objectClass": {"person"}, "sn": {"service"}})
}

func (r *rig) entryOf(attributes map[string][]string) string {
	r.Helper()
	name := fmt.Sprintf("app-%d", r.names.Add(1))
	request := client.NewAddRequest("cn="+name+","+services, nil)
	request.Attribute("cn", []string{name})
	request.Attribute("description", []string{"the " + name + " team's, in (parentheses)"})
	for attribute, values := range attributes {
		request.Attribute(attribute, values)
	}
	if err := r.server.As(r.Context(), r.server.Root, func(conn *client.Conn) error { return conn.Add(request) }); err != nil {
		r.Fatal(err)
	}
	return request.DN
}

// config is for fresh entries, reached over verified TLS.
func (r *rig) config(mode ldap.Mode) ldap.Config {
	r.Helper()
	config := ldap.Config{
		Server: ldap.Server{Host: r.server.Host, Port: r.server.TLSPort, CACertificate: r.server.CA},
		Admin:  r.as(r.admin), Mode: mode, Claim: "shop/test/app", NewPassword: newPassword,
	}
	if mode == ldap.Alternate {
		config.Entries = [2]string{r.entry(), r.entry()}
		return config
	}
	config.DN = r.entry()
	return config
}

func (r *rig) as(admin secret.Value) func(context.Context) ([]secret.Value, error) {
	return func(context.Context) ([]secret.Value, error) { return []secret.Value{admin}, nil }
}

func newPassword(random io.Reader) (string, error) {
	raw := make([]byte, 16)
	_, err := io.ReadFull(random, raw)
	return "pw-" + hex.EncodeToString(raw), err
}

func random(t *testing.T) string {
	t.Helper()
	text, err := newPassword(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func credential(t *testing.T, user, password string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"username": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (r *rig) open(config ldap.Config) upstream.Upstream {
	r.Helper()
	u, err := ldap.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

func (r *rig) propose(u upstream.Upstream, current secret.Value) secret.Value {
	r.Helper()
	candidate, err := u.Propose(r.Context(), current)
	if err != nil {
		r.Fatal(err)
	}
	return candidate
}

func (r *rig) issue(u upstream.Upstream, run authority.RunID, current secret.Value) secret.Value {
	r.Helper()
	applied, err := u.Apply(r.Context(), run, current, r.propose(u, current))
	if err != nil {
		r.Fatal(err)
	}
	return applied
}

func (r *rig) is(u upstream.Upstream, want upstream.Verdict, v secret.Value, what string) {
	r.Helper()
	got, err := u.Verify(r.Context(), v)
	if got != want || (err != nil) != (want == upstream.Unknown) {
		r.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}

func (r *rig) values(dn, attribute string) []string {
	r.Helper()
	values, err := r.server.Values(r.Context(), dn, attribute)
	if err != nil {
		r.Fatal(err)
	}
	return values
}

func (r *rig) set(dn, attribute string, values ...string) {
	r.Helper()
	if err := r.server.Set(r.Context(), dn, attribute, values...); err != nil {
		r.Fatal(err)
	}
}

// held names the passwords of the account's entries by digests of their hashes, which are salted.
func (r *rig) held(config ldap.Config) func(*testing.T) []string {
	return func(t *testing.T) []string {
		t.Helper()
		var out []string
		for _, dn := range []string{config.DN, config.Entries[0], config.Entries[1]} {
			if dn == "" {
				continue
			}
			values, err := r.server.Values(t.Context(), dn, "userPassword")
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range values {
				sum := sha256.Sum256([]byte(value))
				out = append(out, dn+" "+hex.EncodeToString(sum[:4]))
			}
		}
		return out
	}
}

// fixture is config's upstream behind a wire that can be broken.
func (r *rig) fixture(config ldap.Config) upstreamtest.Fixture {
	r.Helper()
	proxy := realparts.NewProxy(r.T, fmt.Sprintf("%s:%d", r.server.Host, config.Server.Port))
	config.Server.Port = proxy.Port()
	return upstreamtest.Fixture{
		Upstream: r.open(config), EnforcesRun: true, Break: proxy.Break, Mend: proxy.Mend, Cut: proxy.Cut,
		Held: r.held(config), Log: r.server.Log,
	}
}
