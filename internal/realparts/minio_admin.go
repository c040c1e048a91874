// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream/accesskey"

	"github.com/secure-io/sio-go"
	"golang.org/x/crypto/argon2"
)

const (
	// MinIORegion is the region that the server is in.
	MinIORegion = "us-east-1"

	maxMinIOAnswer = 8 << 20
)

// AddPolicy makes a policy, a JSON document.
func (s *MinIOServer) AddPolicy(ctx context.Context, name, policy string) error {
	_, err := s.Ask(ctx, http.MethodPut, "add-canned-policy", url.Values{"name": {name}}, json.RawMessage(policy), false)
	return err
}

// AddUser makes a user with a policy and a password that nobody keeps.
func (s *MinIOServer) AddUser(ctx context.Context, name, policy string) error {
	_, err := s.NewUser(ctx, name, policy)
	return err
}

// NewUser makes a user with a policy and returns its credential, as an access key: fields accessKeyId and secretAccessKey.
func (s *MinIOServer) NewUser(ctx context.Context, name, policy string) (secret.Value, error) {
	password := rand.Text()
	_, err := s.Ask(ctx, http.MethodPut, "add-user", url.Values{"accessKey": {name}}, map[string]string{"secretKey": password, "status": "enabled"}, true)
	if err != nil {
		return secret.Value{}, err
	}
	_, err = s.Ask(ctx, http.MethodPut, "set-user-or-group-policy", url.Values{"policyName": {policy}, "userOrGroup": {name}, "isGroup": {"false"}}, nil, false)
	if err != nil {
		return secret.Value{}, err
	}
	return secret.Text(map[string]string{accesskey.ID: name, accesskey.Secret: password})
}

// AddKey makes an access key of a user: fields accessKeyId and secretAccessKey.
func (s *MinIOServer) AddKey(ctx context.Context, user string) (secret.Value, error) {
	fields := map[string]string{accesskey.ID: rand.Text()[:20], accesskey.Secret: rand.Text()}
	_, err := s.Ask(ctx, http.MethodPut, "add-service-account", nil, map[string]any{
		"targetUser": user, "accessKey": fields[accesskey.ID], "secretKey": fields[accesskey.Secret],
	}, true)
	if err != nil {
		return secret.Value{}, err
	}
	return secret.Text(fields)
}

// sealHeader is what sealed messages begin with: salt, a byte that names the cipher, and the nonce.
const sealSalt, sealHeader = 32, 41

// Ask sends one request to the admin interface as the server's root, and returns what a GET answers. Most messages, both
// ways, are sealed by a key that is derived from the root's secret; a policy's is not.
func (s *MinIOServer) Ask(ctx context.Context, method, path string, query url.Values, message any, sealed bool) ([]byte, error) {
	secretKey := s.Root.ExposeText(accesskey.Secret)
	var body []byte
	var err error
	if message != nil {
		if body, err = json.Marshal(message); err != nil {
			return nil, err
		}
		if sealed {
			if body, err = sealMessage(secretKey, body); err != nil {
				return nil, fmt.Errorf("sealing a message: %w", err)
			}
		}
	}
	address := s.URL() + "/minio/admin/v3/" + path + "?" + query.Encode()
	request, err := accesskey.Request(ctx, s.Root, method, address, MinIORegion, body, time.Now())
	if err != nil {
		return nil, err
	}
	answer, err := transport.Exchange(s.client, request, maxMinIOAnswer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking minio: %w", err)
	case answer.Status/100 != 2:
		return nil, fmt.Errorf("asking minio: %s %s: %s: %.200s", method, path, answer, answer.Body)
	case method != http.MethodGet:
		return nil, nil
	}
	return openMessage(secretKey, answer.Body)
}

func messageKey(secretKey string, salt []byte) []byte {
	return argon2.IDKey([]byte(secretKey), salt, 1, 64<<10, 4, 32)
}

func sealMessage(secretKey string, message []byte) ([]byte, error) {
	header := make([]byte, sealHeader)
	if _, err := rand.Read(header); err != nil {
		return nil, err
	}
	header[sealSalt] = 0 // AES-256-GCM
	stream, err := sio.AES_256_GCM.Stream(messageKey(secretKey, header[:sealSalt]))
	if err != nil {
		return nil, err
	}
	sealed := bytes.NewBuffer(bytes.Clone(header))
	writer := stream.EncryptWriter(sealed, header[sealSalt+1:], nil)
	_, err = writer.Write(message)
	if err := errors.Join(err, writer.Close()); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

func openMessage(secretKey string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHeader {
		return nil, errors.New("asking minio: the answer is not sealed")
	}
	algorithm := sio.AES_256_GCM
	if sealed[sealSalt] != 0 {
		algorithm = sio.ChaCha20Poly1305
	}
	stream, err := algorithm.Stream(messageKey(secretKey, sealed[:sealSalt]))
	if err != nil {
		return nil, err
	}
	message, err := io.ReadAll(stream.DecryptReader(bytes.NewReader(sealed[sealHeader:]), sealed[sealSalt+1:sealHeader], nil))
	if err != nil {
		return nil, fmt.Errorf("opening minio's answer: %w", err)
	}
	return message, nil
}
