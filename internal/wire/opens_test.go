// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/redis"
	"custody.dev/custody/internal/wire/kinds"
)

// A mistyped admin credential was taken unseen: the account that stands for it could not be made, which counted as no
// verdict. Each type that is opened by signing in asks; here nobody listens, so the answer is that it is unknown.
func TestEveryTypeThatIsOpenedBySigningInIsAsked(t *testing.T) {
	const host, disable = "127.0.0.1", "disable"
	v, err := secret.Text(map[string]string{"username": "cn=admin", "password": "mistyped"})
	if err != nil {
		t.Fatal(err)
	}
	servers := v1alpha1.Parameters{
		"postgres": &postgres.ServerSpec{Host: host, Port: 1, Database: "postgres", TLS: disable},
		"mysql":    &mysql.ServerSpec{Host: host, Port: 1, Product: "mariadb", TLS: disable},
		"redis":    &redis.ServerSpec{Host: host, Port: 1, TLS: disable, Persist: "none"},
		"rabbitmq": &rabbitmq.ServerSpec{Host: host, Port: 1, ManagementPort: 1, TLS: disable},
		"ldap":     &ldap.ServerSpec{Host: host, Port: 1, TLS: disable},
	}
	estate := &intent.Estate{Types: kinds.Upstreams()}
	p := &parts{host: v1alpha1.HostSpec{Platform: "shop", Environment: "test"}}
	asked := 0
	for _, of := range estate.Types {
		if of.SignsIn("cn=admin") == nil {
			continue
		}
		asked++
		spec := v1alpha1.UpstreamSpec{Server: v1alpha1.Parameters{of.Name(): servers[of.Name()]}}
		if verdict, err := p.signIn(context.Background(), estate, spec, v); verdict != upstream.Unknown || err == nil {
			t.Errorf("%s: got %q, %v, want unknown: nobody listens", of.Name(), verdict, err)
		}
	}
	if asked != len(servers) {
		t.Errorf("%d types are asked, want %d", asked, len(servers))
	}
}
