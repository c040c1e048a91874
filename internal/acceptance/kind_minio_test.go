// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/secure-io/sio-go"
	"golang.org/x/crypto/argon2"
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
				s.must(minioAsk(ctx, m, http.MethodPut, "add-canned-policy", url.Values{"name": {"custody"}}, json.RawMessage(minioRights), false))
				s.must(minioAsk(ctx, m, http.MethodPut, "add-canned-policy", url.Values{"name": {"buckets"}}, json.RawMessage(minioBuckets), false))
				s.must(minioUser(ctx, m, "custody", "custody"))
				admin := map[string]string{"accessKeyId": rand.Text()[:20], "secretAccessKey": rand.Text()}
				s.must(minioAsk(ctx, m, http.MethodPut, "add-service-account", nil, map[string]any{
					"targetUser": "custody", "accessKey": admin["accessKeyId"], "secretKey": admin["secretAccessKey"],
				}, true))
				host, port := s.via(m.Host, m.Port)
				s.upstream("minio", fmt.Sprintf("minio: {endpoint: 'http://%s:%d', settle: 0s}", host, port), admin, "minio: {user: custody}")
				return m
			})
			for _, name := range accounts {
				s.must(minioUser(s.t.Context(), m, name, "buckets"))
			}
			return part{
				at: m.URL(), upstream: "minio", log: m.Log,
				account: func(name string) string { return "minio: {user: " + name + "}" },
				held: func(ctx context.Context, name string) (held []string, err error) {
					answer, err := minioAsk(ctx, m, http.MethodGet, "list-service-accounts", url.Values{"user": {name}}, nil, true)
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

// minioUser makes a user with a policy, by the server's root.
func minioUser(ctx context.Context, m *realparts.MinIOServer, name, policy string) ([]byte, error) {
	made, err := minioAsk(ctx, m, http.MethodPut, "add-user", url.Values{"accessKey": {name}}, map[string]string{"secretKey": rand.Text(), "status": "enabled"}, true)
	if err != nil {
		return made, err
	}
	return minioAsk(ctx, m, http.MethodPut, "set-user-or-group-policy", url.Values{"policyName": {policy}, "userOrGroup": {name}, "isGroup": {"false"}}, nil, false)
}

// minioAsk sends one request to the admin interface as the server's root. Most messages, both ways, are sealed by a key
// that is derived from the root's secret: 32 bytes of salt, one that names the cipher, 8 of nonce, and a stream.
func minioAsk(ctx context.Context, m *realparts.MinIOServer, method, path string, query url.Values, message any, sealed bool) ([]byte, error) {
	key, secretKey := m.Root.ExposeText("accessKeyId"), m.Root.ExposeText("secretAccessKey")
	var body []byte
	var err error
	if message != nil {
		if body, err = json.Marshal(message); err != nil {
			return nil, err
		}
		if sealed {
			header := make([]byte, 41)
			_, _ = rand.Read(header) // never fails
			header[32] = 0           // AES-256-GCM
			stream, err := sio.AES_256_GCM.Stream(argon2.IDKey([]byte(secretKey), header[:32], 1, 64<<10, 4, 32))
			if err != nil {
				return nil, err
			}
			out := bytes.NewBuffer(header)
			writer := stream.EncryptWriter(out, header[33:], nil)
			_, first := writer.Write(body)
			if err := errors.Join(first, writer.Close()); err != nil {
				return nil, err
			}
			body = out.Bytes()
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, m.URL()+"/minio/admin/v3/"+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(body)
	request.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(digest[:]))
	if err := signer.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: key, SecretAccessKey: secretKey}, request,
		hex.EncodeToString(digest[:]), "s3", minioRegion, time.Now()); err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s %s: %s: %.200s", method, path, response.Status, answer)
	case method != http.MethodGet:
		return nil, nil
	case len(answer) < 41:
		return nil, errors.New("the answer is not sealed")
	}
	algorithm := sio.AES_256_GCM
	if answer[32] != 0 {
		algorithm = sio.ChaCha20Poly1305
	}
	stream, err := algorithm.Stream(argon2.IDKey([]byte(secretKey), answer[:32], 1, 64<<10, 4, 32))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(stream.DecryptReader(bytes.NewReader(answer[41:]), answer[33:41], nil))
}

func minioSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	return verdictOf(signin.S3(ctx, at, minioRegion, "", fields["accessKeyId"], fields["secretAccessKey"]))
}
