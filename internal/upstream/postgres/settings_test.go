// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"fmt"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// shows is what a session of v says of some settings.
func (r *rig) shows(v secret.Value, names ...string) []string {
	r.Helper()
	conn, err := r.server.Connect(r.Context(), v, "postgres")
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close(r.Context())
	got := make([]string, len(names))
	for i, name := range names {
		results, err := conn.Exec(r.Context(), "SHOW "+name).ReadAll()
		if err != nil {
			r.Fatal(err)
		}
		got[i] = string(results[0].Rows[0][0])
	}
	return got
}

// Settings of the owner held for nobody: sessions get those of the role that signs in.
func testSettings(r *rig) {
	config := r.config(upstream.Alternate)
	r.sql(strings.ReplaceAll(`CREATE ROLE OWNER NOLOGIN CONNECTION LIMIT 7; GRANT OWNER TO custody_admin WITH ADMIN OPTION;
		ALTER ROLE OWNER SET search_path TO "Odd, name", "$user", public;
		ALTER ROLE OWNER SET statement_timeout TO '31s';
		ALTER ROLE OWNER SET application_name TO 'it''s = one';
		ALTER ROLE OWNER IN DATABASE postgres SET lock_timeout TO '7s'`, "OWNER", config.Owner))
	u := r.open(config)
	names := []string{"search_path", "statement_timeout", "application_name", "lock_timeout"}
	want := []string{`"Odd, name", "$user", public`, "31s", "it's = one", "7s"}
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	if diff := cmp.Diff(want, r.shows(first, names...)); diff != "" {
		r.Errorf("settings of the first user (-want +got):\n%s", diff)
	}
	r.sql(strings.NewReplacer("OWNER", config.Owner, "USER_B", config.Users[1]).Replace(`ALTER ROLE OWNER SET statement_timeout TO '32s';
		CREATE ROLE USER_B LOGIN; GRANT USER_B TO custody_admin WITH ADMIN OPTION; ALTER ROLE USER_B SET work_mem TO '9MB'`))
	want[1] = "32s"
	second := upstreamtest.Issue(r, u, "run-2", first)
	if diff := cmp.Diff(append(want, "9MB"), r.shows(second, append(names, "work_mem")...)); diff != "" {
		r.Errorf("settings of the second user (-want +got):\n%s", diff)
	}
	limits := r.sql(fmt.Sprintf("SELECT string_agg(rolconnlimit::text, ' ') FROM pg_roles WHERE rolname IN ('%s', '%s')", config.Users[0], config.Users[1]))
	if limits[0] != "7 7" {
		r.Errorf("the users' limits of connections are %s, want the owner's", limits[0])
	}
}

// What the admin may not set is not left out in silence.
func testSettingRefused(r *rig) {
	config := r.config(upstream.Alternate)
	r.sql(strings.ReplaceAll("CREATE ROLE OWNER NOLOGIN; GRANT OWNER TO custody_admin WITH ADMIN OPTION; ALTER ROLE OWNER SET app.tenant TO 'it''s'", "OWNER", config.Owner))
	u := r.open(config)
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
	said, is := errors.AsType[*upstream.Error](err)
	if !is || !errors.Is(err, upstream.ErrNotApplied) {
		r.Fatalf("got %v, want ErrNotApplied", err)
	}
	_, statement, named := strings.Cut(said.Hint(), "as somebody who may: ")
	if !named {
		r.Fatalf("the hint %q names no statement", said.Hint())
	}
	r.sql(statement)
	if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, candidate); err != nil {
		r.Fatalf("after what the hint says: %v", err)
	}
	if got := r.shows(candidate, "app.tenant")[0]; got != "it's" {
		r.Errorf("the user's setting is %q, want the owner's", got)
	}
}

// A role that is full turned Custody's sign-in away, though the server had taken the password.
func testFull(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		u := r.open(config)
		v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		user := v.ExposeText("username")
		r.sql("ALTER ROLE " + user + " CONNECTION LIMIT 1")
		consumer, err := r.server.Connect(r.Context(), v, "postgres")
		if err != nil {
			r.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, v, string(mode)+": every session is taken")
		upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(r, user, upstreamtest.Password(r)), string(mode)+": a wrong password while every session is taken")
		r.sql("ALTER ROLE " + user + " CONNECTION LIMIT 0")
		got, err := u.Verify(r.Context(), v)
		if said, is := errors.AsType[*upstream.Error](err); got != upstream.Unknown || !is || !strings.Contains(said.Hint(), "CONNECTION LIMIT") {
			r.Errorf("%s: no session is allowed: got %s, %v, want unknown and a hint at the limit", mode, got, err)
		}
		_ = consumer.Close(r.Context())
	}
}

// The hint at a login role that owns its objects said to move its consumers to a pair that could not be made before.
func testOwnerInUse(r *rig) {
	config := r.config(upstream.Alternate)
	app := config.Owner
	password := upstreamtest.Password(r)
	inUse := upstreamtest.Login(r, app, password)
	r.sql(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'; GRANT CREATE ON SCHEMA public TO %[1]s; GRANT %[1]s TO custody_admin WITH ADMIN OPTION", app, password))
	works := func(v secret.Value, statements, when string) {
		r.Helper()
		if err := r.run(v, statements); err != nil {
			r.Errorf("%s: %v", when, err)
		}
	}
	works(inUse, "CREATE TABLE stock (n int)", "before")
	u := r.open(config)
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
	said, is := errors.AsType[*upstream.Error](err)
	if !is || !errors.Is(err, upstream.ErrNotApplied) {
		r.Fatalf("got %v, want ErrNotApplied", err)
	}
	hint := said.Hint()
	for _, step := range []string{
		`CREATE ROLE "APP_owner" NOLOGIN`, `GRANT "APP_owner" TO "APP"`, `REASSIGN OWNED BY "APP" TO "APP_owner"`, `ALTER ROLE "APP" SET role TO "APP_owner"`,
	} {
		step = strings.ReplaceAll(step, "APP", app)
		if !strings.Contains(hint, step) {
			r.Fatalf("the hint %q lacks %q", hint, step)
		}
		r.sql(step)
	}
	config.Owner = app + "_owner"
	r.sql(fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s; GRANT %[1]s TO custody_admin WITH ADMIN OPTION", config.Owner))
	works(inUse, "INSERT INTO stock VALUES (1); ALTER TABLE stock ADD COLUMN m int", "as the old role, meanwhile")
	u = r.open(config)
	first := upstreamtest.Issue(r, u, "run-2", secret.Value{})
	works(first, "INSERT INTO stock VALUES (2); ALTER TABLE stock ADD COLUMN k int", "as the pair's first user")
	works(inUse, "INSERT INTO stock VALUES (3)", "as the old role, until its consumers have moved")
	r.sql("ALTER ROLE " + app + " NOLOGIN; DROP TABLE stock")
}
