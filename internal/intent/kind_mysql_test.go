// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"

	"github.com/google/go-cmp/cmp"
)

func TestMySQLKind(t *testing.T) {
	type (
		server  = v1alpha1.MySQLUpstream
		account = v1alpha1.MySQLAccount
	)
	for _, test := range []struct {
		name   string
		change func(*server, *account)
		want   []string
	}{
		{"pair named by its role", func(*server, *account) {}, nil},
		{"pair without a role", func(_ *server, a *account) { a.Role, a.Users = "", []string{"a", "b"} }, nil},
		{"dual", func(_ *server, a *account) { *a = account{Mode: "dual", User: "shop"} }, nil},
		{"overwrite by ed25519", func(_ *server, a *account) { *a = account{Mode: "overwrite", User: "shop", Plugin: "ed25519"} }, nil},
		{"MySQL", func(s *server, a *account) { s.Product, a.Plugin = "mysql", "caching_sha2_password" }, nil},
		{"loopback without TLS", func(s *server, _ *account) { s.Host, s.TLS = "127.0.0.1", "disable" }, nil},
		{"everything given", func(s *server, _ *account) {
			s.MarkerTable, s.Usage, s.SendPassword, s.TLS, s.WrongEvery = "custody.accounts", true, true, "verify-ca", "10m"
		}, nil},
		{"duration that is none", func(s *server, _ *account) { s.WrongEvery = "often" }, []string{"upstream-form wrongEvery"}},
		{"elsewhere without TLS", func(s *server, _ *account) { s.TLS = "disable" }, []string{"upstream-tls tls"}},
		{"TLS that checks nothing", func(s *server, _ *account) { s.TLS = "require" }, []string{"upstream-tls tls"}},
		{"host that is none", func(s *server, _ *account) { s.Host = "db internal" }, []string{"upstream-form host"}},
		{"no such port", func(s *server, _ *account) { s.Port = -1 }, []string{"upstream-form port"}},
		{"CA that is none", func(s *server, _ *account) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"no such product", func(s *server, _ *account) { s.Product = "percona" }, []string{"upstream-form product"}},
		{"MySQL, password sent", func(s *server, _ *account) { s.Product, s.SendPassword = "mysql", true }, []string{"upstream-form sendPassword"}},
		{"table without a database", func(s *server, _ *account) { s.MarkerTable = "accounts" }, []string{"upstream-form markerTable"}},
		{"one user twice", func(_ *server, a *account) { a.Users = []string{"a", "a"} }, []string{"account-alternate users"}},
		{"neither users nor a role", func(_ *server, a *account) { a.Role = "" }, []string{"account-alternate users"}},
		{"role as user", func(_ *server, a *account) { a.Users = []string{"a", "shop"} }, []string{"account-alternate users"}},
		{"pair with a user", func(_ *server, a *account) { a.User = "x" }, []string{"account-alternate user"}},
		{"dual without a user", func(_ *server, a *account) { *a = account{Mode: "dual"} }, []string{"account-overwrite the document"}},
		{"overwrite with a role", func(_ *server, a *account) { *a = account{Mode: "overwrite", User: "x", Role: "y"} }, []string{"account-overwrite the document"}},
		{"dual by ed25519", func(_ *server, a *account) { *a = account{Mode: "dual", User: "x", Plugin: "ed25519"} }, []string{"account-form plugin"}},
		{"dual, password sent", func(s *server, a *account) { s.SendPassword = true; *a = account{Mode: "dual", User: "x"} }, []string{"account-form the document"}},
		{"plugin of the other product", func(_ *server, a *account) { a.Plugin = "caching_sha2_password" }, []string{"account-form plugin"}},
		{"name too long for MySQL", func(s *server, a *account) { s.Product = "mysql"; a.Users = []string{"a", strings.Repeat("b", 33)} }, []string{"account-form users[1]"}},
		{"no such mode", func(_ *server, a *account) { a.Mode = "triple" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := server{Host: "db.internal"}, account{Mode: "alternate", Role: "shop"}
			test.change(&s, &a)
			spec := v1alpha1.UpstreamSpec{MySQL: &s}
			rotation := v1alpha1.RotationSpec{Account: v1alpha1.Account{MySQL: &a}}
			var got []string
			noted := func(rule string, where trail, _ string) {
				got = append(got, strings.TrimSpace(rule+" "+where.describe()))
			}
			k := mysqlKind()
			k.serverDefaults(&spec)
			k.accountDefaults(&rotation)
			k.server(spec, noted)
			k.account(spec, rotation, noted)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMySQLClaims(t *testing.T) {
	k := mysqlKind()
	spec := v1alpha1.UpstreamSpec{MySQL: &v1alpha1.MySQLUpstream{Host: "DB.internal"}}
	k.serverDefaults(&spec)
	claims := func(a v1alpha1.MySQLAccount) []string {
		rotation := v1alpha1.RotationSpec{Account: v1alpha1.Account{MySQL: &a}}
		k.accountDefaults(&rotation)
		if got, want := k.interrupts(rotation), a.Mode == "overwrite"; got != want {
			t.Errorf("%s interrupts: got %v, want %v", a.Mode, got, want)
		}
		return k.claims(spec, rotation)
	}
	for _, test := range []struct {
		account v1alpha1.MySQLAccount
		want    []string
	}{
		// A role may be shared: it holds no credential.
		{v1alpha1.MySQLAccount{Mode: "alternate", Role: "shop"}, []string{"db.internal:3306/shop_a@%", "db.internal:3306/shop_b@%"}},
		{v1alpha1.MySQLAccount{Mode: "dual", User: "shop", Host: "10.0.0.%"}, []string{"db.internal:3306/shop@10.0.0.%"}},
		{v1alpha1.MySQLAccount{Mode: "dual", User: "Shop", Host: "App.Internal"}, []string{"db.internal:3306/Shop@app.internal"}},
		{v1alpha1.MySQLAccount{Mode: "overwrite", User: "shop"}, []string{"db.internal:3306/shop@%"}},
	} {
		if diff := cmp.Diff(test.want, claims(test.account)); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
	}
}
