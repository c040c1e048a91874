// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

// Where credentials go is the operator's to grant: no type of upstream is without an answer.
func TestEndpoints(t *testing.T) {
	tested := map[string]bool{}
	for _, test := range []struct {
		name string
		spec v1alpha1.UpstreamSpec
		want []string
	}{
		{"postgres", v1alpha1.UpstreamSpec{Postgres: &v1alpha1.PostgresUpstream{
			Host: "DB.internal", AlsoAt: []v1alpha1.PostgresEndpoint{{Host: "pool", Port: 6432, TLS: "require"}, {Host: "/run/pg"}},
		}}, []string{"/run/pg/.s.PGSQL.5432", "db.internal:5432", "pool:6432 by any certificate"}},
		{"postgres over IPv6, another CA", v1alpha1.UpstreamSpec{Postgres: &v1alpha1.PostgresUpstream{Host: "::1", TLS: "verify-ca", CACertificate: "x\n"}},
			[]string{"[::1]:5432 under any name by CA 2d711642b726b04401627ca9fbac32f5"}},
		{"mysql", v1alpha1.UpstreamSpec{MySQL: &v1alpha1.MySQLUpstream{Host: "/run/mysqld.sock"}}, []string{"/run/mysqld.sock"}},
		{"redis", v1alpha1.UpstreamSpec{Redis: &v1alpha1.RedisUpstream{Host: "localhost", TLS: "disable", Nodes: []string{"a", "b:1", "/run/r:1", "::1"}}},
			[]string{"/run/r:1", "[::1]:6379 without TLS", "a:6379 without TLS", "b:1 without TLS", "localhost:6379 without TLS"}},
		{"rabbitmq", v1alpha1.UpstreamSpec{RabbitMQ: &v1alpha1.RabbitMQUpstream{Host: "mq", ManagementHost: "ui"}}, []string{"mq:5671", "ui:15671"}},
		{"ldap", v1alpha1.UpstreamSpec{LDAP: &v1alpha1.LDAPUpstream{Host: "dir"}}, []string{"dir:636"}},
		{"mail, table", v1alpha1.UpstreamSpec{Mail: &v1alpha1.MailUpstream{
			Submission: v1alpha1.MailSubmission{Host: "mx"}, SQL: &v1alpha1.MailSQL{Type: "postgres", Host: "/run/pg"},
		}}, []string{"/run/pg/.s.PGSQL.5432", "mx:587"}},
		{"mail, directory", v1alpha1.UpstreamSpec{Mail: &v1alpha1.MailUpstream{
			Submission: v1alpha1.MailSubmission{Host: "mx", TLS: "tls"}, LDAP: &v1alpha1.LDAPUpstream{Host: "dir"},
		}}, []string{"dir:636", "mx:465"}},
		{"http, defaults of a recipe", v1alpha1.UpstreamSpec{HTTP: &v1alpha1.HTTPUpstream{URL: "https://Forge.internal/api/v1", Recipe: "gitea-oauth-application"}},
			[]string{"https://forge.internal:443 by recipe gitea-oauth-application"}},
		{"http, several", v1alpha1.UpstreamSpec{HTTP: &v1alpha1.HTTPUpstream{URL: "http://127.0.0.1:3000", Recipe: "google-service-account-key"}},
			[]string{"http://127.0.0.1:3000 by recipe google-service-account-key", "https://oauth2.googleapis.com:443 by recipe google-service-account-key"}},
		{"oidc", v1alpha1.UpstreamSpec{OIDC: &v1alpha1.OIDCUpstream{Issuer: "https://id/realm", EndpointHosts: []string{"other:8443"}, Clients: "https://id/clients"}},
			[]string{"https://id:443", "https://other:8443"}},
		{"github", v1alpha1.UpstreamSpec{GitHub: &v1alpha1.GitHubUpstream{}}, []string{"https://api.github.com:443"}},
		{"aws", v1alpha1.UpstreamSpec{AWS: &v1alpha1.AWSUpstream{AccountID: "1", Region: "eu-west-1"}},
			[]string{"IAM of AWS account 1, partition aws", "STS of AWS account 1, region eu-west-1"}},
		{"aws, others", v1alpha1.UpstreamSpec{AWS: &v1alpha1.AWSUpstream{AccountID: "1", Region: "eu-west-1", IAMEndpoint: "https://iam.vpc", STSEndpoint: "http://localhost"}},
			[]string{"http://localhost:80", "https://iam.vpc:443"}},
		{"minio", v1alpha1.UpstreamSpec{MinIO: &v1alpha1.MinIOUpstream{Endpoint: "https://s3:9000/"}}, []string{"https://s3:9000"}},
		{"exec", v1alpha1.UpstreamSpec{Exec: &v1alpha1.ExecUpstream{Program: "p"}}, nil},
		{"exec, told where", v1alpha1.UpstreamSpec{Exec: &v1alpha1.ExecUpstream{Program: "p", Parameters: map[string]string{"host": "h"}}}, []string{`program p host="h"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tested[TypeOf(test.spec)] = true
			if diff := cmp.Diff(test.want, Endpoints(upstreamDefaults(test.spec))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, k := range allKinds() {
		if !tested[k.name] {
			t.Errorf("nobody tests where upstreams of type %s are", k.name)
		}
	}
}
