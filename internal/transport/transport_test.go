// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"custody.dev/custody/internal/transport"
)

func TestLocalNeverLeavesTheMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.8.8.8": true, "::1": true, "::ffff:127.0.0.1": true, "/run/db": true,
		"db.example.com": false, "10.0.0.1": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "": false, "0.0.0.0": false, "::": false,
	} {
		if got := transport.Local(host); got != want {
			t.Errorf("Local(%q) = %v, want %v", host, got, want)
		}
		if err := transport.Plain(host); (err == nil) != want {
			t.Errorf("Plain(%q): %v", host, err)
		}
	}
}

func TestDocumentsNameOneServer(t *testing.T) {
	for host, ok := range map[string]bool{
		"db.example.com": true, "::1": true, "/run/postgresql": true, "/run/my databases": true,
		"": false, "one,two": false, "db example": false, "db\x00": false, "db/path": false, "user@db": false, "db?x": false,
	} {
		if err := transport.Host(host); (err == nil) != ok {
			t.Errorf("Host(%q): %v", host, err)
		}
	}
	for port, ok := range map[int]bool{0: true, 5432: true, 65535: true, 65536: false, -1: false} {
		if err := transport.Port(port); (err == nil) != ok {
			t.Errorf("Port(%d): %v", port, err)
		}
	}
	for endpoint, ok := range map[string]bool{
		"https://s3.example.com": true, "https://s3.example.com/": true, "http://127.0.0.1:9000": true,
		"http://s3.example.com": false, "https://user@s3.example.com": false, "https://s3.example.com/path": false,
		"https://s3.example.com?x=1": false, "ftp://s3.example.com": false, "https://": false, "s3.example.com": false,
	} {
		if err := transport.Endpoint(endpoint); (err == nil) != ok {
			t.Errorf("Endpoint(%q): %v", endpoint, err)
		}
	}
}

// server speaks TLS, and redirects.
func server(t *testing.T) (s *httptest.Server, certificate string) {
	t.Helper()
	s = httptest.NewTLSServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	t.Cleanup(s.Close)
	return s, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestServerIsChecked(t *testing.T) {
	s, certificate := server(t)
	verified := func(host, certificates string) (*tls.Config, error) { return transport.Verified(host, certificates) }
	for _, test := range []struct {
		name, host, certificates string
		config                   func(host, certificates string) (*tls.Config, error)
		want                     string
	}{
		{"name and chain fit", "example.com", certificate, verified, ""},
		{"another name", "other.test", certificate, verified, "not other.test"},
		{"the system's authorities", "example.com", "", verified, "unknown authority"},
		{"chain alone", "other.test", certificate, transport.ChainOnly, ""},
		{"chain alone, the system's authorities", "example.com", "", transport.ChainOnly, "unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config, err := test.config(test.host, test.certificates)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	for _, config := range []func(string, string) (*tls.Config, error){transport.Verified, transport.ChainOnly} {
		if _, err := config("example.com", "none"); err == nil {
			t.Error("a certificate that is none is taken")
		}
	}
}

func TestClientFollowsNoRedirect(t *testing.T) {
	s, certificate := server(t)
	client, err := transport.Client(certificate)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusFound || response.Request.URL.Path != "" {
		t.Errorf("got %s from %s", response.Status, response.Request.URL)
	}
	if _, err := transport.Client("none"); err == nil {
		t.Error("a certificate that is none is taken")
	}
}

// A proxy was followed by the client of one upstream and by no other.
func TestProxyOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://egress.example.org:3128")
	t.Setenv("NO_PROXY", "internal.example.org")
	client, err := transport.Client("")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"https://api.example.com/v1":       "http://egress.example.org:3128",
		"https://s3.internal.example.org/": "",
		"https://127.0.0.1:9000/":          "",
		"http://127.0.0.1:9000/":           "",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		proxy, err := client.Transport.(*http.Transport).Proxy(request)
		if got := fmt.Sprint(proxy); err != nil || got != want && (want != "" || proxy != nil) {
			t.Errorf("%s goes through %v (%v), want %q", address, proxy, err, want)
		}
	}
}
