// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// rig is a server with an administrator that has CREATEROLE and no more.
type rig struct {
	*testing.T
	server *realparts.Server
	admin  secret.Value
	names  *atomic.Int64
}

// loud makes the server log all that it can.
func loud(more map[string]string) map[string]string {
	settings := map[string]string{
		"log_statement": "all", "log_min_duration_statement": "0", "log_connections": "on",
		"log_parameter_max_length_on_error": "-1", "log_error_verbosity": "verbose",
	}
	for name, value := range more {
		settings[name] = value
	}
	return settings
}

func newRig(t *testing.T, options realparts.PostgresOptions) *rig {
	t.Helper()
	r := &rig{T: t, server: realparts.Postgres(t, options), names: new(atomic.Int64)}
	r.admin = upstreamtest.Login(t, "custody_admin", "admin-"+upstreamtest.Password(t))
	r.sql("CREATE ROLE custody_admin LOGIN CREATEROLE PASSWORD '" + r.admin.ExposeText("password") + "'")
	return r
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig {
	return &rig{T: t, server: r.server, admin: r.admin, names: r.names}
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

// config is for fresh roles; the user of overwrite exists.
func (r *rig) config(mode upstream.Capability) postgres.Config {
	r.Helper()
	config := postgres.Config{
		Server: postgres.Server{Host: r.server.Host, Port: r.server.Port, TLS: postgres.Disable},
		Admin:  upstreamtest.Admins(r.admin),
		Mode:   mode, Claim: "shop/test/orders-db", Clock: time.Now, NewPassword: upstreamtest.NewPassword,
	}
	if mode == upstream.Alternate {
		config.Owner = r.name("owner")
		config.Users = [2]string{config.Owner + "_a", config.Owner + "_b"}
		return config
	}
	config.User = r.name("app")
	r.sql("CREATE ROLE " + config.User + " LOGIN; GRANT " + config.User + " TO custody_admin WITH ADMIN OPTION")
	return config
}

func (r *rig) open(config postgres.Config) *postgres.Upstream {
	r.Helper()
	u, err := postgres.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

// held names what the server honours for these roles: their verifiers, which are not secret here.
func (r *rig) held(roles ...string) []string {
	return r.sql("SELECT rolname || ' ' || rolpassword FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL AND rolname IN ('" +
		strings.Join(roles, "', '") + "')")
}

func users(config postgres.Config) []string {
	if config.Mode == upstream.Alternate {
		return config.Users[:]
	}
	return []string{config.User}
}

// fixture reaches the server through a proxy.
func (r *rig) fixture(config postgres.Config) upstreamtest.Fixture {
	proxy := realparts.NewProxy(r, net.JoinHostPort(r.server.Host, strconv.Itoa(r.server.Port)))
	config.Server.Port = proxy.Port()
	var skew func(time.Duration)
	config.Clock, skew = upstreamtest.Skewed()
	return upstreamtest.Fixture{
		Upstream: r.open(config), Break: proxy.Break, Mend: proxy.Mend, Cut: proxy.Cut, Hold: proxy.Hold,
		Skew:        skew,
		Held:        func(t *testing.T) []string { return r.on(t).held(users(config)...) },
		EnforcesRun: true, Beside: true,
		Log: r.server.Log,
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	plain := newRig(t, realparts.PostgresOptions{Settings: loud(nil)})
	plain.sql("GRANT pg_read_all_stats TO custody_admin")
	strict := newRig(t, realparts.PostgresOptions{Settings: loud(map[string]string{"shared_preload_libraries": "passwordcheck"})})
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name string
		rig  *rig
		mode upstream.Capability
		send bool
	}{
		{"alternate", plain, upstream.Alternate, false},
		{"overwrite", plain, upstream.Overwrite, false},
		{"alternate, password sent", strict, upstream.Alternate, true},
		{"overwrite, password sent", strict, upstream.Overwrite, true},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := test.rig.on(t)
			config := r.config(test.mode)
			config.SendPassword, config.Usage = test.send, !test.send
			if test.send { // a superuser can keep the log quiet
				config.Admin = upstreamtest.Admins(r.server.Admin)
			}
			fixture := r.fixture(config)
			if test.send { // on the wire it does nothing else than the others
				fixture.Cut = nil
				fixture.Refused = func(t *testing.T, v secret.Value) secret.Value {
					return upstreamtest.Login(t, v.ExposeText("username"), "sh0rt-")
				}
			}
			return fixture
		}})
	}
	upstreamtest.ParallelForms(t, forms)
	t.Cleanup(func() {
		if log := plain.server.Log(); !strings.Contains(log, "custody.password") {
			t.Error("the server did not log statements: the search of its log proves nothing")
		}
	})
}
