// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "ldap.example.com"}, Mode: Dual, DN: "cn=app,dc=example,dc=org", Claim: "shop/test/app",
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
		{"one entry twice", func(c *Config) { c.Mode, c.Entries = Alternate, [2]string{"cn=a,dc=x", "CN=A, DC=x"} }, false},
		{"two entries", func(c *Config) { c.Mode, c.Entries = Alternate, [2]string{"cn=a,dc=x", "cn=b,dc=x"} }, true},
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
		if got := compare(stored, "right"); got != same {
			t.Errorf("%s, the right password: got %d", scheme, got)
		}
		if got := compare(stored, "wrong"); got != differs {
			t.Errorf("%s, a wrong password: got %d", scheme, got)
		}
	}
	for stored, want := range map[string]match{
		"right": same, "wrong": differs, "{CLEARTEXT}right": same, "{MD5}fFR6XpS/ysTSsn/1iCigxg==": differs, "{SASL}user@REALM": untold,
		"{CRYPT}$6$salt$hash": untold, "{SSHA}short": untold, "{ARGON2}$argon2id$v=19$m=9999999999,t=1,p=1$AAAA$AAAAAAAA": untold,
		"{ARGON2}$argon2id$v=19$m=65536,t=1,p=0$AAAA$AAAAAAAA": untold, "": differs,
	} {
		if got := compare(stored, "right"); got != want {
			t.Errorf("%q: got %d, want %d", stored, got, want)
		}
	}
	if _, err := hashed(strings.NewReader(""), SSHA, "right"); err == nil {
		t.Error("no randomness: got no error")
	}
}

func TestMarkerRemembersSupersededRuns(t *testing.T) {
	m := marker{Custody: markerSchema, Claim: "shop/test/app"}
	runs := maxPast + 5
	for i := range runs {
		for range 2 {
			next, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i)))
			if !ok || next.Change != m.Change+1 {
				t.Fatalf("run-%d is refused, or its change not counted", i)
			}
			m = next
		}
	}
	for i := runs - 1 - maxPast; i < runs-1; i++ {
		if _, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i))); ok {
			t.Errorf("run-%d, superseded, is taken", i)
		}
	}
	text, read, own := findMarker([]string{"a person's words", m.encode()})
	if diff := cmp.Diff(m, read); !own || text != m.encode() || diff != "" {
		t.Errorf("marker read back (own %v) (-want +got):\n%s", own, diff)
	}
	for _, values := range [][]string{{m.encode(), m.encode()}, {`{"custody":2}`}, {`{"custody":1} and more`}, {`{"custody":1,"else":1}`}} {
		if _, _, own := findMarker(values); own {
			t.Errorf("%q is taken for Custody's own", values)
		}
	}
	if text, _, own := findMarker([]string{"{}", "words"}); !own || text != "" {
		t.Errorf("words of people: got %q, own %v, want no marker", text, own)
	}
}
