// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/login/hashing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
)

func valid() Config {
	return Config{
		Submission: Submission{Host: "mail.example.com"}, Mode: upstream.Dual, User: "shop@example.org", Claim: "shop/test/relay",
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
		{"table at a port that is none", table(func(s *SQL) { s.Port = 70000 }), false},
		{"table at two hosts", table(func(s *SQL) { s.Host = "one,two" }), false},
		{"table behind a socket", table(func(s *SQL) { s.Host, s.TLS = "/run/mysqld/mysqld.sock", Disable }), true},
		{"nowhere", func(c *Config) { c.File = nil }, false},
		{"two places", func(c *Config) { c.SQL = &SQL{} }, false},
		{"folder that is not absolute", func(c *Config) { c.File.Folder = "etc" }, false},
		{"file outside", func(c *Config) { c.File.File = "../shadow" }, false},
		{"one file twice", func(c *Config) { c.File.Second = "./users" }, false},
		{"elsewhere without TLS", func(c *Config) { c.Submission.TLS = Disable }, false},
		{"loopback without TLS", func(c *Config) { c.Submission.Host, c.Submission.TLS = "LocalHost", Disable }, true},
		{"a socket", func(c *Config) { c.Submission.Host = "/run/submission" }, false},
		{"a port that is none", func(c *Config) { c.Submission.Port = -1 }, false},
		{"no such TLS", func(c *Config) { c.Submission.TLS = "ssl" }, false},
		{"login that is a line", func(c *Config) { c.User = "a:b" }, false},
		{"claim with a variable", func(c *Config) { c.Claim = "shop/%u/x" }, false},
		{"one login twice", func(c *Config) { c.Mode, c.Users = upstream.Alternate, [2]string{"a", "a"} }, false},
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

func TestEnvironmentIsNotAskedForTheTable(t *testing.T) {
	config := valid()
	config.File, config.Mode = nil, upstream.Overwrite
	config.SQL = &SQL{
		Type: Postgres, Host: "db.internal", Database: "mail", Table: "logins",
		Admin: func(context.Context) ([]secret.Value, error) { return nil, nil },
	}
	for name, value := range map[string]string{
		"PGHOST": "elsewhere", "PGSSLMODE": "disable", "PGREQUIREAUTH": "none", "PGCHANNELBINDING": "require", "PGSSLNEGOTIATION": "direct",
		"PGSSLCERTMODE": "require", "PGMINPROTOCOLVERSION": "3.2", "PGOPTIONS": "-c role=nobody",
	} {
		t.Setenv(name, value)
	}
	u, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	got := u.store.(*table).postgres
	if got.Host != "db.internal" || got.TLSConfig == nil || got.TLSConfig.ServerName != "db.internal" || got.RequireAuth != "" ||
		got.ChannelBinding != "prefer" || got.SSLNegotiation != "postgres" || got.MinProtocolVersion != "3.0" || got.RuntimeParams["options"] != "" {
		t.Errorf("host %q, auth %q, binding %q, negotiation %q, protocol %q, options %q: something is the environment's",
			got.Host, got.RequireAuth, got.ChannelBinding, got.SSLNegotiation, got.MinProtocolVersion, got.RuntimeParams["options"])
	}
	t.Setenv("PGSERVICE", "nowhere")
	if _, err := New(config); err == nil || !strings.Contains(err.Error(), "PGSERVICE") {
		t.Errorf("got %v, want that the environment disturbs the driver", err)
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
	for text, want := range map[string]hashing.Match{
		stored: hashing.Same, strings.TrimPrefix(stored, "{BLF-CRYPT}"): hashing.Same, "{PLAIN}right": hashing.Same, "{plain}wrong": hashing.Differs, "": hashing.Differs,
		"{SHA512-CRYPT}$6$salt$hash": hashing.Untold, "{SSHA}short": hashing.Untold, "{broken": hashing.Untold, "$1$salt$hash": hashing.Untold,
	} {
		if got := compare(text, "right"); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	nobodys, err := locked(rand.Reader, bcrypt.MinCost)
	if err != nil || compare(nobodys, "right") != hashing.Differs || compare(nobodys, "") != hashing.Differs {
		t.Errorf("what nobody knows: got %q, %v", nobodys, err)
	}
}

// moment is a context in whose life something happens when its error has been asked for so many times.
type moment struct {
	context.Context
	left int
	then func() error
}

func (m *moment) Err() error {
	if m.left--; m.left >= 0 {
		return nil
	}
	return m.then()
}

func TestNotAppliedMeansThatNoPasswordChanged(t *testing.T) {
	for what, happens := range map[string]func(folder string) error{
		"the deadline passes": func(string) error { return context.DeadlineExceeded },
		"somebody edits the second file": func(folder string) error {
			_ = os.WriteFile(filepath.Join(folder, "users.next"), []byte("a:old\nb:new\n"), 0o600)
			return nil
		},
	} {
		done := false
		for left := 0; !done; left++ {
			folder := t.TempDir()
			read := func() (passwords []string) {
				for _, name := range []string{"users", "users.next"} {
					data, err := os.ReadFile(filepath.Join(folder, name))
					if err != nil {
						t.Fatal(err)
					}
					password, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(data)), "a:"), ":")
					passwords = append(passwords, strings.Fields(password)[0])
				}
				return passwords
			}
			for _, name := range []string{"users", "users.next"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte("a:old\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			file := &PasswdFile{Folder: folder, File: "users", Second: "users.next", random: rand.Reader, cost: bcrypt.MinCost}
			happened := false
			ctx := &moment{Context: t.Context(), left: left, then: func() error { happened = true; return happens(folder) }}
			err := file.change(ctx, "testing", []row{{login: "a", slot: 1}, {login: "a", slot: 2}}, func(rows []*row) error {
				for _, r := range rows {
					r.password, r.marker = "new", "M"
				}
				return nil
			})
			done = !happened
			switch got := read(); {
			case errors.Is(err, upstream.ErrNotApplied) && slices.Contains(got, "new"):
				t.Errorf("%s at moment %d: got %v, with the passwords %q", what, left, err, got)
			case err == nil && slices.Contains(got, "old"):
				t.Errorf("%s at moment %d: got no error, with the passwords %q", what, left, got)
			}
		}
	}
}

func TestMarkerIsOneWord(t *testing.T) {
	m := marker{claim: "shop/test/relay"}
	for i := range login.MaxPast + 5 {
		run := authority.RunID(fmt.Sprintf("run-%d", i))
		for range 2 {
			next, ok := m.begin(run)
			if !ok {
				t.Fatalf("%s is refused", run)
			}
			m = next
		}
	}
	for _, past := range m.Past {
		if next, ok := m.begin(past); ok || next.Run != m.Run {
			t.Errorf("%s, superseded, is taken", past)
		}
	}
	text := m.encode()
	if strings.ContainsAny(text, ": \t%") || !strings.HasPrefix(text, "1;shop/test/relay;run-20;run-4,run-5,") {
		t.Errorf("got %q, want one word without colons", text)
	}
	read, own := parseMarker(text)
	if diff := cmp.Diff(m, read, cmp.AllowUnexported(marker{})); !own || diff != "" {
		t.Errorf("marker read back (own %v) (-want +got):\n%s", own, diff)
	}
	for _, text := range []string{"", "2;c;r;", "1;c;r", "1;;r;", "1;c;;", "1;c;r;,", "1;c;r;p;q", "words"} {
		if _, own := parseMarker(text); own {
			t.Errorf("%q is taken for Custody's own", text)
		}
	}
}
