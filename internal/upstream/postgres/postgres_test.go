// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "db.example.com"}, Mode: upstream.Alternate, Owner: "orders", Users: [2]string{"orders_a", "orders_b"},
		Claim: "shop/test/orders-db", Clock: time.Now,
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
		{"socket", func(c *Config) { c.Server.Host = "/run/postgresql" }, true},
		{"loopback without TLS", func(c *Config) { c.Server.Host, c.Server.TLS = "::1", Disable }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.TLS = Disable }, false},
		{"TLS by a mode that falls back", func(c *Config) { c.Server.TLS = "prefer" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"two hosts", func(c *Config) { c.Server.Host = "one,two" }, false},
		{"no host", func(c *Config) { c.Server.Host = "" }, false},
		{"no such port", func(c *Config) { c.Server.Port = 70000 }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no clock", func(c *Config) { c.Clock = nil }, false},
		{"no rule", func(c *Config) { c.NewPassword = nil }, false},
		{"no claim", func(c *Config) { c.Claim = "" }, false},
		{"no mode", func(c *Config) { c.Mode = "" }, false},
		{"no user", func(c *Config) { c.Mode = upstream.Overwrite }, false},
		{"one user twice", func(c *Config) { c.Users[1] = "orders_a" }, false},
		{"owner as user", func(c *Config) { c.Users[1] = "orders" }, false},
		{"name that is cut", func(c *Config) { c.Owner = strings.Repeat("o", 64) }, false},
		{"reserved name", func(c *Config) { c.Owner = "pg_monitor" }, false},
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

func TestEnvironmentIsIgnored(t *testing.T) {
	for name, value := range map[string]string{
		"PGHOST": "elsewhere.example.com", "PGPORT": "1", "PGUSER": "root", "PGPASSWORD": "from-the-environment",
		"PGSSLMODE": "disable", "PGOPTIONS": "-c role=root", "PGAPPNAME": "else", "PGREQUIREAUTH": "none",
		"PGTARGETSESSIONATTRS": "standby", "PGCONNECT_TIMEOUT": "1", "PGCHANNELBINDING": "disable", "PGTZ": "Asia/Tokyo",
	} {
		t.Setenv(name, value)
	}
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		host, channel, auth, password string
		port                          uint16
		tls, fallbacks, checks        bool
		parameters                    map[string]string
	}
	got := seen{
		host: u.base.Host, port: u.base.Port, channel: u.base.ChannelBinding, auth: u.base.RequireAuth, password: u.base.Password,
		tls:       u.base.TLSConfig != nil && !u.base.TLSConfig.InsecureSkipVerify && u.base.TLSConfig.ServerName == "db.example.com",
		fallbacks: len(u.base.Fallbacks) > 0, checks: u.base.ValidateConnect != nil || u.base.ConnectTimeout != 0,
		parameters: u.base.RuntimeParams,
	}
	want := seen{host: "db.example.com", port: 5432, channel: "prefer", password: "unset", tls: true, parameters: map[string]string{
		"application_name": "custody", "client_encoding": "UTF8", "search_path": "pg_catalog", "standard_conforming_strings": "on",
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("connection (-want +got):\n%s", diff)
	}
}

// The salt and keys are those of the example in RFC 7677.
func TestVerifierOfKnownPassword(t *testing.T) {
	salt := []byte{0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81}
	got, err := verifier(bytes.NewReader(salt), "pencil", 4096)
	if err != nil {
		t.Fatal(err)
	}
	want := "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := verifier(bytes.NewReader(nil), "pencil", 4096); err == nil {
		t.Error("no randomness: got no error")
	}
}

func TestProposeTakesTurns(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	current, err := secret.Text(map[string]string{"host": "db.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if current, err = u.Propose(t.Context(), current); err != nil {
			t.Fatal(err)
		}
		got = append(got, current.ExposeText("username")+" "+current.ExposeText("password")+" "+current.ExposeText("host"))
	}
	want := []string{
		"orders_a made-by-rule db.example.com", "orders_b made-by-rule db.example.com", "orders_a made-by-rule db.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("proposals (-want +got):\n%s", diff)
	}
}
