// SPDX-License-Identifier: Apache-2.0

package plaintext

import (
	"regexp"
	"strings"
	"testing"
)

// What is looked for first must be in everything that a pattern matches: else a credential passes.
func FuzzPartsOfPatterns(f *testing.F) {
	mixed := strings.Repeat("0a1B2c", 8)
	for _, text := range []string{
		"-----BEGIN EC PRIVATE" + " KEY-----", "age-secret-" + "key-1" + mixed, "x AGE-SECRET-" + "KEY-PQ-1" + strings.ToUpper(mixed),
		"AKIA" + strings.Repeat("7EXAMPLE", 2), "ASIA" + strings.Repeat("7EXAMPLE", 2), "ghp_" + mixed, "github_pat_" + mixed, "glpat-" + mixed,
		"xoxb-" + mixed, "AIza" + mixed[:35], "rk_live_" + mixed, "SG." + mixed + "." + mixed, "hvs." + mixed, "eyJ" + mixed + ".eyJ" + mixed + ".",
		"amqp://" + "guest:h0pefully" + "@queue", "a-b-age-secret", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range patterns {
			if p.parts == nil && !ascii(text) {
				continue // some letters fold to ASCII in a regular expression alone
			}
			if p.form.MatchString(text) && !p.may(text) {
				t.Errorf("%q is %s, and is not looked at", text, p.name)
			}
		}
	})
}

// A pattern without parts would be looked for in every text.
func TestEveryPatternHasAPart(t *testing.T) {
	for _, p := range patterns {
		if len(p.parts) == 0 && p.name != "an age identity" {
			t.Errorf("%s is looked for in every text", p.name)
		}
	}
}

func FuzzSecretKey(f *testing.F) {
	form := regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|api[-_.]?key|private[-_.]?key|access[-_.]?key|credential)s?$`)
	for _, key := range []string{
		"password", "Passwords", "dbPass", "passwd", "passphrases", "clientSecret", "TOKENS", "apiKey", "api.keys", "private_key", "access-key", "credentials",
		"key", "keys", "ss", "passkey", "apikeyss", "secrets ", "api__key", "",
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if !ascii(key) {
			return
		}
		if got, want := secretKey(key), form.MatchString(key); got != want {
			t.Errorf("%q names a secret: %v, want %v", key, got, want)
		}
	})
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > 127 })
}

// BenchmarkCredential looks at a document as an estate has thousands of; every pattern is what it would cost without the parts that
// are looked for first.
func BenchmarkCredential(b *testing.B) {
	const text = `apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata:
  name: secret-7
spec:
  purpose: signs sessions of service number 7
  owner:
    team: shop
    contact: shop@example.org
  class: runtime
  path: shop/secret-7
  origin:
    generated: {type: password, length: 24}
`
	b.Run("parts first", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if Credential(text) != "" {
				b.Fatal("found one")
			}
		}
	})
	b.Run("every pattern", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			for _, p := range patterns {
				if p.form.MatchString(text) {
					b.Fatal("found one")
				}
			}
		}
	})
}
