// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"custody.dev/custody/internal/realparts"
)

func TestIssuedCertificateIsForItsHosts(t *testing.T) {
	authority, certificate, key := realparts.Issue(t, "localhost", "127.0.0.1")
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	stranger, _, _ := realparts.Issue(t, "localhost")
	for _, test := range []struct {
		authority, host string
		want            bool
	}{
		{authority, "localhost", true},
		{authority, "127.0.0.1", true},
		{authority, "::1", false},
		{authority, "db.example.com", false},
		{stranger, "localhost", false},
	} {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(test.authority))
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: test.host, Roots: roots}); (err == nil) != test.want {
			t.Errorf("%s: got %v, want it believed: %v", test.host, err, test.want)
		}
	}
}
