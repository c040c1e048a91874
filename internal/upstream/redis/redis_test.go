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

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "cache.example.com"}, Mode: Alternate, Template: "orders", Users: [2]string{"orders_a", "orders_b"},
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
		{"dual", func(c *Config) { c.Mode, c.User = Dual, "orders" }, true},
		{"socket", func(c *Config) { c.Server.Host, c.Server.TLS = "/run/redis/s", Disable }, true},
		{"nodes", func(c *Config) {
			c.Server.Nodes = []string{"two.example.com", "three.example.com:7000", "[::1]:7001", "::1"}
		}, true},
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
		{"no user", func(c *Config) { c.Mode = Dual }, false},
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
	if got, want := m.run, (stamp{uint32(2 * runs), digestRun("run-12")}); got != want || len(m.past) != maxPast {
		t.Errorf("got %v and %d past runs, want %v and %d", got, len(m.past), want, maxPast)
	}
	for i := runs - 1 - maxPast; i < runs-1; i++ {
		if _, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i))); ok {
			t.Errorf("run-%d, superseded, is taken", i)
		}
	}
	password := strings.Repeat("ab", entryBytes)
	read, own, passwords, claimed, found := readMarker(append([]string{password, first}, m.entries()...))
	if diff := cmp.Diff(m, read, cmp.AllowUnexported(marker{}, stamp{})); !claimed || !found || diff != "" {
		t.Errorf("marker read back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{password}, passwords); diff != "" || len(own) != maxPast+3 {
		t.Errorf("passwords (-want +got), and %d entries of Custody's:\n%s", len(own), diff)
	}
	for _, digest := range []string{"", "63", strings.Repeat("zz", entryBytes), marked} {
		if _, own, _, _, _ := readMarker([]string{digest}); len(own) > 0 {
			t.Errorf("digest %q is taken for Custody's own", digest)
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
	d := Describe()
	for _, mode := range d.Modes {
		if (mode.Kind.Evidence != nil) != (mode.Name == string(Alternate)) {
			t.Errorf("%s: got evidence %v", mode.Name, mode.Kind.Evidence)
		}
	}
	if !strings.HasPrefix(d.Page, "## Documents") {
		t.Error("the page does not begin with its documents")
	}
}
