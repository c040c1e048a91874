// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

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

// minioKinds is one server whose admin is an access key of a user that may make and remove keys, and no more.
func minioKinds() []kind {
	return []kind{{
		name: "minio", capability: upstream.Dual, abreast: 3, signIn: minioSignIn,
		start: func(s *stage, accounts []string) part {
			m := once(s, "minio", func() *realparts.MinIOServer {
				m := realparts.MinIO(s.t, realparts.MinIOOptions{Plain: true})
				ctx := s.t.Context()
				s.must(nil, m.AddPolicy(ctx, "custody", minioRights))
				s.must(nil, m.AddPolicy(ctx, "buckets", minioBuckets))
				s.must(nil, m.AddUser(ctx, "custody", "custody"))
				key, err := m.AddKey(ctx, "custody")
				s.must(nil, err)
				admin := map[string]string{"accessKeyId": key.ExposeText("accessKeyId"), "secretAccessKey": key.ExposeText("secretAccessKey")}
				host, port := s.via(m.Host, m.Port)
				s.upstream("minio", fmt.Sprintf("minio: {endpoint: 'http://%s:%d', settle: 0s}", host, port), admin, "minio: {user: custody}")
				return m
			})
			for _, name := range accounts {
				s.must(nil, m.AddUser(s.t.Context(), name, "buckets"))
			}
			return part{
				at: m.URL(), upstream: "minio", log: m.Log,
				account: func(name string) string { return "minio: {user: " + name + "}" },
				held: func(ctx context.Context, name string) (held []string, err error) {
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
	return verdictOf(signin.S3(ctx, at, minioRegion, "", fields["accessKeyId"], fields["secretAccessKey"]))
}
