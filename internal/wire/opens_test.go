// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// A mistyped admin credential was taken unseen: the account that stands for it could not be made, which counted as no
// verdict. Each type that is opened by signing in asks; here nobody listens, so the answer is that it is unknown.
func TestEveryTypeThatIsOpenedBySigningInIsAsked(t *testing.T) {
	const host, disable = "127.0.0.1", "disable"
	v, err := secret.Text(map[string]string{"username": "cn=admin", "password": "mistyped"})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for name, spec := range map[string]v1alpha1.UpstreamSpec{
		"postgres": {Postgres: &v1alpha1.PostgresUpstream{Host: host, Port: 1, Database: "postgres", TLS: disable}},
		"mysql":    {MySQL: &v1alpha1.MySQLUpstream{Host: host, Port: 1, Product: "mariadb", TLS: disable}},
		"redis":    {Redis: &v1alpha1.RedisUpstream{Host: host, Port: 1, TLS: disable, Persist: "none"}},
		"rabbitmq": {RabbitMQ: &v1alpha1.RabbitMQUpstream{Host: host, Port: 1, ManagementPort: 1, TLS: disable}},
		"ldap":     {LDAP: &v1alpha1.LDAPUpstream{Host: host, Port: 1, TLS: disable}},
		"http":     {HTTP: &v1alpha1.HTTPUpstream{}},
	} {
		if accountOf(spec, "cn=admin") == nil {
			continue
		}
		asked++
		p := &parts{host: v1alpha1.HostSpec{Platform: "shop", Environment: "test"}}
		if verdict, err := p.signIn(context.Background(), spec, v); verdict != upstream.Unknown || err == nil {
			t.Errorf("%s: got %q, %v, want unknown: nobody listens", name, verdict, err)
		}
	}
	if got := accountOf(v1alpha1.UpstreamSpec{MySQL: &v1alpha1.MySQLUpstream{}}, "admin").MySQL; got.User == "admin" {
		t.Errorf("an admin of MySQL is taken for the account %+v, and refused where its host part is another", got)
	}
	if asked != 5 {
		t.Errorf("%d types are asked, want 5", asked)
	}
}
