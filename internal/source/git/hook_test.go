// SPDX-License-Identifier: Apache-2.0

package git

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func mac(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = h.Write([]byte(text))
	return h.Sum(nil)
}

func TestWebhooks(t *testing.T) {
	const word, body = "a shared word", `{"ref":"refs/heads/main"}`
	sum := hex.EncodeToString(mac(word, body))
	token := "whsec_" + base64.StdEncoding.EncodeToString([]byte("32 bytes of a signing token here"))
	standard := "v1," + base64.StdEncoding.EncodeToString(mac("32 bytes of a signing token here", "id.17."+body))
	for name, c := range map[string]struct {
		headers []string
		secret  string
		want    error
	}{
		"GitHub":                 {[]string{"X-Hub-Signature-256", "sha256=" + sum}, word, nil},
		"Gitea":                  {[]string{"X-Gitea-Signature", sum}, word, nil},
		"Forgejo":                {[]string{"X-Forgejo-Signature", sum}, word + "\n", nil},
		"GitLab's token":         {[]string{"X-Gitlab-Token", word}, word, nil},
		"GitLab's signing token": {[]string{"webhook-id", "id", "webhook-timestamp", "17", "webhook-signature", "v1,AAAA " + standard}, token, nil},
		"another time":           {[]string{"webhook-id", "id", "webhook-timestamp", "18", "webhook-signature", standard}, token, ErrHookUnsigned},
		"none":                   {nil, word, ErrHookUnsigned},
		"another secret":         {[]string{"X-Hub-Signature-256", "sha256=" + sum}, "another word", ErrHookUnsigned},
		"an empty secret":        {[]string{"X-Hub-Signature-256", "sha256=" + hex.EncodeToString(mac("", body))}, " ", ErrHookUnsigned},
		"an empty signature":     {[]string{"X-Hub-Signature-256", "sha256="}, word, ErrHookUnsigned},
		"SHA-1":                  {[]string{"X-Hub-Signature", "sha1=" + sum}, word, ErrHookUnsigned},
		"a wrong token":          {[]string{"X-Gitlab-Token", word + "s"}, word, ErrHookUnsigned},
	} {
		header := http.Header{}
		for i := 0; i+1 < len(c.headers); i += 2 {
			header.Set(c.headers[i], c.headers[i+1])
		}
		if err := Hooked(header, strings.NewReader(body), value(t, SecretField, c.secret)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if err := Hooked(http.Header{}, strings.NewReader(strings.Repeat("x", MaxHook+1)), value(t, SecretField, word)); !errors.Is(err, ErrHookTooLarge) {
		t.Errorf("got %v, want %v", err, ErrHookTooLarge)
	}
}
