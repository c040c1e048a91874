// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
)

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	good := certificate(t)
	garbled := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	other := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("no certificate")})
	for _, c := range []struct {
		name string
		text []byte
		want bool
	}{
		{"one", good, true},
		{"two", append(bytes.Clone(good), good...), true},
		{"none", []byte(" "), false},
		{"text", []byte("certificate"), false},
		{"garbled", garbled, false},
		{"another type", append(bytes.Clone(good), other...), false},
		{"text behind", append(bytes.Clone(good), "more"...), false},
	} {
		if got := certificates(string(c.text)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
