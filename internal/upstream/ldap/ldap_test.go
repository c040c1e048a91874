// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"context"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/login/hashing"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "ldap.example.com"}, Mode: upstream.Dual, DN: "cn=app,dc=example,dc=org", Claim: "shop/test/app",
		Admin:       func(context.Context) ([]secret.Value, error) { return nil, nil },
		NewPassword: func(io.Reader) (string, error) { return "made-by-rule", nil },
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		ok     bool
	}{
		{"as it should be", func(*Config) {}, true},
		{"socket", func(c *Config) { c.Server.Host = "/run/slapd/ldapi" }, true},
		{"socket at a TLS that is none", func(c *Config) { c.Server.Host, c.Server.TLS = "/run/slapd/ldapi", "prefer" }, false},
		{"loopback by another spelling", func(c *Config) { c.Server.Host, c.Server.TLS = "LocalHost", Disable }, true},
		{"port that is none", func(c *Config) { c.Server.Port = 70000 }, false},
		{"host that is a person's", func(c *Config) { c.Server.Host = "admin@ldap.example.com" }, false},
		{"loopback without TLS", func(c *Config) { c.Server.Host, c.Server.TLS = "::1", Disable }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.TLS = Disable }, false},
		{"no such TLS", func(c *Config) { c.Server.TLS = "prefer" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"two hosts", func(c *Config) { c.Server.Host = "one,two" }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no claim", func(c *Config) { c.Claim = "" }, false},
		{"no mode", func(c *Config) { c.Mode = "" }, false},
		{"no name", func(c *Config) { c.DN = "" }, false},
		{"name that is none", func(c *Config) { c.DN = "app" }, false},
		{"one entry twice", func(c *Config) { c.Mode, c.Entries = upstream.Alternate, [2]string{"cn=a,dc=x", "CN=A, DC=x"} }, false},
		{"two entries", func(c *Config) { c.Mode, c.Entries = upstream.Alternate, [2]string{"cn=a,dc=x", "cn=b,dc=x"} }, true},
		{"no such hash", func(c *Config) { c.Hash = "md5" }, false},
		{"two passwords that the server hashes", func(c *Config) { c.Hash = ByServer }, false},
		{"last use of a password", func(c *Config) { c.LastUse = "pwdLastSuccess" }, false},
		{"attribute that is a filter", func(c *Config) { c.MarkerAttribute = "a)(b" }, false},
		{"negative", func(c *Config) { c.Settle = -1 }, false},
	} {
		config := valid()
		test.change(&config)
		if _, err := New(config); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want accepted: %v", test.name, err, test.ok)
		}
	}
}

func TestHashesCompare(t *testing.T) {
	for _, scheme := range []string{SSHA, SSHA512, Argon2, Bcrypt} {
		stored, err := hashed(rand.Reader, scheme, "right")
		if err != nil {
			t.Fatal(err)
		}
		if got := compare(stored, "right"); got != hashing.Same {
			t.Errorf("%s, the right password: got %d", scheme, got)
		}
		if got := compare(stored, "wrong"); got != hashing.Differs {
			t.Errorf("%s, a wrong password: got %d", scheme, got)
		}
	}
	for stored, want := range map[string]hashing.Match{
		"right": hashing.Same, "wrong": hashing.Differs, "{CLEARTEXT}right": hashing.Same, "{MD5}fFR6XpS/ysTSsn/1iCigxg==": hashing.Differs, "{SASL}user@REALM": hashing.Untold,
		"{CRYPT}$6$salt$hash": hashing.Untold, "{SSHA}short": hashing.Untold, "{ARGON2}$argon2id$v=19$m=9999999999,t=1,p=1$AAAA$AAAAAAAA": hashing.Untold,
		"{ARGON2}$argon2id$v=19$m=65536,t=1,p=0$AAAA$AAAAAAAA": hashing.Untold, "": hashing.Differs,
	} {
		if got := compare(stored, "right"); got != want {
			t.Errorf("%q: got %d, want %d", stored, got, want)
		}
	}
	if _, err := hashed(strings.NewReader(""), SSHA, "right"); err == nil {
		t.Error("no randomness: got no error")
	}
}

func TestMarkerIsFoundAmongOtherValues(t *testing.T) {
	m, ok := login.Claimed("shop/test/app").Change("run-1")
	if next, again := m.Change("run-1"); !ok || !again || next.Text() == m.Text() {
		t.Error("a change of the same run leaves the marker as it was: its request could land late")
	}
	text, read, own := findMarker([]string{"a person's words", m.Text()})
	if diff := cmp.Diff(m, read); !own || text != m.Text() || diff != "" {
		t.Errorf("marker read back (own %v) (-want +got):\n%s", own, diff)
	}
	for _, values := range [][]string{{m.Text(), m.Text()}, {`{"custody":2}`}, {`{"custody":1} and more`}, {`{"custody":1,"else":1}`}} {
		if _, _, own := findMarker(values); own {
			t.Errorf("%q is taken for Custody's own", values)
		}
	}
	if text, _, own := findMarker([]string{"{}", "words"}); !own || text != "" {
		t.Errorf("words of people: got %q, own %v, want no marker", text, own)
	}
}
