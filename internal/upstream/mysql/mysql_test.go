// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		Server: Server{Host: "db.example.com"}, Mode: upstream.Alternate, Role: "orders", Users: [2]string{"orders_a", "orders_b"},
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
		{"no role", func(c *Config) { c.Role = "" }, true},
		{"dual", func(c *Config) { c.Mode, c.User = upstream.Dual, "orders" }, true},
		{"overwrite", func(c *Config) { c.Mode, c.User = upstream.Overwrite, "orders" }, true},
		{"MySQL", func(c *Config) { c.Server.Product = MySQL }, true},
		{"ed25519", func(c *Config) { c.Plugin = "ed25519" }, true},
		{"socket", func(c *Config) { c.Server.Host = "/run/mysqld/mysqld.sock" }, true},
		{"loopback without TLS", func(c *Config) { c.Server.Host, c.Server.TLS = "::1", Disable }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.TLS = Disable }, false},
		{"TLS that checks nothing", func(c *Config) { c.Server.TLS = "require" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"no host", func(c *Config) { c.Server.Host = "" }, false},
		{"no such port", func(c *Config) { c.Server.Port = 70000 }, false},
		{"table of no database", func(c *Config) { c.Server.MarkerTable = "accounts" }, false},
		{"table with more in its name", func(c *Config) { c.Server.MarkerTable = "a.b;c" }, false},
		{"no such product", func(c *Config) { c.Server.Product = "oracle" }, false},
		{"plugin of the other product", func(c *Config) { c.Plugin = "caching_sha2_password" }, false},
		{"dual by ed25519", func(c *Config) { c.Mode, c.User, c.Plugin = upstream.Dual, "orders", "ed25519" }, false},
		{"dual, password sent", func(c *Config) { c.Mode, c.User, c.SendPassword = upstream.Dual, "orders", true }, false},
		{"MySQL, password sent", func(c *Config) { c.Server.Product, c.SendPassword = MySQL, true }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no clock", func(c *Config) { c.Clock = nil }, false},
		{"no rule", func(c *Config) { c.NewPassword = nil }, false},
		{"no claim", func(c *Config) { c.Claim = "" }, false},
		{"no mode", func(c *Config) { c.Mode = "" }, false},
		{"negative time", func(c *Config) { c.WrongEvery = -1 }, false},
		{"no user", func(c *Config) { c.Mode = upstream.Overwrite }, false},
		{"one user twice", func(c *Config) { c.Users[1] = "orders_a" }, false},
		{"name too long", func(c *Config) { c.Role = strings.Repeat("o", 81) }, false},
		{"name of two lines", func(c *Config) { c.Role = "a\nb" }, false},
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

// The digests were made by OpenSSL (passwd -5) and by MariaDB (PASSWORD, and its plugin ed25519).
func TestHashesOfKnownPasswords(t *testing.T) {
	for _, test := range []struct{ salt, password, want string }{
		{"saltstring", "Hello world!", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
		{"abcdefghij./ABCD", "Käse und Brot, 24 Zeichen lang und mehr als 32", "d9SbAGD8q5GIkAViTi52KjS9Zw/vQJcPvZBuJfvJN71"},
	} {
		if got := sha256crypt([]byte(test.password), []byte(test.salt), sha2Rounds); got != test.want {
			t.Errorf("SHA-crypt of %q: got %s, want %s", test.password, got, test.want)
		}
	}
	for plugin, want := range map[string]string{
		pluginNative: "*A41BEE51488264C01B96DE959A9142AF1A75205E", pluginEd25519: "GVycM1PNYy2URWCtSnWcrXKV9RSF2Riqk+B7EpGr7IE",
	} {
		if got, err := hashed(nil, plugin, "two"); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", plugin, got, err, want)
		}
	}
	hash, err := hashed(bytes.NewReader(make([]byte, sha2Salt)), pluginSHA2, "two")
	if err != nil || !strings.HasPrefix(hash, "$A$005$....................") || len(hash) != 70 {
		t.Errorf("caching_sha2_password: got %s, %v, want 70 characters", hash, err)
	}
	if _, err := hashed(bytes.NewReader(nil), pluginSHA2, "two"); err == nil {
		t.Error("no randomness: got no error")
	}
}

// No MySQL server could be had to run these on; the texts are held against its manual.
func TestStatementsForMySQL(t *testing.T) {
	config := valid()
	config.Server.Product = MySQL
	config.Random = bytes.NewReader(make([]byte, 1000))
	u, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	set, err := u.identified("two")
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256crypt([]byte("two"), []byte("...................."), sha2Rounds)
	u.User = "o'a"
	got := append([]string{set, u.readMeans(), u.readMarkers()}, u.roleStatements("o'a")...)
	marked := login.Claimed("c")
	marked.Run = "r"
	got = append(got, u.writeMarkers(marked)...)
	want := []string{
		"IDENTIFIED WITH caching_sha2_password AS '$A$005$...................." + digest + "'",
		"SELECT plugin, '[]' FROM mysql.user WHERE User = 'o''a' AND Host = '%'",
		"SELECT CONCAT(USER, '@', HOST), COALESCE(JSON_UNQUOTE(JSON_EXTRACT(ATTRIBUTE, '$.custody')), '') " +
			"FROM INFORMATION_SCHEMA.USER_ATTRIBUTES WHERE CONCAT(USER, '@', HOST) IN ('orders_a@%', 'orders_b@%')",
		"GRANT `orders` TO 'o''a'@'%'",
		"ALTER USER 'o''a'@'%' DEFAULT ROLE `orders`",
		`ALTER USER IF EXISTS 'orders_a'@'%' ATTRIBUTE '{"custody":"{\"custody\":1,\"claim\":\"c\",\"run\":\"r\"}"}'`,
		`ALTER USER IF EXISTS 'orders_b'@'%' ATTRIBUTE '{"custody":"{\"custody\":1,\"claim\":\"c\",\"run\":\"r\"}"}'`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
	s := &session{product: MySQL, until: 1.5, locks: []string{"custody.x"}}
	condition := "IF((1.500000 - UNIX_TIMESTAMP(SYSDATE(6))) > 0 AND IS_USED_LOCK('custody.x') <=> CONNECTION_ID(), "
	if diff := cmp.Diff("SET SESSION lock_wait_timeout = GREATEST(1, FLOOR(1.500000 - UNIX_TIMESTAMP(SYSDATE(6)))); "+
		"SET @custody = "+condition+"'ALTER USER ''a''', NULL); PREPARE custody FROM @custody; EXECUTE custody; SET @custody = NULL",
		s.guard([]string{"ALTER USER 'a'"})); diff != "" {
		t.Errorf("guarded (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"A first RETAIN CURRENT PASSWORD", "A set RETAIN CURRENT PASSWORD"}, retain("A ", "first", "set")); diff != "" {
		t.Errorf("beside the current password, which may be the second (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"A set", "A DISCARD OLD PASSWORD"}, retain("A ", "", "set")); diff != "" {
		t.Errorf("in place of all others (-want +got):\n%s", diff)
	}
	for current, want := range map[string]bool{"`orders`@`%`": true, "`x`@`%`,`orders`@`%`": true, "NONE": false, "orders": false, "`orders`@`h`": false} {
		if got := u.hasRole(current); got != want {
			t.Errorf("role among %s: got %v, want %v", current, got, want)
		}
	}
}

func TestMeansOfAnAccountShown(t *testing.T) {
	for shown, want := range map[string][]string{
		"CREATE USER `a`@`%`": {"mysql_native_password"},
		"CREATE USER a@`%` IDENTIFIED BY PASSWORD '*B69027D44F6E5EDC07F1AEAD1477967B16F28227' ACCOUNT LOCK":              {"mysql_native_password"},
		"CREATE USER `a`@`%` IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket":                        {"mysql_native_password", "unix_socket"},
		"CREATE USER `a`@`%` IDENTIFIED VIA ed25519 USING 'x' REQUIRE SUBJECT 'one OR two' PASSWORD EXPIRE":              {"ed25519"},
		"CREATE USER 'a`'@'%' IDENTIFIED VIA unix_socket OR mysql_native_password USING 'x' WITH MAX_USER_CONNECTIONS 3": {"unix_socket", "mysql_native_password"},
		"CREATE USER `o'``a IDENTIFIED VIA x OR y`@`%` IDENTIFIED VIA pam USING 'that''s OR this' OR ed25519":            {"pam", "ed25519"},
	} {
		if diff := cmp.Diff(want, meansShown(shown)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", shown, diff)
		}
	}
}

func TestHintsOfServerErrors(t *testing.T) {
	for number, want := range map[uint16]string{errOtherPlugin: "IDENTIFIED WITH caching_sha2_password", errReadOnly: "name the primary"} {
		e := fromServer("changing", &mysql.MySQLError{Number: number, Message: "near 'hunter2'"})
		if !strings.Contains(e.Hint(), want) || !errors.Is(e, upstream.ErrNotApplied) {
			t.Errorf("error %d: got %v with hint %q, want it to say %q", number, e, e.Hint(), want)
		}
		if said := fmt.Sprintf(": error %d", number); !strings.HasSuffix(e.Error(), said) || strings.Contains(e.Error(), "hunter2") || answerIn(fmt.Errorf("rotating: %w", e)) != number {
			t.Errorf("error %d: got %v (%d), want it to end in %q and quote nothing", number, e, answerIn(e), said)
		}
	}
}

func TestWrongSignInsAreSpaced(t *testing.T) {
	config := valid()
	config.WrongEvery = time.Hour
	u, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Kind().WrongEvery; got != time.Hour {
		t.Errorf("got %s, want 1h", got)
	}
	for _, number := range []uint16{errMariaDBBlocked, errMySQLTemporary} {
		if later, ok := errors.AsType[*upstream.Later](u.undecided(&mysql.MySQLError{Number: number})); !ok || later.After != time.Hour {
			t.Errorf("locked out (%d): got %+v, want to be asked again after 1h", number, later)
		}
	}
}

func TestDescriptionIsComplete(t *testing.T) {
	d := describe()[0]
	if d.Type != "mysql" || d.Title == "" || d.Summary == "" || !strings.HasPrefix(d.Page, "## Documents") {
		t.Errorf("got %+v", d)
	}
	if !strings.Contains(d.Tried, "never been run on MySQL") {
		t.Errorf("got tried %q, want it to say what it was not tried on", d.Tried)
	}
	for _, mode := range d.Modes {
		if mode.Means == "" || mode.Kind.Name != d.Type || mode.Kind.CallDeadline <= 0 {
			t.Errorf("mode %s: got %+v", mode.Name, mode)
		}
	}
}
