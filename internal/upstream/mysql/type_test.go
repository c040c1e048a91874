// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestMySQLKind(t *testing.T) {
	type (
		server  = ServerSpec
		account = AccountSpec
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
		{"dual without a user", func(_ *server, a *account) { *a = account{Mode: "dual"} }, []string{"account-overwrite"}},
		{"overwrite with a role", func(_ *server, a *account) { *a = account{Mode: "overwrite", User: "x", Role: "y"} }, []string{"account-overwrite"}},
		{"dual by ed25519", func(_ *server, a *account) { *a = account{Mode: "dual", User: "x", Plugin: "ed25519"} }, []string{"account-form plugin"}},
		{"dual, password sent", func(s *server, a *account) { s.SendPassword = true; *a = account{Mode: "dual", User: "x"} }, []string{"account-form"}},
		{"plugin of the other product", func(_ *server, a *account) { a.Plugin = "caching_sha2_password" }, []string{"account-form plugin"}},
		{"name too long for MySQL", func(s *server, a *account) { s.Product = "mysql"; a.Users = []string{"a", strings.Repeat("b", 33)} }, []string{"account-form users[1]"}},
		{"no such mode", func(_ *server, a *account) { a.Mode = "triple" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := server{Host: "db.internal"}, account{Mode: "alternate", Role: "shop"}
			test.change(&s, &a)
			got := upstreamtest.Faults(Type(), true, &s, &a)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMySQLClaims(t *testing.T) {
	server := Type().Defaults(&ServerSpec{Host: "DB.internal"})
	claims := func(a AccountSpec) []string {
		account := Type().AccountDefaults(&a)
		if got, want := Type().Interrupts(server, account), a.Mode == "overwrite"; got != want {
			t.Errorf("%s interrupts: got %v, want %v", a.Mode, got, want)
		}
		return Type().Claims(server, account)
	}
	for _, test := range []struct {
		account AccountSpec
		want    []string
	}{
		// A role may be shared: it holds no credential.
		{AccountSpec{Mode: "alternate", Role: "shop"}, []string{"db.internal:3306/shop_a@%", "db.internal:3306/shop_b@%"}},
		{AccountSpec{Mode: "dual", User: "shop", Host: "10.0.0.%"}, []string{"db.internal:3306/shop@10.0.0.%"}},
		{AccountSpec{Mode: "dual", User: "Shop", Host: "App.Internal"}, []string{"db.internal:3306/Shop@app.internal"}},
		{AccountSpec{Mode: "overwrite", User: "shop"}, []string{"db.internal:3306/shop@%"}},
	} {
		if diff := cmp.Diff(test.want, claims(test.account)); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
	}
}

func TestMySQLDocumentReachesTheUpstream(t *testing.T) {
	b := upstream.Binding{
		Claim: "shop/test/shop-db", Password: func(io.Reader) (string, error) { return "made-by-rule", nil },
		Admin: func(context.Context) ([]secret.Value, error) { return nil, nil }, Clock: time.Now,
	}
	server, account := &ServerSpec{Host: "db.internal", Product: "mariadb", WrongEvery: "10m"}, &AccountSpec{Mode: "overwrite", User: "shop"}
	made, err := Type().Open(b, server, account)
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Kind().WrongEvery; got != 10*time.Minute {
		t.Errorf("least time between wrong sign-ins: got %s, want 10m", got)
	}
	server.WrongEvery = "often"
	if _, err := Type().Open(b, server, account); err == nil {
		t.Error("a duration that is none: got no error")
	}
}

// An admin of MySQL was taken for an account of that name, and refused where its host part is another.
func TestAdminOfMySQLMayHaveAnyHostPart(t *testing.T) {
	if got := Type().SignsIn("admin").(*AccountSpec); got.User == "admin" {
		t.Errorf("the admin is taken for the account %+v", got)
	}
}
