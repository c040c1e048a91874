// SPDX-License-Identifier: Apache-2.0

package generated_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestSuite(t *testing.T) {
	for _, rule := range []v1alpha1.GenerateRule{
		{Type: "password"}, {Type: "token"}, {Type: "ed25519"}, {Type: "rsa", Bits: 2048},
	} {
		t.Run(rule.Type, func(t *testing.T) {
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				u, err := generated.New(rule, nil)
				if err != nil {
					t.Fatal(err)
				}
				return upstreamtest.Fixture{Upstream: u}
			})
		})
	}
}

func propose(t *testing.T, rule v1alpha1.GenerateRule, random io.Reader) secret.Value {
	t.Helper()
	u, err := generated.New(rule, random)
	if err != nil {
		t.Fatal(err)
	}
	current, err := secret.Text(map[string]string{"note": "kept"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Propose(t.Context(), current)
	if err != nil {
		t.Fatal(err)
	}
	if v.ExposeText("note") != "kept" {
		t.Error("another field was not kept")
	}
	return v
}

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	symbols = "!#%*+,-.:=?@^_~"
)

func TestPasswordHoldsEachClassAndNoOther(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, test := range []struct {
		rule v1alpha1.GenerateRule
		sets []string
		want int
	}{
		{v1alpha1.GenerateRule{}, []string{lower, upper, digits}, 32},
		{v1alpha1.GenerateRule{Length: 4, Classes: []string{"lower", "upper", "digit", "symbol"}}, []string{lower, upper, digits, symbols}, 4},
		{v1alpha1.GenerateRule{Length: 1, Classes: []string{"digit", "digit"}}, []string{digits}, 1},
		{v1alpha1.GenerateRule{Length: 200, Classes: []string{"symbol"}}, []string{symbols}, 200},
	} {
		for range 200 {
			password, err := generated.Password(random, test.rule)
			if err != nil {
				t.Fatal(err)
			}
			if len(password) != test.want || strings.Trim(password, strings.Join(test.sets, "")) != "" {
				t.Fatalf("%+v: got a password of %d characters or of other classes", test.rule, len(password))
			}
			for _, set := range test.sets {
				if !strings.ContainsAny(password, set) {
					t.Fatalf("%+v: no character of %q", test.rule, set)
				}
			}
		}
	}
}

// Reducing a byte modulo 62 would favour the first eight characters by a quarter; 4% is six deviations here.
func TestPasswordIsUnbiased(t *testing.T) {
	const passwords, length = 400, 4000
	random := rand.NewChaCha8([32]byte{2})
	counts := map[rune]int{}
	for range passwords {
		password, err := generated.Password(random, v1alpha1.GenerateRule{Length: length})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range password {
			counts[c]++
		}
	}
	want := float64(passwords*length) / 62
	for c, got := range counts {
		if off := float64(got)/want - 1; off > 0.04 || off < -0.04 {
			t.Errorf("%q occurs %.1f%% off its share", c, 100*off)
		}
	}
	if len(counts) != 62 {
		t.Errorf("got %d characters, want 62", len(counts))
	}
}

func TestTokenEncodings(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, 24)
	for _, test := range []struct {
		rule   v1alpha1.GenerateRule
		decode func(string) ([]byte, error)
		want   int
	}{
		{v1alpha1.GenerateRule{Type: "token"}, base64.RawURLEncoding.DecodeString, 32},
		{v1alpha1.GenerateRule{Type: "token", Encoding: "base64url", Length: 48}, base64.RawURLEncoding.DecodeString, 48},
		{v1alpha1.GenerateRule{Type: "token", Encoding: "hex", Length: 16}, hex.DecodeString, 16},
	} {
		v := propose(t, test.rule, bytes.NewReader(raw))
		got, err := test.decode(v.ExposeText(secret.SingleField))
		if err != nil || !bytes.Equal(got, raw[:test.want]) {
			t.Errorf("%+v: the token does not decode to what was drawn: %v", test.rule, err)
		}
	}
}

func TestKeyPairsFit(t *testing.T) {
	for _, test := range []struct {
		rule v1alpha1.GenerateRule
		bits int
	}{
		{v1alpha1.GenerateRule{Type: "ed25519", Field: "signing"}, 256},
		{v1alpha1.GenerateRule{Type: "rsa", Bits: 2048, Field: "signing"}, 2048},
		{v1alpha1.GenerateRule{Type: "rsa", Field: "signing"}, 3072},
	} {
		v := propose(t, test.rule, nil)
		if diff := cmp.Diff([]string{"note", "signing", "signing.pub"}, v.Names()); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		private, _ := pem.Decode(v.Expose("signing"))
		public, _ := pem.Decode(v.Expose("signing.pub"))
		if private == nil || public == nil || private.Type != "PRIVATE KEY" || public.Type != "PUBLIC KEY" {
			t.Fatalf("%s: not PEM of the promised types", test.rule.Type)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(private.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		other, err := x509.ParsePKIXPublicKey(public.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		signer, ok := parsed.(crypto.Signer)
		if !ok {
			t.Fatalf("%s: not a signing key", test.rule.Type)
		}
		bits := 0
		switch key := signer.Public().(type) {
		case ed25519.PublicKey:
			bits = 8 * len(key)
			ok = key.Equal(other)
		case *rsa.PublicKey:
			bits = key.N.BitLen()
			ok = key.Equal(other)
		}
		if !ok || bits != test.bits {
			t.Errorf("%s: the keys fit: %v; got %d bits, want %d", test.rule.Type, ok, bits, test.bits)
		}
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	for _, rule := range []v1alpha1.GenerateRule{
		{}, {Type: "dsa"}, {Type: "password", Length: -1}, {Type: "password", Length: 1 << 20}, {Type: "password", Classes: []string{"greek"}},
		{Type: "password", Length: 2}, {Type: "token", Encoding: "base32"}, {Type: "rsa", Bits: 1024},
	} {
		if _, err := generated.New(rule, nil); err == nil {
			t.Errorf("%+v: got no error", rule)
		}
	}
}

type repeating byte

func (r repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

func TestBrokenRandomnessIsAnError(t *testing.T) {
	for name, random := range map[string]io.Reader{
		"empty": bytes.NewReader(nil), "zeros": repeating(0), "ones": repeating(0xff),
	} {
		if password, err := generated.Password(random, v1alpha1.GenerateRule{}); err == nil || password != "" {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestNothingIsVerified(t *testing.T) {
	u, err := generated.New(v1alpha1.GenerateRule{Type: "token"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := u.Verify(t.Context(), secret.Value{}); got != upstream.Accepted || err != nil || u.Kind().Verifies {
		t.Errorf("got %s, %v, want accepted by a kind that does not verify", got, err)
	}
}
