// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
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
	dir, err := os.MkdirTemp("", "custody-tls-") // not t.TempDir: the server may run as another user
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	settings := map[string]string{"ssl": "on", "ssl_cert_file": filepath.Join(dir, "cert.pem"), "ssl_key_file": filepath.Join(dir, "key.pem")}
	for path, text := range map[string]string{settings["ssl_cert_file"]: certificate, settings["ssl_key_file"]: key} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		give(t, path)
	}
	give(t, dir)
	r := newRig(t, realparts.PostgresOptions{Settings: settings, HBA: "local all all scram-sha-256\n" +
		"host all custody_test_root 127.0.0.1/32 scram-sha-256\nhost all custody_admin all scram-sha-256\nhostssl all all all scram-sha-256\n"})
	config := r.config(postgres.Overwrite)
	v := r.issue(r.open(config), "run-1", credential(t, config.User, random(t)))
	for _, test := range []struct {
		name, host, mode, ca string
		want                 upstream.Verdict
	}{
		{"name and chain fit", "localhost", postgres.VerifyFull, ca, upstream.Accepted},
		{"another name", "127.0.0.1", postgres.VerifyFull, ca, upstream.Unknown},
		{"another authority", "localhost", postgres.VerifyFull, other, upstream.Unknown},
		{"the system's authorities", "localhost", postgres.VerifyFull, "", upstream.Unknown},
		{"chain alone", "127.0.0.1", postgres.VerifyCA, ca, upstream.Accepted},
		{"chain alone, another authority", "127.0.0.1", postgres.VerifyCA, other, upstream.Unknown},
		{"whoever it is", "127.0.0.1", postgres.Require, "", upstream.Accepted},
		{"without TLS", "127.0.0.1", postgres.Disable, "", upstream.Unknown},
	} {
		config.Server.Host, config.Server.TLS, config.Server.CACertificate = test.host, test.mode, test.ca
		r.is(r.open(config), test.want, v, test.name)
	}
}

// give makes path the server's user's, who is postgres where the tests run as root.
func give(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}
