// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestMinIOKind(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*ServerSpec, *AccountSpec)
		want   []string
	}{
		{"as it should be", func(*ServerSpec, *AccountSpec) {}, nil},
		{"everything given", func(s *ServerSpec, a *AccountSpec) {
			s.Region, s.Settle = "eu-central-1", "0s"
			a.Policy, a.ExpiresAfter = `{"Statement": [{}]}`, "90d"
		}, nil},
		{"loopback without TLS", func(s *ServerSpec, _ *AccountSpec) { s.Endpoint = "http://127.0.0.1:9000" }, nil},
		{"elsewhere without TLS", func(s *ServerSpec, _ *AccountSpec) { s.Endpoint = "http://minio.internal" }, []string{"upstream-tls endpoint"}},
		{"endpoint with a path", func(s *ServerSpec, _ *AccountSpec) { s.Endpoint = "https://minio.internal/shop" }, []string{"upstream-form endpoint"}},
		{"endpoint without a scheme", func(s *ServerSpec, _ *AccountSpec) { s.Endpoint = "minio.internal:9000" }, []string{"upstream-form endpoint"}},
		{"CA that is none", func(s *ServerSpec, _ *AccountSpec) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"settle for ever", func(s *ServerSpec, _ *AccountSpec) { s.Settle = "1d" }, []string{"upstream-form settle"}},
		{"region that is none", func(s *ServerSpec, _ *AccountSpec) { s.Region = "Frankfurt am Main" }, []string{"upstream-form region"}},
		{"user with a space", func(_ *ServerSpec, a *AccountSpec) { a.User = " shop" }, []string{"account-form user"}},
		{"policy without statements", func(_ *ServerSpec, a *AccountSpec) { a.Policy = "{}" }, []string{"account-form policy"}},
		{"policy that is too long", func(_ *ServerSpec, a *AccountSpec) {
			a.Policy = `{"Statement": [{"Sid": "` + strings.Repeat("s", 2048) + `"}]}`
		}, []string{"account-form policy"}},
		{"expiry that is too soon", func(_ *ServerSpec, a *AccountSpec) { a.ExpiresAfter = "5m" }, []string{"account-form expiresAfter"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, account := ServerSpec{Endpoint: "https://minio.internal:9000"}, AccountSpec{User: "shop"}
			test.change(&server, &account)
			got := upstreamtest.Faults(Type(), true, &server, &account)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
