// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
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
	r.admin = credential(t, "custody_admin", "admin-"+random(t))
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
func (r *rig) config(mode postgres.Mode) postgres.Config {
	r.Helper()
	config := postgres.Config{
		Server: postgres.Server{Host: r.server.Host, Port: r.server.Port, TLS: postgres.Disable},
		Admin:  func(context.Context) ([]secret.Value, error) { return []secret.Value{r.admin}, nil },
		Mode:   mode, Claim: "shop/test/orders-db", Clock: time.Now, NewPassword: newPassword,
	}
	if mode == postgres.Alternate {
		config.Owner = r.name("owner")
		config.Users = [2]string{config.Owner + "_a", config.Owner + "_b"}
		return config
	}
	config.User = r.name("app")
	r.sql("CREATE ROLE " + config.User + " LOGIN; GRANT " + config.User + " TO custody_admin WITH ADMIN OPTION")
	return config
}

func newPassword(random io.Reader) (string, error) {
	raw := make([]byte, 16)
	_, err := io.ReadFull(random, raw)
	return "pw-" + hex.EncodeToString(raw), err
}

func random(t *testing.T) string {
	t.Helper()
	text, err := newPassword(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func credential(t *testing.T, user, password string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"username": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (r *rig) open(config postgres.Config) *postgres.Upstream {
	r.Helper()
	u, err := postgres.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

func (r *rig) issue(u *postgres.Upstream, run authority.RunID, current secret.Value) secret.Value {
	r.Helper()
	candidate, err := u.Propose(r.Context(), current)
	if err != nil {
		r.Fatal(err)
	}
	applied, err := u.Apply(r.Context(), run, current, candidate)
	if err != nil {
		r.Fatal(err)
	}
	return applied
}

func (r *rig) is(u *postgres.Upstream, want upstream.Verdict, v secret.Value, what string) {
	r.Helper()
	got, err := u.Verify(r.Context(), v)
	if got != want || (err != nil) != (want == upstream.Unknown) {
		r.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}

func TestSuite(t *testing.T) {
	plain := newRig(t, realparts.PostgresOptions{Settings: loud(nil)})
	strict := newRig(t, realparts.PostgresOptions{Settings: loud(map[string]string{"shared_preload_libraries": "passwordcheck"})})
	for _, test := range []struct {
		name string
		rig  *rig
		mode postgres.Mode
		send bool
	}{
		{"alternate", plain, postgres.Alternate, false},
		{"overwrite", plain, postgres.Overwrite, false},
		{"alternate, password sent", strict, postgres.Alternate, true},
		{"overwrite, password sent", strict, postgres.Overwrite, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				r := test.rig.on(t)
				config := r.config(test.mode)
				config.SendPassword = test.send
				fixture := upstreamtest.Fixture{
					EnforcesRun: true,
					Log:         func() string { return r.server.Log() },
					Break: func() {
						if err := r.server.Stop(); err != nil {
							t.Fatal(err)
						}
					},
					Mend: func() {
						if err := r.server.Start(t.Context()); err != nil {
							t.Fatal(err)
						}
					},
				}
				if test.send { // a superuser can keep the log quiet
					config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{r.server.Admin}, nil }
					fixture.Refused = func(t *testing.T, v secret.Value) secret.Value {
						return credential(t, v.ExposeText("username"), "sh0rt-")
					}
				}
				fixture.Upstream = r.open(config)
				return fixture
			})
		})
	}
	if log := plain.server.Log(); !strings.Contains(log, "custody.password") {
		t.Error("the server did not log statements: the search of its log proves nothing")
	}
}
