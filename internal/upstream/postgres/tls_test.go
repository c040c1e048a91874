// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestServerIsChecked(t *testing.T) {
	t.Parallel()
	ca, certificate, key := realparts.Issue(t, "localhost")
	other, _, _ := realparts.Issue(t, "localhost")
	r := newRig(t, realparts.PostgresOptions{
		Files:    map[string]string{"cert.pem": certificate, "key.pem": key},
		Settings: map[string]string{"ssl": "on", "ssl_cert_file": "{dir}/cert.pem", "ssl_key_file": "{dir}/key.pem"},
		HBA: "local all all scram-sha-256\nhost all custody_test_root 127.0.0.1/32 scram-sha-256\n" +
			"host all custody_admin all scram-sha-256\nhostssl all all all scram-sha-256\n",
	})
	config := r.config(upstream.Overwrite)
	v := upstreamtest.Issue(r, r.open(config), "run-1", upstreamtest.Login(t, config.User, upstreamtest.Password(t)))
	for _, test := range []struct {
		name, host, mode, ca string
		want                 upstream.Verdict
	}{
		{"name and chain fit", "localhost", postgres.VerifyFull, ca, upstream.Accepted},
		{"another name", "127.0.0.1", postgres.VerifyFull, ca, upstream.Unknown},
		{"another authority", "localhost", postgres.VerifyFull, other, upstream.Unknown},
		{"the system's authorities", "localhost", postgres.VerifyFull, "", upstream.Unknown},
		{"chain alone", "127.0.0.1", postgres.VerifyCA, ca, upstream.Accepted},
		{"chain alone, another authority", "127.0.0.1", postgres.VerifyCA, other, upstream.Unknown},
		{"whoever it is", "127.0.0.1", postgres.Require, "", upstream.Accepted},
		{"without TLS", "127.0.0.1", postgres.Disable, "", upstream.Unknown},
	} {
		config.Server.Host, config.Server.TLS, config.Server.CACertificate = test.host, test.mode, test.ca
		upstreamtest.Is(r, r.open(config), test.want, v, test.name)
	}
}
