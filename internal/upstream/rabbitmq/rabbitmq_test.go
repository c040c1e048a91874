// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "broker.example.com"}, Mode: upstream.Alternate, Template: "orders", Users: [2]string{"orders_a", "orders_b"},
		Claim: "shop/test/orders-queue", Clock: time.Now,
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
		{"overwrite", func(c *Config) { c.Mode, c.User = upstream.Overwrite, "orders" }, true},
		{"loopback without TLS", func(c *Config) { c.Server.Host, c.Server.TLS = "::1", Disable }, true},
		{"behind a path", func(c *Config) { c.Server.ManagementPath = "/rabbit/one" }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.TLS = Disable }, false},
		{"management elsewhere without TLS", func(c *Config) {
			c.Server.Host, c.Server.TLS, c.Server.ManagementHost = "localhost", Disable, "broker.example.com"
		}, false},
		{"TLS without a check", func(c *Config) { c.Server.TLS = "require" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"no host", func(c *Config) { c.Server.Host = "" }, false},
		{"host that is a URL", func(c *Config) { c.Server.Host = "amqps://broker.example.com" }, false},
		{"host with a user", func(c *Config) { c.Server.ManagementHost = "admin@broker.example.com" }, false},
		{"no such port", func(c *Config) { c.Server.ManagementPort = 70000 }, false},
		{"path with a query", func(c *Config) { c.Server.ManagementPath = "/rabbit?x" }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no clock", func(c *Config) { c.Clock = nil }, false},
		{"no rule", func(c *Config) { c.NewPassword = nil }, false},
		{"no claim", func(c *Config) { c.Claim = "" }, false},
		{"no mode", func(c *Config) { c.Mode = "" }, false},
		{"a cache of negative age", func(c *Config) { c.AuthCache = -1 }, false},
		{"no user", func(c *Config) { c.Mode = upstream.Overwrite }, false},
		{"one user twice", func(c *Config) { c.Users[1] = "orders_a" }, false},
		{"template as user", func(c *Config) { c.Users[1] = "orders" }, false},
		{"name that is a path", func(c *Config) { c.Users[1] = ".." }, false},
		{"name that is too long", func(c *Config) { c.Users[1] = strings.Repeat("o", 256) }, false},
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
	current, err := secret.Text(map[string]string{"host": "broker.example.com"})
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
		"orders_a made-by-rule broker.example.com", "orders_b made-by-rule broker.example.com", "orders_a made-by-rule broker.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("proposals (-want +got):\n%s", diff)
	}
}

func TestMarkerRemembersSupersededRuns(t *testing.T) {
	m := marker{claim: inTag("shop/test/orders-queue")}
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
	if m.Run != "run-12" || len(m.Past) != maxPast {
		t.Errorf("got run %s and %d past runs", m.Run, len(m.Past))
	}
	for i := runs - 1 - maxPast; i < runs-1; i++ {
		if _, ok := m.supersede(authority.RunID(fmt.Sprintf("run-%d", i))); ok {
			t.Errorf("run-%d, superseded, is taken", i)
		}
	}
	read, others := readMarker(append([]string{"monitoring"}, m.tags()...))
	if diff := cmp.Diff(m, read, cmp.AllowUnexported(marker{})); diff != "" {
		t.Errorf("marker read back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"monitoring"}, others); diff != "" {
		t.Errorf("other tags (-want +got):\n%s", diff)
	}
	for _, text := range []string{"with,comma", "with space", strings.Repeat("long", 100), "ü", ""} {
		if got := inTag(text); strings.ContainsAny(got, ", ") || len(tagClaim+got) > 255 || got == text || got == inTag(text+"x") {
			t.Errorf("%q in a tag: got %q", text, got)
		}
	}
}

// The salt, the password and the hash are those of the example in RabbitMQ's own page about passwords.
func TestHashOfKnownPassword(t *testing.T) {
	v, err := secret.Text(map[string]string{"password": "test12"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := hash(strings.NewReader("\x90\x8d\xc6\x0a"), v)
	if err != nil {
		t.Fatal(err)
	}
	want := "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other, err := v.With("password", []byte("test13"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		held account
		v    secret.Value
		want bool
	}{
		{account{Hash: want, Algorithm: hashAlgorithm}, v, true},
		{account{Hash: want, Algorithm: hashAlgorithm}, other, false},
		{account{Hash: want, Algorithm: "rabbit_password_hashing_sha512"}, v, false},
		{account{Hash: "", Algorithm: hashAlgorithm}, v, false},
		{account{Hash: "kI3GCg==", Algorithm: hashAlgorithm}, v, false},
	} {
		if got := test.held.opens(test.v); got != test.want {
			t.Errorf("%+v: got %v, want %v", test.held, got, test.want)
		}
	}
	if _, err := hash(strings.NewReader(""), v); err == nil {
		t.Error("no randomness: got no error")
	}
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
