// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"testing"

	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestLDAPKind(t *testing.T) {
	type (
		server  = ServerSpec
		account = AccountSpec
	)
	const one, two = "cn=one,ou=services,dc=example,dc=org", "cn=two,ou=services,dc=example,dc=org"
	for _, test := range []struct {
		name   string
		change func(*server, *account)
		want   []string
	}{
		{"two passwords", func(*server, *account) {}, nil},
		{"two entries", func(_ *server, a *account) { *a = account{Mode: "alternate", Entries: []string{one, two}} }, nil},
		{"overwrite", func(_ *server, a *account) { a.Mode = "overwrite" }, nil},
		{"everything given", func(s *server, _ *account) {
			*s = server{Host: "ldap.internal", Port: 1636, Hash: "argon2", MarkerAttribute: "info", WrongEvery: "1m", Settle: "5s", LastUse: "pwdLastSuccess"}
		}, nil},
		{"StartTLS", func(s *server, _ *account) { s.TLS = "starttls" }, nil},
		{"socket", func(s *server, _ *account) { s.Host, s.TLS = "/run/slapd/ldapi", "disable" }, nil},
		{"comma in a name", func(_ *server, a *account) { a.DN = `cn=Doe\, Jo,dc=example` }, nil},
		{"elsewhere without TLS", func(s *server, _ *account) { s.TLS = "disable" }, []string{"upstream-tls tls"}},
		{"no such TLS", func(s *server, _ *account) { s.TLS = "require" }, []string{"upstream-tls tls"}},
		{"host that is none", func(s *server, _ *account) { s.Host = "a b" }, []string{"upstream-form host"}},
		{"no such port", func(s *server, _ *account) { s.Port = -1 }, []string{"upstream-form port"}},
		{"CA that is none", func(s *server, _ *account) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"no such hash", func(s *server, _ *account) { s.Hash = "md5" }, []string{"upstream-form hash"}},
		{"attribute that is none", func(s *server, _ *account) { s.MarkerAttribute = "a)(b" }, []string{"upstream-form markerAttribute"}},
		{"last use that is none", func(s *server, _ *account) { s.LastUse = "last use" }, []string{"upstream-form lastUse"}},
		{"durations that are none", func(s *server, _ *account) { s.WrongEvery, s.Settle = "soon", "-1s" },
			[]string{"upstream-form wrongEvery", "upstream-form settle"}},
		{"no name", func(_ *server, a *account) { a.DN = "" }, []string{"account-form"}},
		{"name that is none", func(_ *server, a *account) { a.DN = "one" }, []string{"account-form dn"}},
		{"two passwords that the server hashes", func(s *server, _ *account) { s.Hash = "server" }, []string{"account-mode mode"}},
		{"one entry twice", func(_ *server, a *account) {
			*a = account{Mode: "alternate", Entries: []string{one, "CN=one, OU=services, DC=example, DC=org"}}
		}, []string{"account-alternate entries"}},
		{"one entry", func(_ *server, a *account) { *a = account{Mode: "alternate", Entries: []string{one}} }, []string{"account-alternate entries"}},
		{"pair with a dn", func(_ *server, a *account) { *a = account{Mode: "alternate", DN: one, Entries: []string{one, two}} }, []string{"account-alternate dn"}},
		{"overwrite with a pair", func(_ *server, a *account) { *a = account{Mode: "overwrite", DN: one, Entries: []string{two}} }, []string{"account-overwrite entries"}},
		{"overwrite without a name", func(_ *server, a *account) { *a = account{Mode: "overwrite"} }, []string{"account-overwrite"}},
		{"no such mode", func(_ *server, a *account) { a.Mode = "triple" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := server{Host: "ldap.internal"}, account{Mode: "dual", DN: one}
			test.change(&s, &a)
			if diff := cmp.Diff(test.want, upstreamtest.Faults(Type(), true, &s, &a)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLDAPClaims(t *testing.T) {
	server := Type().Defaults(&ServerSpec{Host: "LDAP.internal"})
	claims := func(a AccountSpec) []string { return Type().Claims(server, &a) }
	want := []string{"ldap.internal:636/cn=one,dc=x", "ldap.internal:636/cn=two,dc=x"}
	if diff := cmp.Diff(want, claims(AccountSpec{Entries: []string{"CN=one, DC=x", "cn=two,dc=x"}})); diff != "" {
		t.Errorf("a pair (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:1], claims(AccountSpec{DN: "cn=one , dc=X"})); diff != "" {
		t.Errorf("one entry (-want +got):\n%s", diff)
	}
	if !Type().Interrupts(server, &AccountSpec{Mode: "overwrite"}) {
		t.Error("overwrite interrupts, and is said not to")
	}
}
