// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestRedisKind(t *testing.T) {
	type server = ServerSpec
	type account = AccountSpec
	for _, test := range []struct {
		name   string
		change func(*server, *account)
		want   []string
	}{
		{"alternate", func(*server, *account) {}, nil},
		{"dual", func(_ *server, a *account) { *a = account{Mode: "dual", User: "orders"} }, nil},
		{"everything given", func(s *server, a *account) {
			s.Port, s.Nodes, s.TLS, s.Persist = 6380, []string{"two.example.com", "three.example.com:6381", "[::1]:6382", "::1"}, "verify-full", "configFile"
			a.Users = []string{"one", "two"}
		}, nil},
		{"socket without TLS", func(s *server, _ *account) { s.Host, s.TLS = "/run/redis/redis.sock", "disable" }, nil},
		{"elsewhere without TLS", func(s *server, _ *account) { s.TLS = "disable" }, []string{"upstream-tls tls"}},
		{"a node elsewhere without TLS", func(s *server, _ *account) {
			s.Host, s.TLS, s.Nodes = "127.0.0.1", "disable", []string{"localhost:7000", "two.example.com:7000"}
		}, []string{"upstream-tls tls"}},
		{"TLS by another word", func(s *server, _ *account) { s.TLS = "require" }, []string{"upstream-tls tls"}},
		{"host that is none", func(s *server, _ *account) { s.Host = "one,two" }, []string{"upstream-form host"}},
		{"node that is none", func(s *server, _ *account) { s.Nodes = []string{"ok", "a b:7", ":7000"} }, []string{"upstream-form nodes[1]", "upstream-form nodes[2]"}},
		{"a node's port by its name", func(s *server, _ *account) { s.Nodes = []string{"a:https", "b:080", "c:+80", "d:", "e:0"} }, []string{
			"upstream-form nodes[0]", "upstream-form nodes[1]", "upstream-form nodes[2]", "upstream-form nodes[3]", "upstream-form nodes[4]",
		}},
		{"port that is none", func(s *server, _ *account) { s.Port = 70000 }, []string{"upstream-form port"}},
		{"CA that is none", func(s *server, _ *account) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"persist by another word", func(s *server, _ *account) { s.Persist = "disk" }, []string{"upstream-form persist"}},
		{"dual without a user", func(_ *server, a *account) { *a = account{Mode: "dual"} }, []string{"account-form"}},
		{"dual with a template", func(_ *server, a *account) { *a = account{Mode: "dual", User: "o", Template: "t"} }, []string{"account-form"}},
		{"alternate without a template", func(_ *server, a *account) { a.Template = "" }, []string{"account-alternate"}},
		{"one user", func(_ *server, a *account) { a.Users = []string{"one"} }, []string{"account-alternate users"}},
		{"one user twice", func(_ *server, a *account) { a.Users = []string{"one", "one"} }, []string{"account-alternate users"}},
		{"template as user", func(_ *server, a *account) { a.Users = []string{"orders", "one"} }, []string{"account-alternate users"}},
		{"user without a name", func(_ *server, a *account) { a.Users = []string{"", "one"} }, []string{"account-alternate users"}},
		{"alternate with a user", func(_ *server, a *account) { a.User = "one" }, []string{"account-alternate user"}},
		{"name with a space", func(_ *server, a *account) { a.Template = "or ders" }, []string{"account-form template", "account-form users[0]", "account-form users[1]"}},
		{"mode that is none", func(_ *server, a *account) { a.Mode = "overwrite" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := server{Host: "cache.example.com"}, account{Mode: "alternate", Template: "orders"}
			test.change(&s, &a)
			got := upstreamtest.Faults(Type(), true, &s, &a)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRedisClaims(t *testing.T) {
	server := Type().Defaults(&ServerSpec{Host: "Cache.example.com", Nodes: []string{"two.example.com:7000", "three"}})
	account := Type().AccountDefaults(&AccountSpec{Mode: "alternate", Template: "orders"})
	got := Type().Claims(server, account)
	slices.Sort(got)
	want := "cache.example.com:6379/orders_a cache.example.com:6379/orders_b three:6379/orders_a three:6379/orders_b " +
		"two.example.com:7000/orders_a two.example.com:7000/orders_b"
	if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if Type().Interrupts(server, account) {
		t.Error("no mode of redis refuses sign-ins for a moment")
	}
}
