// SPDX-License-Identifier: Apache-2.0

// Package miniotest tests the type of upstream minio with the whole product, on MinIO. It sets up what people set up by
// hand, as the page says, and has clients that sign in with code of their own. It uses no code of the adapter.
package miniotest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"
)

// minioRights are the page's, for an admin that is not the user itself; minioBuckets those of an application.
const (
	minioRights = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [
		"admin:CreateServiceAccount", "admin:ListServiceAccounts", "admin:RemoveServiceAccount"]}]}`
	minioBuckets = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}`
	minioRegion  = "us-east-1"
)

// Kinds is one server whose admin is an access key of a user that may make and remove keys, and no more.
func Kinds() []acceptance.Kind {
	return []acceptance.Kind{{
		Name: "minio", Capability: upstream.Dual, Abreast: 3, SignIn: minioSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			m := acceptance.Once(s, "minio", func() *realparts.MinIOServer {
				m := realparts.MinIO(s.T(), realparts.MinIOOptions{Plain: true})
				ctx := s.T().Context()
				s.Must(nil, m.AddPolicy(ctx, "custody", minioRights))
				s.Must(nil, m.AddPolicy(ctx, "buckets", minioBuckets))
				s.Must(nil, m.AddUser(ctx, "custody", "custody"))
				key, err := m.AddKey(ctx, "custody")
				s.Must(nil, err)
				admin := map[string]string{"accessKeyId": key.ExposeText("accessKeyId"), "secretAccessKey": key.ExposeText("secretAccessKey")}
				host, port := s.Via(m.Host, m.Port)
				s.Upstream("minio", fmt.Sprintf("minio: {endpoint: 'http://%s:%d', settle: 0s}", host, port), admin, "minio: {user: custody}")
				return m
			})
			for _, name := range accounts {
				s.Must(nil, m.AddUser(s.T().Context(), name, "buckets"))
			}
			return acceptance.Part{
				At: m.URL(), Upstream: "minio", Log: m.Log,
				Account: func(name string) string { return "minio: {user: " + name + "}" },
				Held: func(ctx context.Context, name string) (held []string, err error) {
					answer, err := m.Ask(ctx, http.MethodGet, "list-service-accounts", url.Values{"user": {name}}, nil, true)
					if err != nil {
						return nil, err
					}
					var listed struct{ Accounts []struct{ AccessKey string } }
					err = json.Unmarshal(answer, &listed)
					for _, one := range listed.Accounts {
						held = append(held, one.AccessKey)
					}
					return held, err
				},
			}
		},
	}}
}

func minioSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	return acceptance.VerdictOf(signin.S3(ctx, at, minioRegion, "", fields["accessKeyId"], fields["secretAccessKey"]))
}
