// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestServerIsChecked(t *testing.T) {
	t.Parallel()
	ca, certificate, key := realparts.Issue(t, "localhost")
	other, _, _ := realparts.Issue(t, "localhost")
	r := newRig(t, realparts.MariaDBOptions{
		Files:    map[string]string{"cert.pem": certificate, "key.pem": key},
		Settings: map[string]string{"ssl-cert": "{dir}/cert.pem", "ssl-key": "{dir}/key.pem"},
	})
	config := r.config(upstream.Overwrite)
	v := upstreamtest.Issue(r, r.open(config), "run-1", upstreamtest.Login(t, config.User, upstreamtest.Password(t)))
	r.sql("ALTER USER " + config.User + "@'%' REQUIRE SSL")
	for _, test := range []struct {
		name, host, mode, ca string
		want                 upstream.Verdict
	}{
		{"name and chain fit", "localhost", mysql.VerifyFull, ca, upstream.Accepted},
		{"another name", "127.0.0.1", mysql.VerifyFull, ca, upstream.Unknown},
		{"another authority", "localhost", mysql.VerifyFull, other, upstream.Unknown},
		{"the system's authorities", "localhost", mysql.VerifyFull, "", upstream.Unknown},
		{"chain alone", "127.0.0.1", mysql.VerifyCA, ca, upstream.Accepted},
		{"chain alone, another authority", "127.0.0.1", mysql.VerifyCA, other, upstream.Unknown},
	} {
		config.Server.Host, config.Server.TLS, config.Server.CACertificate = test.host, test.mode, test.ca
		u := r.open(config)
		upstreamtest.Is(r, u, test.want, v, test.name)
		if _, err := u.Apply(t.Context(), "run-1", v, v); (err == nil) != (test.want == upstream.Accepted) {
			t.Errorf("%s: Apply: got %v", test.name, err)
		}
	}
}
