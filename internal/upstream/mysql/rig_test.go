// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// rig is a server with an administrator that has the rights of the page and no more.
type rig struct {
	*testing.T
	server *realparts.MariaDBServer
	admin  secret.Value
	names  *atomic.Int64
	lax    *sync.Mutex // held while the server takes what is no hash
}

// leastRights are the page's, with the marker table and usage evidence.
const leastRights = `
CREATE DATABASE custody;
CREATE TABLE custody.accounts (account VARCHAR(340) COLLATE utf8mb4_bin PRIMARY KEY, marker TEXT NOT NULL);
GRANT CREATE USER, PROCESS ON *.* TO custody_admin@'%';
GRANT SELECT ON mysql.global_priv TO custody_admin@'%';
GRANT SELECT, INSERT, UPDATE ON custody.accounts TO custody_admin@'%'`

func loud(more map[string]string) map[string]string {
	settings := map[string]string{"general-log": "", "plugin-load-add": "auth_ed25519"}
	for name, value := range more {
		settings[name] = value
	}
	return settings
}

func newRig(t *testing.T, options realparts.MariaDBOptions) *rig {
	t.Helper()
	r := &rig{T: t, server: realparts.MariaDB(t, options), names: new(atomic.Int64), lax: new(sync.Mutex)}
	r.admin = upstreamtest.Login(t, "custody_admin", "Admin-"+upstreamtest.Password(t))
	r.sql("CREATE USER custody_admin@'%' IDENTIFIED BY '" + r.admin.ExposeText("password") + "';" + leastRights)
	return r
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig {
	return &rig{T: t, server: r.server, admin: r.admin, names: r.names, lax: r.lax}
}

func (r *rig) sql(statements string) []string {
	r.Helper()
	rows, err := r.server.Exec(r.Context(), statements)
	if err != nil {
		r.Fatalf("%s: %v", statements, err)
	}
	return rows
}

func (r *rig) name(base string) string { return fmt.Sprintf("%s_%d", base, r.names.Add(1)) }

// config is for fresh accounts; the user of dual and overwrite exists.
func (r *rig) config(mode upstream.Capability) mysql.Config {
	r.Helper()
	config := mysql.Config{
		Server: mysql.Server{Host: r.server.Host, Port: r.server.Port, TLS: mysql.Disable, MarkerTable: "custody.accounts"},
		Admin:  upstreamtest.Admins(r.admin),
		Mode:   mode, Claim: "shop/test/orders-db", Clock: time.Now, NewPassword: newPassword,
	}
	if mode == upstream.Alternate {
		config.Role = r.name("role")
		config.Users = [2]string{config.Role + "_a", config.Role + "_b"}
		config.Usage = true
		r.sql(fmt.Sprintf("CREATE ROLE %s; GRANT SELECT ON mysql.help_topic TO %[1]s; GRANT %[1]s TO custody_admin@'%%' WITH ADMIN OPTION", config.Role))
		for _, user := range config.Users { // what a person does once: MariaDB lets the admin set no default role
			r.sql(fmt.Sprintf("CREATE USER %s@'%%' IDENTIFIED VIA mysql_native_password USING 'invalid'; GRANT %s TO %[1]s@'%%'; SET DEFAULT ROLE %[2]s FOR %[1]s@'%%'", user, config.Role))
		}
		return config
	}
	config.User = r.name("app")
	r.lax.Lock()
	defer r.lax.Unlock()
	r.sql("SET GLOBAL strict_password_validation = OFF; CREATE USER " + config.User +
		"@'%' IDENTIFIED VIA mysql_native_password USING 'invalid'; SET GLOBAL strict_password_validation = ON")
	return config
}

// newPassword keeps to the rules of simple_password_check.
func newPassword(random io.Reader) (string, error) {
	text, err := upstreamtest.NewPassword(random)
	return "Pw-9X-" + text, err
}

func (r *rig) open(config mysql.Config) *mysql.Upstream {
	r.Helper()
	u, err := mysql.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

// held names what the server honours for these users: the hashes, which are not secret here.
func (r *rig) held(users ...string) []string {
	return r.sql("SELECT CONCAT(User, ' ', JSON_VALUE(Priv, '$.authentication_string'), ' ', COALESCE(JSON_QUERY(Priv, '$.auth_or'), ''))" +
		" FROM mysql.global_priv WHERE User IN ('" + strings.Join(users, "', '") + "')" +
		" AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = 0 AND JSON_VALUE(Priv, '$.authentication_string') <> 'invalid'")
}

func users(config mysql.Config) []string {
	if config.Mode == upstream.Alternate {
		return config.Users[:]
	}
	return []string{config.User}
}

// fixture reaches the server through a proxy.
func (r *rig) fixture(config mysql.Config) upstreamtest.Fixture {
	proxy := realparts.NewProxy(r, net.JoinHostPort(r.server.Host, strconv.Itoa(r.server.Port)))
	config.Server.Port = proxy.Port()
	var skew func(time.Duration)
	config.Clock, skew = upstreamtest.Skewed()
	return upstreamtest.Fixture{
		Upstream: r.open(config), Break: proxy.Break, Mend: proxy.Mend, Cut: proxy.Cut, Hold: proxy.Hold,
		Skew:        skew,
		EnforcesRun: config.Server.MarkerTable != "", Beside: true,
		Log: r.server.Log,
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	plain := newRig(t, realparts.MariaDBOptions{Settings: loud(nil)})
	strict := newRig(t, realparts.MariaDBOptions{Settings: map[string]string{"plugin-load-add": "simple_password_check"}})
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name   string
		rig    *rig
		mode   upstream.Capability
		change func(*mysql.Config)
	}{
		{"alternate", plain, upstream.Alternate, nil},
		{"dual", plain, upstream.Dual, nil},
		{"overwrite", plain, upstream.Overwrite, nil},
		{"alternate, ed25519", plain, upstream.Alternate, func(c *mysql.Config) { c.Plugin = "ed25519" }},
		{"overwrite, unmarked", plain, upstream.Overwrite, func(c *mysql.Config) { c.Server.MarkerTable = "" }},
		{"overwrite, password sent", strict, upstream.Overwrite, func(c *mysql.Config) { c.SendPassword = true }},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := test.rig.on(t)
			config := r.config(test.mode)
			if test.change != nil {
				test.change(&config)
			}
			fixture := r.fixture(config)
			if config.SendPassword {
				fixture.Refused = func(t *testing.T, v secret.Value) secret.Value {
					return upstreamtest.Login(t, v.ExposeText("username"), "sh0rt-")
				}
			} else {
				fixture.Held = func(t *testing.T) []string { return test.rig.on(t).held(users(config)...) }
			}
			return fixture
		}})
	}
	upstreamtest.ParallelForms(t, forms)
	t.Cleanup(func() {
		if log := plain.server.Log(); !strings.Contains(log, "EXECUTE custody") {
			t.Error("the server did not log statements: the search of its log proves nothing")
		}
	})
}
