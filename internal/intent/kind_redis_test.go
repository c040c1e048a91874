// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

// formFaults applies a kind's defaults, checks both forms, and lists "rule place".
func formFaults(k kind, server v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
	var got []string
	bad := func(rule string, where trail, _ string) {
		line := rule
		for _, step := range where {
			line += fmt.Sprintf(" %v", step)
		}
		got = append(got, line)
	}
	k.serverDefaults(&server)
	k.accountDefaults(&rotation)
	k.server(server, bad)
	k.account(server, rotation, bad)
	return got
}

func TestRedisKind(t *testing.T) {
	type server = v1alpha1.RedisUpstream
	type account = v1alpha1.RedisAccount
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
		{"node that is none", func(s *server, _ *account) { s.Nodes = []string{"ok", "a b:7", ":7000"} }, []string{"upstream-form nodes 1", "upstream-form nodes 2"}},
		{"a node's port by its name", func(s *server, _ *account) { s.Nodes = []string{"a:https", "b:080", "c:+80", "d:", "e:0"} }, []string{
			"upstream-form nodes 0", "upstream-form nodes 1", "upstream-form nodes 2", "upstream-form nodes 3", "upstream-form nodes 4",
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
		{"name with a space", func(_ *server, a *account) { a.Template = "or ders" }, []string{"account-form template", "account-form users 0", "account-form users 1"}},
		{"mode that is none", func(_ *server, a *account) { a.Mode = "overwrite" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := server{Host: "cache.example.com"}, account{Mode: "alternate", Template: "orders"}
			test.change(&s, &a)
			got := formFaults(redisKind(), v1alpha1.UpstreamSpec{Redis: &s}, v1alpha1.RotationSpec{Account: v1alpha1.Account{Redis: &a}})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRedisClaims(t *testing.T) {
	spec := v1alpha1.UpstreamSpec{Redis: &v1alpha1.RedisUpstream{Host: "Cache.example.com", Nodes: []string{"two.example.com:7000", "three"}}}
	rotation := v1alpha1.RotationSpec{Account: v1alpha1.Account{Redis: &v1alpha1.RedisAccount{Mode: "alternate", Template: "orders"}}}
	k := redisKind()
	k.serverDefaults(&spec)
	k.accountDefaults(&rotation)
	got := k.claims(spec, rotation)
	slices.Sort(got)
	want := "cache.example.com:6379/orders_a cache.example.com:6379/orders_b three:6379/orders_a three:6379/orders_b " +
		"two.example.com:7000/orders_a two.example.com:7000/orders_b"
	if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if k.interrupts != nil {
		t.Error("no mode of redis refuses sign-ins for a moment")
	}
}
