// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"

	"custody.dev/custody/api/v1alpha1"

	"github.com/google/go-cmp/cmp"
)

func TestPostgresPlaces(t *testing.T) {
	for _, test := range []struct {
		name  string
		place v1alpha1.PostgresEndpoint
		want  []string
	}{
		{"a pooler", v1alpha1.PostgresEndpoint{Host: "pooler.internal", Port: 6432, OwnPasswords: true}, nil},
		{"another port of the host", v1alpha1.PostgresEndpoint{Host: "db.internal", Port: 6432}, nil},
		{"the server itself", v1alpha1.PostgresEndpoint{Host: "db.internal"}, []string{"upstream-form alsoAt[0]"}},
		{"no host", v1alpha1.PostgresEndpoint{Host: "a b"}, []string{"upstream-form alsoAt[0].host"}},
		{"no such port", v1alpha1.PostgresEndpoint{Host: "pooler", Port: 70000}, []string{"upstream-form alsoAt[0].port"}},
		{"elsewhere without TLS", v1alpha1.PostgresEndpoint{Host: "pooler", TLS: "disable"}, []string{"upstream-tls alsoAt[0].tls"}},
		{"loopback without TLS", v1alpha1.PostgresEndpoint{Host: "127.0.0.1", TLS: "disable"}, nil},
		{"no such TLS mode", v1alpha1.PostgresEndpoint{Host: "pooler", TLS: "prefer"}, []string{"upstream-tls alsoAt[0].tls"}},
		{"CA that is none", v1alpha1.PostgresEndpoint{Host: "pooler", CACertificate: "none"}, []string{"upstream-form alsoAt[0].caCertificate"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := []v1alpha1.PostgresEndpoint{test.place}
			spec := v1alpha1.UpstreamSpec{Postgres: &v1alpha1.PostgresUpstream{Host: "db.internal", Database: "shop", AlsoAt: given}}
			k := postgresKind()
			k.serverDefaults(&spec)
			if spec.Postgres.AlsoAt[0].Database != "shop" || given[0] != test.place {
				t.Errorf("defaults: got %+v of %+v", spec.Postgres.AlsoAt[0], given[0])
			}
			var got []string
			k.server(spec, func(rule string, where trail, _ string) { got = append(got, rule+" "+where.describe()) })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
