// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/upstream/aws"
	"custody.dev/custody/internal/upstream/exec"
	"custody.dev/custody/internal/upstream/github"
	"custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/mail"
	"custody.dev/custody/internal/upstream/minio"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/redis"
	"custody.dev/custody/internal/wire/kinds"
)

// Where credentials go is the operator's to grant: no type of upstream is without an answer.
func TestEndpoints(t *testing.T) {
	tested := map[string]bool{}
	for _, test := range []struct {
		name, kind string
		server     any
		want       []string
	}{
		{"postgres", "postgres", &postgres.ServerSpec{
			Host: "DB.internal", AlsoAt: []postgres.EndpointSpec{{Host: "pool", Port: 6432, TLS: "require"}, {Host: "/run/pg"}},
		}, []string{"/run/pg/.s.PGSQL.5432", "db.internal:5432", "pool:6432 by any certificate"}},
		{"postgres over IPv6, another CA", "postgres", &postgres.ServerSpec{Host: "::1", TLS: "verify-ca", CACertificate: "x\n"},
			[]string{"[::1]:5432 under any name by CA 2d711642b726b04401627ca9fbac32f5"}},
		{"mysql", "mysql", &mysql.ServerSpec{Host: "/run/mysqld.sock"}, []string{"/run/mysqld.sock"}},
		{"redis", "redis", &redis.ServerSpec{Host: "localhost", TLS: "disable", Nodes: []string{"a", "b:1", "/run/r:1", "::1"}},
			[]string{"/run/r:1", "[::1]:6379 without TLS", "a:6379 without TLS", "b:1 without TLS", "localhost:6379 without TLS"}},
		{"rabbitmq", "rabbitmq", &rabbitmq.ServerSpec{Host: "mq", ManagementHost: "ui"}, []string{"mq:5671", "ui:15671"}},
		{"ldap", "ldap", &ldap.ServerSpec{Host: "dir"}, []string{"dir:636"}},
		{"mail, table", "mail", &mail.ServerSpec{
			Submission: mail.SubmissionSpec{Host: "mx"}, SQL: &mail.SQLSpec{Type: "postgres", Host: "/run/pg"},
		}, []string{"/run/pg/.s.PGSQL.5432", "mx:587"}},
		{"mail, directory", "mail", &mail.ServerSpec{
			Submission: mail.SubmissionSpec{Host: "mx", TLS: "tls"}, LDAP: &ldap.ServerSpec{Host: "dir"},
		}, []string{"dir:636", "mx:465"}},
		{"http, defaults of a recipe", "http", &http.ServerSpec{URL: "https://Forge.internal/api/v1", Recipe: "gitea-oauth-application"},
			[]string{"https://forge.internal:443 by recipe gitea-oauth-application"}},
		{"http, several", "http", &http.ServerSpec{URL: "http://127.0.0.1:3000", Recipe: "google-service-account-key"},
			[]string{"http://127.0.0.1:3000 by recipe google-service-account-key", "https://oauth2.googleapis.com:443 by recipe google-service-account-key"}},
		{"oidc", "oidc", &oidc.ServerSpec{Issuer: "https://id/realm", EndpointHosts: []string{"other:8443"}, Clients: "https://id/clients"},
			[]string{"https://id:443", "https://other:8443"}},
		{"github", "github", &github.ServerSpec{}, []string{"https://api.github.com:443"}},
		{"aws", "aws", &aws.ServerSpec{AccountID: "1", Region: "eu-west-1"},
			[]string{"IAM of AWS account 1, partition aws", "STS of AWS account 1, region eu-west-1"}},
		{"aws, others", "aws", &aws.ServerSpec{AccountID: "1", Region: "eu-west-1", IAMEndpoint: "https://iam.vpc", STSEndpoint: "http://localhost"},
			[]string{"http://localhost:80", "https://iam.vpc:443"}},
		{"minio", "minio", &minio.ServerSpec{Endpoint: "https://s3:9000/"}, []string{"https://s3:9000"}},
		{"exec", "exec", &exec.ServerSpec{Program: "p"}, nil},
		{"exec, told where", "exec", &exec.ServerSpec{Program: "p", Parameters: map[string]string{"host": "h"}}, []string{`program p host="h"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tested[test.kind] = true
			e := &Estate{Types: kinds.Upstreams()}
			spec := v1alpha1.UpstreamSpec{Server: v1alpha1.Parameters{test.kind: test.server}}
			if diff := cmp.Diff(test.want, e.Endpoints(upstreamDefaults(e.Types, spec))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, k := range kinds.Upstreams() {
		if !tested[k.Name()] {
			t.Errorf("nobody tests where upstreams of type %s are", k.Name())
		}
	}
}
