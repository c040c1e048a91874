// SPDX-License-Identifier: Apache-2.0

package expiry_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/expiry"
	"custody.dev/custody/internal/secret"
)

var now = time.Date(2026, 12, 2, 12, 0, 0, 0, time.UTC)

// certificate is one in PEM that ends after so long.
func certificate(t testing.TB, lasts time.Duration) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lasts)}
	der, err := x509.CreateCertificate(rand.Reader, made, made, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func token(header, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + encode([]byte("no signature that anybody checks"))
}

// An end that is missed is an outage on a day that everybody could have known; one that is made up is a warning that nobody believes
// the next time.
func TestEndOfAValue(t *testing.T) {
	day := 24 * time.Hour
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: []byte("not read")}))
	jwt := `{"alg":"RS256","typ":"JWT"}`
	for name, test := range map[string]struct {
		fields map[string]string
		ends   time.Time
		by     string
	}{
		"a password":                      {fields: map[string]string{"value": "c0rrect.horse.battery"}},
		"one certificate":                 {map[string]string{"tls.crt": certificate(t, 90*day)}, now.Add(90 * day), expiry.Certificate},
		"an intermediate that ends first": {map[string]string{"tls.crt": certificate(t, 90*day) + certificate(t, 20*day) + certificate(t, 900*day)}, now.Add(20 * day), expiry.Certificate},
		"a key before its certificate":    {map[string]string{"bundle": key + "some words\n" + certificate(t, 9*day)}, now.Add(9 * day), expiry.Certificate},
		"a broken certificate in between": {map[string]string{"c": strings.Replace(certificate(t, day), "\nM", "\nA", 1) + certificate(t, 9*day)}, now.Add(9 * day), expiry.Certificate},
		"a key alone":                     {fields: map[string]string{"tls.key": key}},
		"a token":                         {map[string]string{"value": token(jwt, `{"sub":"x","exp":1798761600}`) + "\n"}, time.Unix(1798761600, 0), expiry.Token},
		"a token with a fraction":         {map[string]string{"value": token(jwt, `{"exp":1798761600.9}`)}, time.Unix(1798761600, 0), expiry.Token},
		"a token for ever":                {fields: map[string]string{"value": token(jwt, `{"sub":"x"}`)}},
		"a token that ends in words":      {fields: map[string]string{"value": token(jwt, `{"exp":"tomorrow"}`)}},
		"a token beyond all years":        {fields: map[string]string{"value": token(jwt, `{"exp":1e300}`)}},
		"a token before all years":        {fields: map[string]string{"value": token(jwt, `{"exp":-1}`)}},
		"no header of a token":            {fields: map[string]string{"value": token(`{}`, `{"exp":1798761600}`)}},
		"what the upstream said":          {map[string]string{"token": "ghs_x", "expiresAt": "2026-12-02T13:00:00+01:00"}, now, expiry.Upstream},
		"what the upstream did not say":   {fields: map[string]string{"expiresAt": "never"}},
		"the earlier of two fields":       {map[string]string{"a": certificate(t, 500*day), "b": token(jwt, `{"exp":1798761600}`)}, time.Unix(1798761600, 0), expiry.Token},
	} {
		v, err := secret.Text(test.fields)
		if err != nil {
			t.Fatal(err)
		}
		if got := expiry.Of(v); !got.At.Equal(test.ends) || got.By != test.by {
			t.Errorf("%s: ends %s by %q, want %s by %q", name, got.At, got.By, test.ends, test.by)
		}
	}
}
