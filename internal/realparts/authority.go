// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// issued is what a throw-away authority made, as PEM. The authority's own key is forgotten.
type issued struct{ authority, certificate, key string }

// issue makes an authority, and a server's certificate for hosts: names and addresses.
func issue(hosts ...string) (issued, error) {
	fail := func(err error) (issued, error) { return issued{}, fmt.Errorf("making certificates: %w", err) }
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "throw-away authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: issuer.NotBefore, NotAfter: issuer.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, address)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	authority, err := x509.CreateCertificate(rand.Reader, issuer, issuer, root.Public(), root)
	if err != nil {
		return fail(err)
	}
	certificate, err := x509.CreateCertificate(rand.Reader, leaf, issuer, own.Public(), root)
	if err != nil {
		return fail(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return fail(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return issued{authority: text("CERTIFICATE", authority), certificate: text("CERTIFICATE", certificate), key: text("PRIVATE KEY", key)}, nil
}

// Issue makes an authority, and the certificate and key of a server for hosts, names and addresses: PEM.
func Issue(t testing.TB, hosts ...string) (authority, certificate, key string) {
	t.Helper()
	made, err := issue(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return made.authority, made.certificate, made.key
}

// issueLoopback writes beneath dir, for a server on loopback, what issue makes: ca.pem, cert.pem and key.pem. It returns
// the authority's certificate.
func issueLoopback(dir string) (string, error) {
	made, err := issue("localhost", loopback, net.IPv6loopback.String())
	if err != nil {
		return "", err
	}
	for name, content := range map[string]string{"ca.pem": made.authority, "cert.pem": made.certificate, "key.pem": made.key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("making certificates: %w", err)
		}
	}
	return made.authority, nil
}
