// SPDX-License-Identifier: Apache-2.0

package git

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"custody.dev/custody/internal/event"
	"custody.dev/custody/internal/secret"
)

// SecretField is the field of a webhook's secret in its value.
const SecretField = "secret"

// MaxHook bounds the body of a webhook, in bytes: what the largest sender sends at most.
const MaxHook = 25 << 20

// Errors of a webhook that does not count.
var (
	ErrHookUnsigned = errors.New("its signature is of an unknown kind, or invalid")
	ErrHookTooLarge = fmt.Errorf("its body has more than %d bytes", MaxHook)
)

// Hooked checks that a webhook was sent by somebody who knows the secret. Its body is read to the end and not kept. What it says is not
// looked at: it only means that there may be news, so that one that is sent again does no harm.
//
// Known are X-Hub-Signature-256 (GitHub, Gitea, Forgejo), X-Gitea-Signature and X-Forgejo-Signature, webhook-signature (GitLab's signing
// token, whose whsec_ form is decoded), each HMAC-SHA256 of the body, and X-Gitlab-Token, which is the secret itself.
func Hooked(header http.Header, body io.Reader, shared secret.Value) error {
	key := []byte(strings.TrimSpace(shared.ExposeText(SecretField)))
	if len(key) == 0 {
		return ErrHookUnsigned
	}
	whole := hmac.New(sha256.New, key)
	standard := event.NewStandard(header, key)
	count, err := io.Copy(io.MultiWriter(whole, standard), io.LimitReader(body, MaxHook+1))
	if err != nil {
		return fmt.Errorf("reading the webhook: %w", err)
	}
	if count > MaxHook {
		return ErrHookTooLarge
	}
	sum := whole.Sum(nil)
	for _, name := range []string{"X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature"} {
		given, err := hex.DecodeString(strings.TrimPrefix(header.Get(name), "sha256="))
		if err == nil && len(given) > 0 && hmac.Equal(given, sum) {
			return nil
		}
	}
	if standard.Holds() {
		return nil
	}
	if token := header.Get("X-Gitlab-Token"); token != "" && subtle.ConstantTimeCompare([]byte(token), key) == 1 {
		return nil
	}
	return ErrHookUnsigned
}
