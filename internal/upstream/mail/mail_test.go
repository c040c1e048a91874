// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
)

func valid() Config {
	return Config{
		Submission: Submission{Host: "mail.example.com"}, Mode: Dual, User: "shop@example.org", Claim: "shop/test/relay",
		NewPassword: func(io.Reader) (string, error) { return "made-by-rule", nil },
		File:        &PasswdFile{Folder: "/etc/dovecot", File: "users", Second: "users.next"},
	}
}

func TestConfigIsChecked(t *testing.T) {
	table := func(change func(*SQL)) func(*Config) {
		return func(c *Config) {
			c.File = nil
			c.SQL = &SQL{Type: MySQL, Host: "db", Database: "mail", Table: "logins", SlotColumn: "slot", Admin: func(context.Context) ([]secret.Value, error) { return nil, nil }}
			change(c.SQL)
		}
	}
	for _, test := range []struct {
		name   string
		change func(*Config)
		ok     bool
	}{
		{"as it should be", func(*Config) {}, true},
		{"table", table(func(*SQL) {}), true},
		{"table without an admin", table(func(s *SQL) { s.Admin = nil }), false},
		{"table that is a statement", table(func(s *SQL) { s.Table = "a; DROP TABLE b" }), false},
		{"column that is one", table(func(s *SQL) { s.UserColumn = "a = a OR b" }), false},
		{"table without a slot", table(func(s *SQL) { s.SlotColumn = "" }), false},
		{"database elsewhere without TLS", table(func(s *SQL) { s.TLS = Disable }), false},
		{"no such database", table(func(s *SQL) { s.Type = "sqlite" }), false},
		{"nowhere", func(c *Config) { c.File = nil }, false},
		{"two places", func(c *Config) { c.SQL = &SQL{} }, false},
		{"folder that is not absolute", func(c *Config) { c.File.Folder = "etc" }, false},
		{"file outside", func(c *Config) { c.File.File = "../shadow" }, false},
		{"one file twice", func(c *Config) { c.File.Second = "./users" }, false},
		{"elsewhere without TLS", func(c *Config) { c.Submission.TLS = Disable }, false},
		{"no such TLS", func(c *Config) { c.Submission.TLS = "ssl" }, false},
		{"login that is a line", func(c *Config) { c.User = "a:b" }, false},
		{"claim with a variable", func(c *Config) { c.Claim = "shop/%u/x" }, false},
		{"one login twice", func(c *Config) { c.Mode, c.Users = Alternate, [2]string{"a", "a"} }, false},
		{"no mode", func(c *Config) { c.Mode = "" }, false},
		{"a second to settle", func(c *Config) { c.Settle = time.Second }, true},
		{"less than a second", func(c *Config) { c.Settle = time.Second - 1 }, false},
		{"no such cost", func(c *Config) { c.Cost = 99 }, false},
	} {
		config := valid()
		test.change(&config)
		if _, err := New(config); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want accepted: %v", test.name, err, test.ok)
		}
	}
}

func TestLinesKeepWhatIsNotOurs(t *testing.T) {
	for _, test := range []struct{ before, after string }{
		{"a:old", "a:NEW::::::userdb_custody=M"},
		{"a:old\n", "a:NEW::::::userdb_custody=M\n"},
		{"a:old:1:2:G e:/h:/s:x=1 y=2\nb:old", "a:NEW:1:2:G e:/h:/s:x=1 y=2 userdb_custody=M\nb:old"},
		{"aa:x\na:old::::::userdb_custody=O x=1\r\nb", "aa:x\na:NEW::::::userdb_custody=M x=1\r\nb"},
		{"a:old::::::x=userdb_custody=1 userdb_custody=O", "a:NEW::::::x=userdb_custody=1 userdb_custody=M"},
		{"# a:x\n", "# a:x\na:NEW::::::userdb_custody=M\n"},
		{"b:x", "b:x\na:NEW::::::userdb_custody=M"},
		{"", "a:NEW::::::userdb_custody=M\n"},
	} {
		d := &document{name: "users"}
		for _, line := range strings.Split(test.before, "\n") {
			d.lines = append(d.lines, []byte(line))
		}
		var got []string
		for _, line := range d.put(d.lines, row{login: "a", password: "NEW", marker: "M"}) {
			got = append(got, string(line))
		}
		if diff := cmp.Diff(test.after, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.before, diff)
		}
	}
}

func TestLinesWithCarriageReturns(t *testing.T) {
	for text, want := range map[string]row{
		"a:{PLAIN}old\r":                               {login: "a", slot: 1, password: "{PLAIN}old"},
		"a:{PLAIN}old:1:2:G e:/h\r":                    {login: "a", slot: 1, password: "{PLAIN}old"},
		"a:{PLAIN}old::::::x=1 userdb_custody=M\r":     {login: "a", slot: 1, password: "{PLAIN}old", marker: "M"},
		"a:{PLAIN}old::::::x=1 userdb_custody=M y=2\r": {login: "a", slot: 1, password: "{PLAIN}old", marker: "M"},
	} {
		d := &document{name: "users", lines: [][]byte{[]byte(text)}}
		got, err := d.row(row{login: "a", slot: 1})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		got.marker = "N"
		if put := string(d.put(d.lines, *got)[0]); strings.Count(put, "\r") != 1 || !strings.HasSuffix(put, "N\r") && !strings.HasSuffix(put, "y=2\r") {
			t.Errorf("%q, put back: got %q", text, put)
		}
	}
}

func TestHashesCompare(t *testing.T) {
	stored, err := hashed(bcrypt.MinCost, "right")
	if err != nil || !strings.HasPrefix(stored, "{BLF-CRYPT}$2y$") {
		t.Fatalf("got %q, %v", stored, err)
	}
	for text, want := range map[string]match{
		stored: same, strings.TrimPrefix(stored, "{BLF-CRYPT}"): same, "{PLAIN}right": same, "{plain}wrong": differs, "": differs,
		"{SHA512-CRYPT}$6$salt$hash": untold, "{SSHA}short": untold, "{broken": untold, "$1$salt$hash": untold,
	} {
		if got := compare(text, "right"); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	nobodys, err := locked(rand.Reader, bcrypt.MinCost)
	if err != nil || compare(nobodys, "right") != differs || compare(nobodys, "") != differs {
		t.Errorf("what nobody knows: got %q, %v", nobodys, err)
	}
}

func TestMarkerRemembersSupersededRuns(t *testing.T) {
	m := marker{claim: "shop/test/relay"}
	runs := maxPast + 5
	for i := range runs {
		for range 2 {
			next, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i)))
			if !ok {
				t.Fatalf("run-%d is refused", i)
			}
			m = next
		}
	}
	for i := runs - 1 - maxPast; i < runs-1; i++ {
		if _, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i))); ok {
			t.Errorf("run-%d, superseded, is taken", i)
		}
	}
	read, own := parseMarker(m.encode())
	if diff := cmp.Diff(m, read, cmp.AllowUnexported(marker{})); !own || diff != "" {
		t.Errorf("marker read back (own %v) (-want +got):\n%s", own, diff)
	}
	for _, text := range []string{"", "2;c;r;", "1;c;r", "1;;r;", "1;c;;", "1;c;r;,", "1;c;r;p;q", "words"} {
		if _, own := parseMarker(text); own {
			t.Errorf("%q is taken for Custody's own", text)
		}
	}
}
