// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "cache.example.com"}, Mode: upstream.Alternate, Template: "orders", Users: [2]string{"orders_a", "orders_b"},
		Claim: "shop/test/orders-cache", Clock: time.Now,
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
		{"dual", func(c *Config) { c.Mode, c.User = upstream.Dual, "orders" }, true},
		{"socket", func(c *Config) { c.Server.Host, c.Server.TLS = "/run/redis/s", Disable }, true},
		{"nodes", func(c *Config) {
			c.Server.Nodes = []string{"two.example.com", "three.example.com:7000", "[::1]:7001", "::1"}
		}, true},
		{"a node's port by its name", func(c *Config) { c.Server.Nodes = []string{"two.example.com:https"} }, false},
		{"loopback without TLS", func(c *Config) { c.Server.Host, c.Server.TLS = "::1", Disable }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.TLS = Disable }, false},
		{"a node elsewhere without TLS", func(c *Config) {
			c.Server.Host, c.Server.TLS, c.Server.Nodes = "localhost", Disable, []string{"two.example.com"}
		}, false},
		{"TLS without a check", func(c *Config) { c.Server.TLS = "require" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"two hosts", func(c *Config) { c.Server.Host = "one,two" }, false},
		{"no host", func(c *Config) { c.Server.Host = "" }, false},
		{"no such port", func(c *Config) { c.Server.Port = 70000 }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no clock", func(c *Config) { c.Clock = nil }, false},
		{"no rule", func(c *Config) { c.NewPassword = nil }, false},
		{"no claim", func(c *Config) { c.Claim = "" }, false},
		{"no mode", func(c *Config) { c.Mode = "" }, false},
		{"no such way to persist", func(c *Config) { c.Persist = "disk" }, false},
		{"no user", func(c *Config) { c.Mode = upstream.Dual }, false},
		{"one user twice", func(c *Config) { c.Users[1] = "orders_a" }, false},
		{"template as user", func(c *Config) { c.Users[1] = "orders" }, false},
		{"name with a space", func(c *Config) { c.Users[1] = "orders b" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := valid()
			test.change(&config)
			if _, err := New(config); (err == nil) != test.ok {
				t.Errorf("got %v, want accepted: %v", err, test.ok)
			}
		})
	}
}

func TestProposeTakesTurns(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	current, err := secret.Text(map[string]string{"host": "cache.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		if current, err = u.Propose(t.Context(), current); err != nil {
			t.Fatal(err)
		}
		got = append(got, current.ExposeText("username")+" "+current.ExposeText("password")+" "+current.ExposeText("host"))
	}
	want := []string{
		"orders_a made-by-rule cache.example.com", "orders_b made-by-rule cache.example.com", "orders_a made-by-rule cache.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("proposals (-want +got):\n%s", diff)
	}
}

func TestMarkerRemembersSupersededRuns(t *testing.T) {
	m := marker{claim: claimDigest("shop/test/orders-cache")}
	runs := maxPast + 5
	for i := range runs {
		for range 2 { // the second time, it is the current run already
			next, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i)))
			if !ok {
				t.Fatalf("run-%d is refused", i)
			}
			m = next
		}
	}
	if m.Run != runDigest("run-12") || m.changes != uint32(2*runs) || len(m.Past) != maxPast {
		t.Errorf("got run %x, %d changes and %d past runs", m.Run, m.changes, len(m.Past))
	}
	for i := runs - 1 - maxPast; i < runs-1; i++ {
		if _, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i))); ok {
			t.Errorf("run-%d, superseded, is taken", i)
		}
	}
	password := strings.Repeat("ab", entryBytes)
	read, own, passwords := readMarker(append([]string{password, first}, m.entries()...))
	if diff := cmp.Diff(m, read, cmp.AllowUnexported(marker{})); diff != "" {
		t.Errorf("marker read back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{password}, passwords); diff != "" || len(own) != maxPast+3 {
		t.Errorf("passwords (-want +got), and %d entries of Custody's:\n%s", len(own), diff)
	}
	one, two := runDigest("run-1"), runDigest("run-2")
	counted, _, _ := readMarker([]string{runEntry(entryPast, 1<<9, two), runEntry(entryRun, 600, runDigest("run-3")), runEntry(entryPast, 7, one)})
	if diff := cmp.Diff([]string{one, two}, counted.Past); diff != "" || counted.changes != 600 {
		t.Errorf("past runs by their numbers, whatever these are (-want +got):\n%s", diff)
	}
	for _, digest := range []string{"", "63", strings.Repeat("zz", entryBytes), marked} {
		if _, own, passwords := readMarker([]string{digest, first}); len(own) > 1 || len(passwords) != 1 {
			t.Errorf("digest %q is taken for Custody's own", digest)
		}
	}
}

// A user of the pair that Custody did not make is somebody else's until it is handed over, whoever's turn it is.
func TestPairIsHandedOver(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	const rights = "~orders:* resetchannels -@all +@read"
	theirs := upstreamtest.Login(t, "orders_b", "theirs")
	candidate := upstreamtest.Login(t, "orders_a", "candidate")
	claimed := strings.Join(added(marker{claim: claimDigest(u.Claim), Runs: login.Runs[string]{Run: runDigest("run-0")}}), " ")
	for _, test := range []struct {
		name, user string
		kept       secret.Value
		ok         bool
	}{
		{"on, with a password and other rights", "on #" + digest(theirs) + " ~* &* +@all", secret.Value{}, false},
		{"on, with a password and the template's rights", "on #" + digest(theirs) + " " + rights, secret.Value{}, false},
		{"on, with a password and no rights", "on #" + digest(theirs) + " resetchannels -@all", secret.Value{}, false},
		{"on, asks for no password", "on nopass " + rights, secret.Value{}, false},
		{"on, without a password, with other rights", "on ~* resetchannels -@all +get", secret.Value{}, false},
		{"off, with other rights", "off #" + digest(theirs) + " ~* &* +@all", secret.Value{}, false},
		{"off, with a selector", "off resetchannels -@all (~* resetchannels -@all +get)", secret.Value{}, false},
		{"the first entry alone", "on #" + first + " #" + digest(theirs) + " " + rights, secret.Value{}, false},
		{"the current credential, of another password", "on #" + digest(theirs) + " " + rights, upstreamtest.Login(t, "orders_b", "mine"), false},
		{"the current credential's password, of another user", "on #" + digest(theirs) + " " + rights, upstreamtest.Login(t, "legacy", "theirs"), false},
		{"the current credential", "on #" + digest(theirs) + " ~* &* +@all", theirs, true},
		{"the current user, whose password was taken, with other rights", "on ~* &* +@all", theirs, true},
		{"the current user, who now needs no password", "on nopass " + rights, upstreamtest.Login(t, "orders_b", "mine"), false},
		{"claimed", "on " + claimed + " #" + digest(theirs) + " ~* &* +@all", secret.Value{}, true},
		{"off, with the template's rights", "off sanitize-payload #" + digest(theirs) + " " + rights, secret.Value{}, true},
		{"off, without rights", "off #" + digest(theirs) + " &* -@all", secret.Value{}, true},
		{"on, without a password, with the template's rights", "on " + rights, secret.Value{}, true},
		{"as SETUSER makes one", "off sanitize-payload resetchannels -@all", secret.Value{}, true},
		{"marked for the first time", "off #" + first + " resetchannels -@all", secret.Value{}, true},
	} {
		users := parseUsers([]reply{
			{text: "user orders off " + rights}, {text: "user orders_a on " + claimed + " #" + digest(candidate) + " ~old:* -@all +get"}, {text: "user orders_b " + test.user},
		})
		for _, turn := range []string{"orders_a", "orders_b"} {
			c := change{doing: "testing", run: "run-1", user: turn, digest: digest(candidate), apply: true, kept: test.kept}
			_, err := (&session{Upstream: u, change: c}).planAlternate(users)
			if (err == nil) != test.ok || err != nil && (!errors.Is(err, upstream.ErrSuperseded) || !strings.Contains(upstream.Explained(err), "ACL SETUSER orders_b reset")) {
				t.Errorf("%s, at the turn of %s: got %v, want taken: %v", test.name, turn, err, test.ok)
			}
			c.apply = false
			p, err := (&session{Upstream: u, change: c}).planAlternate(users)
			if err != nil || turn == "orders_a" && (p.before != nil) != test.ok {
				t.Errorf("%s, when %s is revoked: got %v, marked: %v, want %v", test.name, turn, err, p.before != nil, test.ok)
			}
		}
	}
}

func TestReplies(t *testing.T) {
	for wire, want := range map[string]reply{
		"+OK\r\n": {text: "OK"}, ":7\r\n": {text: "7"}, "$3\r\na\r\n\r\n": {text: "a\r\n"}, "$-1\r\n": {}, "*-1\r\n": {}, "$0\r\n\r\n": {},
		"*2\r\n$1\r\na\r\n*1\r\n+b\r\n":          {items: []reply{{text: "a"}, {items: []reply{{text: "b"}}}}},
		"-WRONGPASS invalid: it was hunter2\r\n": {code: "WRONGPASS"},
		"-hunter2\r\n":                           {code: "an error without a code"},
	} {
		got, err := parse(wire)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(reply{})); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", wire, err, diff)
		}
	}
	for _, wire := range []string{
		"OK\r\n", "+OK\n", "\r\n", "$x\r\n", "$-2\r\n", "$2\r\nabc\r\n", "*99999999999\r\n", "$99999999999\r\n", "!3\r\nabc\r\n",
		strings.Repeat("*1\r\n", 20), strings.Repeat("+", 5000) + "\r\n", "HTTP/1.1 400 Bad Request\r\n",
	} {
		if _, err := parse(wire); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: got %v, want that this is not the protocol", wire, err)
		}
	}
	for _, wire := range []string{"", "+O", "$3\r\nab", "*2\r\n+a\r\n"} {
		if _, err := parse(wire); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: got %v, want that it ends too early", wire, err)
		}
	}
}

func parse(wire string) (reply, error) {
	left := 1 << 16
	return readReply(bufio.NewReader(strings.NewReader(wire)), &left, 0)
}

func TestDescription(t *testing.T) {
	d := describe()[0]
	for _, mode := range d.Modes {
		if (mode.Kind.Evidence != nil) != (mode.Name == string(upstream.Alternate)) {
			t.Errorf("%s: got evidence %v", mode.Name, mode.Kind.Evidence)
		}
	}
	if !strings.HasPrefix(d.Page, "## Documents") {
		t.Error("the page does not begin with its documents")
	}
}
