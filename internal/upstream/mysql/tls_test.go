// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mysql"
)

// newAuthority makes a certificate authority, and a server's certificate and key for the name localhost.
func newAuthority(t *testing.T) (ca, certificate, key string) {
	t.Helper()
	root, server := newKey(t), newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: template.NotBefore, NotAfter: template.NotAfter,
	}
	encode := func(kind string, der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, root.Public(), root)
	ca = encode("CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, template, server.Public(), root)
	certificate = encode("CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(server)
	return ca, certificate, encode("PRIVATE KEY", der, err)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestServerIsChecked(t *testing.T) {
	ca, certificate, key := newAuthority(t)
	other, _, _ := newAuthority(t)
	r := newRig(t, realparts.MariaDBOptions{
		Files:    map[string]string{"cert.pem": certificate, "key.pem": key},
		Settings: map[string]string{"ssl-cert": "{dir}/cert.pem", "ssl-key": "{dir}/key.pem"},
	})
	config := r.config(mysql.Overwrite)
	v := r.issue(r.open(config), "run-1", credential(t, config.User, random(t)))
	r.sql("ALTER USER " + config.User + "@'%' REQUIRE SSL")
	for _, test := range []struct {
		name, host, mode, ca string
		want                 upstream.Verdict
	}{
		{"name and chain fit", "localhost", mysql.VerifyFull, ca, upstream.Accepted},
		{"another name", "127.0.0.1", mysql.VerifyFull, ca, upstream.Unknown},
		{"another authority", "localhost", mysql.VerifyFull, other, upstream.Unknown},
		{"the system's authorities", "localhost", mysql.VerifyFull, "", upstream.Unknown},
		{"chain alone", "127.0.0.1", mysql.VerifyCA, ca, upstream.Accepted},
		{"chain alone, another authority", "127.0.0.1", mysql.VerifyCA, other, upstream.Unknown},
	} {
		config.Server.Host, config.Server.TLS, config.Server.CACertificate = test.host, test.mode, test.ca
		u := r.open(config)
		r.is(u, test.want, v, test.name)
		if _, err := u.Apply(t.Context(), "run-1", v, v); (err == nil) != (test.want == upstream.Accepted) {
			t.Errorf("%s: Apply: got %v", test.name, err)
		}
	}
}
