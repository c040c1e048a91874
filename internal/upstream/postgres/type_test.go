// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"testing"

	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestPostgresPlaces(t *testing.T) {
	for _, test := range []struct {
		name  string
		place EndpointSpec
		want  []string
	}{
		{"a pooler", EndpointSpec{Host: "pooler.internal", Port: 6432, OwnPasswords: true}, nil},
		{"another port of the host", EndpointSpec{Host: "db.internal", Port: 6432}, nil},
		{"the server itself", EndpointSpec{Host: "db.internal"}, []string{"upstream-form alsoAt[0]"}},
		{"no host", EndpointSpec{Host: "a b"}, []string{"upstream-form alsoAt[0].host"}},
		{"no such port", EndpointSpec{Host: "pooler", Port: 70000}, []string{"upstream-form alsoAt[0].port"}},
		{"elsewhere without TLS", EndpointSpec{Host: "pooler", TLS: "disable"}, []string{"upstream-tls alsoAt[0].tls"}},
		{"loopback without TLS", EndpointSpec{Host: "127.0.0.1", TLS: "disable"}, nil},
		{"no such TLS mode", EndpointSpec{Host: "pooler", TLS: "prefer"}, []string{"upstream-tls alsoAt[0].tls"}},
		{"CA that is none", EndpointSpec{Host: "pooler", CACertificate: "none"}, []string{"upstream-form alsoAt[0].caCertificate"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := []EndpointSpec{test.place}
			server := &ServerSpec{Host: "db.internal", Database: "shop", AlsoAt: given}
			filled := Type().Defaults(server).(*ServerSpec)
			if filled.AlsoAt[0].Database != "shop" || given[0] != test.place {
				t.Errorf("defaults: got %+v of %+v", filled.AlsoAt[0], given[0])
			}
			got := upstreamtest.Faults(Type(), true, server, &AccountSpec{})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
