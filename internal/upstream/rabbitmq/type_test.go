// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestRabbitMQKind(t *testing.T) {
	type server = ServerSpec
	type account = AccountSpec
	for _, test := range []struct {
		name   string
		change func(*server, *account)
		want   []string
	}{
		{"alternate", func(*server, *account) {}, nil},
		{"overwrite", func(_ *server, a *account) { *a = account{Mode: "overwrite", User: "orders"} }, nil},
		{"everything given", func(s *server, a *account) {
			s.Port, s.ManagementHost, s.ManagementPort, s.ManagementPath = 5673, "admin.example.com", 443, "/rabbit"
			s.TLS, s.AuthCache = "verify-full", "15s"
			a.Users = []string{"one", "two"}
		}, nil},
		{"loopback without TLS", func(s *server, a *account) { s.Host, s.TLS = "::1", "disable" }, nil},
		{"guest at home", func(s *server, a *account) { s.Host, *a = "localhost", account{Mode: "overwrite", User: "guest"} }, nil},
		{"guest elsewhere", func(_ *server, a *account) { *a = account{Mode: "overwrite", User: "guest"} }, []string{"account-form user"}},
		{"elsewhere without TLS", func(s *server, _ *account) { s.TLS = "disable" }, []string{"upstream-tls tls", "upstream-tls tls"}},
		{"management elsewhere without TLS", func(s *server, _ *account) {
			s.Host, s.TLS, s.ManagementHost = "127.0.0.1", "disable", "admin.example.com"
		}, []string{"upstream-tls tls"}},
		{"TLS by another word", func(s *server, _ *account) { s.TLS = "require" }, []string{"upstream-tls tls"}},
		{"host that is none", func(s *server, _ *account) { s.ManagementHost = "https://admin" }, []string{"upstream-form managementHost"}},
		{"socket", func(s *server, _ *account) { s.Host, s.ManagementHost = "/run/rabbit", "localhost" }, []string{"upstream-form host"}},
		{"port that is none", func(s *server, _ *account) { s.ManagementPort = 70000 }, []string{"upstream-form managementPort"}},
		{"path that is none", func(s *server, _ *account) { s.ManagementPath = "rabbit" }, []string{"upstream-form managementPath"}},
		{"path that climbs", func(s *server, _ *account) { s.ManagementPath = "/../x" }, []string{"upstream-form managementPath"}},
		{"CA that is none", func(s *server, _ *account) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"cache without a unit", func(s *server, _ *account) { s.AuthCache = "15000" }, []string{"upstream-form authCache"}},
		{"cache for ever", func(s *server, _ *account) { s.AuthCache = "30d" }, []string{"upstream-form authCache"}},
		{"overwrite without a user", func(_ *server, a *account) { *a = account{Mode: "overwrite"} }, []string{"account-overwrite"}},
		{"overwrite with a template", func(_ *server, a *account) { *a = account{Mode: "overwrite", User: "o", Template: "t"} }, []string{"account-overwrite"}},
		{"alternate without a template", func(_ *server, a *account) { a.Template = "" }, []string{"account-alternate"}},
		{"one user twice", func(_ *server, a *account) { a.Users = []string{"one", "one"} }, []string{"account-alternate users"}},
		{"alternate with a user", func(_ *server, a *account) { a.User = "one" }, []string{"account-alternate user"}},
		{"name that is too long", func(_ *server, a *account) {
			*a = account{Mode: "overwrite", User: strings.Repeat("o", 256)}
		}, []string{"account-form user"}},
		{"mode that is none", func(_ *server, a *account) { a.Mode = "dual" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := server{Host: "broker.example.com"}, account{Mode: "alternate", Template: "orders"}
			test.change(&s, &a)
			got := upstreamtest.Faults(Type(), true, &s, &a)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRabbitMQDefaults(t *testing.T) {
	for tls, want := range map[string]string{"": "5671 15671 verify-full", "disable": "5672 15672 disable"} {
		got := Type().Defaults(&ServerSpec{Host: "localhost", TLS: tls}).(*ServerSpec)
		if got.ManagementHost != "localhost" || strings.Join([]string{strconv.Itoa(got.Port), strconv.Itoa(got.ManagementPort), got.TLS}, " ") != want {
			t.Errorf("defaults with TLS %q: got %+v, want %s", tls, got, want)
		}
	}
	for mode, want := range map[string]bool{"alternate": false, "overwrite": true} {
		if got := Type().Interrupts(&ServerSpec{}, &AccountSpec{Mode: upstream.Capability(mode)}); got != want {
			t.Errorf("%s interrupts: got %v, want %v", mode, got, want)
		}
	}
}
