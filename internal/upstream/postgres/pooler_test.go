// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// lookup is the page's: who signs in is found by a function that only the pooler's own user may call.
const lookup = `
CREATE ROLE pgbouncer LOGIN PASSWORD 'pooler';
CREATE SCHEMA pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
CREATE FUNCTION pgbouncer.lookup(name text) RETURNS TABLE (usename name, passwd text)
	LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
	AS 'SELECT usename, passwd FROM pg_shadow WHERE usename = name AND NOT usesuper';
REVOKE ALL ON FUNCTION pgbouncer.lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO pgbouncer`

// behindQuery stands a pooler before the server that looks passwords up.
func behindQuery(r *rig, settings map[string]string) *realparts.Pooler {
	r.Helper()
	if r.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'pgbouncer'")[0] == "0" {
		r.sql(lookup)
	}
	return realparts.PgBouncer(r, realparts.PgBouncerOptions{
		Server: r.server, Users: "\"pgbouncer\" \"pooler\"\n", Settings: settings,
		AuthUser: "pgbouncer", AuthQuery: "SELECT usename, passwd FROM pgbouncer.lookup($1)",
	})
}

// through asks at the pooler as well.
func through(config postgres.Config, pooler *realparts.Pooler, own bool) postgres.Config {
	config.AlsoAt = []postgres.Endpoint{{
		Server: postgres.Server{Host: pooler.Host, Port: pooler.Port, TLS: postgres.Disable}, OwnPasswords: own,
	}}
	return config
}

// Each way of pooling and each mode are tried once; which with which is drawn, and the long run has all.
func TestSuiteThroughPooler(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{Settings: loud(nil)})
	r.sql("GRANT pg_read_all_stats TO custody_admin")
	var forms []upstreamtest.Form
	drawn := thorough.Random(t, t.Name()).IntN(2)
	for i, pooling := range []string{"session", "transaction"} {
		pooler := behindQuery(r, map[string]string{"pool_mode": pooling})
		for j, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
			if !thorough.Long() && (i+j)%2 != drawn {
				continue
			}
			forms = append(forms, upstreamtest.Form{Name: pooling + ", " + string(mode), Fresh: func(t *testing.T) upstreamtest.Fixture {
				r := r.on(t)
				config := through(r.config(mode), pooler, false)
				config.Usage = true
				fixture := r.fixture(config)
				fixture.Cut, fixture.Hold = nil, nil // the pooler has no part in changes
				logs := fixture.Log
				fixture.Log = func() string { return logs() + pooler.Log() }
				return fixture
			}})
		}
	}
	upstreamtest.ParallelForms(t, forms)
}

// A pooler with passwords of its own honours what it was given until somebody gives it something else.
func TestPoolerWithOwnPasswords(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	config := r.config(upstream.Alternate)
	first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
	line := func(v secret.Value) string {
		return `"` + v.ExposeText("username") + `" "` + v.ExposeText("password") + "\"\n"
	}
	pooler := realparts.PgBouncer(t, realparts.PgBouncerOptions{
		Server: r.server, Users: line(r.admin) + line(first), Settings: map[string]string{"server_login_retry": "1"},
	})
	plain, own := r.open(through(config, pooler, false)), r.open(through(config, pooler, true))
	upstreamtest.Is(r, plain, upstream.Accepted, first, "the current credential")
	upstreamtest.Is(r, plain, upstream.Refused, upstreamtest.Login(t, first.ExposeText("username"), "wrong"), "a wrong password")

	second := upstreamtest.Issue(r, own, "run-2", first)
	upstreamtest.Is(r, plain, upstream.Unknown, second, "a candidate that the pooler does not know")
	upstreamtest.Is(r, own, upstream.Accepted, second, "the same, where the pooler need not know it yet")
	upstreamtest.Revoke(r, own, "run-2", first, second)
	// The role is gone for the server, but its pooled connection is not, and the pooler still takes the old password.
	kept, err := pooler.Connect(t.Context(), first, "postgres")
	if err == nil {
		_ = kept.Close(t.Context())
	}
	got, err := own.Verify(t.Context(), first)
	if got == upstream.Accepted || got == upstream.Unknown && err == nil {
		t.Errorf("an old password that the pooler still holds: got %s, %v", got, err)
	}
	if err := pooler.SetUsers(line(r.admin) + line(second)); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"RELOAD", "RECONNECT"} {
		if err := pooler.Command(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	upstreamtest.Is(r, own, upstream.Refused, first, "the old password after RELOAD")
	upstreamtest.Is(r, plain, upstream.Accepted, second, "the new one after RELOAD")
}

// What the server refuses and the pooler still takes is not yet revoked; the pooled connection of a client makes it so.
func TestPoolerThatStillAccepts(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	config := r.config(upstream.Overwrite)
	first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
	line := `"` + first.ExposeText("username") + `" "` + first.ExposeText("password") + "\"\n"
	pooler := realparts.PgBouncer(t, realparts.PgBouncerOptions{
		Server: r.server, Users: line + `"` + r.admin.ExposeText("username") + `" "` + r.admin.ExposeText("password") + "\"\n",
		Settings: map[string]string{"server_login_retry": "1"},
	})
	client, err := pooler.Connect(t.Context(), first, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		t.Fatal(err)
	}
	_ = client.Close(t.Context()) // the pooler keeps its own connection
	u := r.open(through(config, pooler, true))
	second := upstreamtest.Issue(r, u, "run-2", first)
	got, err := u.Verify(t.Context(), first)
	var said *upstream.Error
	if got != upstream.Unknown || !errors.As(err, &said) || !strings.Contains(said.Hint(), "RECONNECT") {
		t.Errorf("an old password that the pooler still takes: got %s, %v, want unknown with a hint", got, err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, second, "the new password")
}

func TestPoolersFaultsDecideNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	pooler := behindQuery(r, nil)
	config := through(r.config(upstream.Alternate), pooler, false)
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	upstreamtest.Is(r, u, upstream.Accepted, v, "the credential")
	config.AlsoAt[0].Database = "pgbouncer" // where neither may go
	upstreamtest.Is(r, r.open(config), upstream.Unknown, v, "a database that refuses everybody")
	upstreamtest.Is(r, r.open(config), upstream.Unknown, upstreamtest.Login(t, config.Users[0], "wrong"), "a wrong password there")
	config.AlsoAt[0].Database = ""
	if err := pooler.Stop(); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(r, r.open(config), upstream.Unknown, v, "a pooler that is down")
	upstreamtest.Is(r, r.open(config), upstream.Unknown, upstreamtest.Login(t, config.Users[0], "wrong"), "a wrong password, the pooler down")
}

func TestUsesNamesWho(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	pooler := behindQuery(r, nil)
	config := through(r.config(upstream.Alternate), pooler, false)
	config.Usage = true
	u := r.open(config)
	first := upstreamtest.Issue(r, u, authority.RunID("run-1"), secret.Value{})
	upstreamtest.Is(r, u, upstream.Accepted, first, "the credential")
	_, err := u.Uses(t.Context(), first, time.Unix(0, 0))
	var said *upstream.Error
	if !errors.As(err, &said) || said.Hint() == "" {
		t.Fatalf("an admin who cannot see: got %v, want an error with the grant", err)
	}
	r.sql(strings.Split(said.Hint(), ",")[0]) // what it says is what helps
	uses := func(since time.Time) []string {
		t.Helper()
		found, err := u.Uses(t.Context(), first, since)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, use := range found {
			if age := time.Since(use.Last); age < -time.Second || age > time.Minute {
				t.Errorf("last use %s ago", age)
			}
			names = append(names, use.Who)
		}
		return names
	}
	if diff := cmp.Diff([]string(nil), uses(time.Unix(0, 0))); diff != "" {
		t.Errorf("nobody but Custody signed in (-want +got):\n%s", diff)
	}
	direct, err := r.server.Connect(t.Context(), first, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Exec(t.Context(), "SET application_name = 'invoices'").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"invoices from 127.0.0.1 in postgres"}, uses(time.Unix(0, 0))); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), uses(time.Now().Add(time.Hour))); diff != "" {
		t.Errorf("uses since later than the last (-want +got):\n%s", diff)
	}
	_ = direct.Close(t.Context())
	pooled, err := pooler.Connect(t.Context(), first, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pooled.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		t.Fatal(err)
	}
	_ = pooled.Close(t.Context())         // the pooler's connection stays, and shows
	for len(uses(time.Unix(0, 0))) != 1 { // the direct session takes a moment to go
		time.Sleep(20 * time.Millisecond)
	}
	if diff := cmp.Diff([]string{"from 127.0.0.1 in postgres"}, uses(time.Unix(0, 0))); diff != "" {
		t.Errorf("uses through the pooler (-want +got):\n%s", diff)
	}
	upstreamtest.Is(r, u, upstream.Accepted, first, "the credential, while it is in use")
	config.Mode, config.User = upstream.Overwrite, config.Users[0]
	if got := r.open(config).Kind().Evidence; got != nil {
		t.Errorf("mode overwrite claims evidence: %+v", got)
	}
}
