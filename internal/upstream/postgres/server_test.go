// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestOnServer(t *testing.T) {
	t.Parallel()
	server := newRig(t, realparts.PostgresOptions{
		Settings: loud(nil),
		HBA:      "local all all scram-sha-256\nhost postgres,missing all 127.0.0.1/32 scram-sha-256\n",
	})
	for _, test := range []struct {
		name string
		test func(*rig)
	}{
		{"EitherUserWorksOnOwnersObjects", testObjects},
		{"RevokeLeavesSessions", testSessions},
		{"AdminRotatesItself", testSelf},
		{"ForeignClaimIsRefused", testForeign},
		{"UnfitRolesAreRefused", testUnfit},
		{"AdminWithoutRightsAppliesNothing", testRights},
		{"VerdictsOfServerErrors", testVerdicts},
		{"ExpiredRolesAreRefused", testExpired},
		{"OneSignInPerVerify", testOneSignIn},
		{"WaitingForALockEndsBeforeTheDeadline", testLocked},
		{"ForeignUserIsNeverDisabled", testForeignUser},
		{"UserOfThePairWithoutTheClaim", testUnclaimed},
		{"PasswordsOfAnyText", testAnyText},
		{"RevokeOfWhatWasNeverApplied", testNeverApplied},
		{"NamesAreQuoted", testNames},
		{"OwnersSettingsReachThePair", testSettings},
		{"SettingThatTheAdminMayNotGive", testSettingRefused},
		{"RoleThatIsFull", testFull},
		{"OwnerInUseGetsAWayOver", testOwnerInUse},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(server.on(t)) })
	}
}

// run executes statements as v.
func (r *rig) run(v secret.Value, statements string) error {
	conn, err := r.server.Connect(r.Context(), v, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(r.Context())
	_, err = conn.Exec(r.Context(), statements).ReadAll()
	return err
}

func testObjects(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	r.sql("GRANT CREATE ON SCHEMA public TO " + config.Owner)
	if err := r.run(first, "CREATE TABLE orders (n int)"); err != nil {
		r.Fatal(err)
	}
	second := upstreamtest.Issue(r, u, "run-2", first)
	if first.ExposeText("username") == second.ExposeText("username") {
		r.Fatal("the users do not take turns")
	}
	if err := r.run(second, "INSERT INTO orders VALUES (1); ALTER TABLE orders ADD COLUMN m int; DROP TABLE orders; CREATE TABLE orders (n int)"); err != nil {
		r.Errorf("the second user cannot work on what the first made: %v", err)
	}
	if diff := cmp.Diff([]string{config.Owner}, r.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'orders'")); diff != "" {
		r.Errorf("owner of the table (-want +got):\n%s", diff)
	}
	upstreamtest.Revoke(r, u, "run-2", first, second)
	upstreamtest.Is(r, u, upstream.Refused, first, "the old password")
	if err := r.run(upstreamtest.Login(r, config.Owner, "x"), "SELECT 1"); err == nil {
		r.Error("the owner can log in")
	}
	r.sql("DROP TABLE orders")
}

func testSessions(r *rig) {
	config := r.config(upstream.Alternate)
	config.Admin = upstreamtest.Admins(r.server.Admin)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	open, err := r.server.Connect(r.Context(), first, "postgres")
	if err != nil {
		r.Fatal(err)
	}
	defer open.Close(r.Context())
	second := upstreamtest.Issue(r, u, "run-2", first)
	upstreamtest.Revoke(r, u, "run-2", first, second)
	if _, err := open.Exec(r.Context(), "SELECT 1").ReadAll(); err != nil {
		r.Errorf("an open session was disturbed: %v", err)
	}
}

func testSelf(r *rig) {
	for _, rights := range []string{"SUPERUSER", "CREATEROLE", "NOCREATEROLE"} {
		config := r.config(upstream.Overwrite)
		current := upstreamtest.Login(r, config.User, upstreamtest.Password(r))
		r.sql(fmt.Sprintf("ALTER ROLE %s %s PASSWORD '%s'", config.User, rights, current.ExposeText("password")))
		known := []secret.Value{current}
		config.Admin = func(context.Context) ([]secret.Value, error) { return known, nil }
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), current)
		if err != nil {
			r.Fatal(err)
		}
		known = []secret.Value{current, candidate} // escrowed before it is applied
		for range 2 {                              // the second time, the current credential is refused already
			if _, err := u.Apply(r.Context(), "run-1", current, candidate); err != nil {
				r.Fatalf("%s: %v", rights, err)
			}
			upstreamtest.Is(r, u, upstream.Accepted, candidate, rights+": the new credential")
			upstreamtest.Is(r, u, upstream.Refused, current, rights+": the old credential")
		}
		marked := len(strings.Join(r.sql("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '"+config.User+"'"), "")) > 0
		own := r.sql("SELECT (current_setting('server_version_num')::int < 160000)::text")[0] == "true"
		if want := rights == "SUPERUSER" || rights == "CREATEROLE" && own; marked != want {
			r.Errorf("%s: marked is %v, want %v", rights, marked, want)
		}
		known = []secret.Value{current}
		if _, err := u.Apply(r.Context(), "run-1", current, candidate); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("%s: with refused admin credentials alone: got %v, want ErrNotApplied", rights, err)
		}
	}
}

func testForeign(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		other := config
		other.Claim = "shop/production/orders-db"
		refused := func(u *postgres.Upstream, why string) {
			r.Helper()
			candidate, err := u.Propose(r.Context(), first)
			if err != nil {
				r.Fatal(err)
			}
			_, err = u.Apply(r.Context(), "run-2", first, candidate)
			upstreamtest.Hinted(r, upstream.ErrSuperseded, err, string(mode)+", "+why)
			upstreamtest.Is(r, u, upstream.Accepted, first, why+": the current credential")
			upstreamtest.Is(r, u, upstream.Refused, candidate, why+": the candidate")
			if mode == upstream.Alternate {
				if err := u.Revoke(r.Context(), "run-2", first, candidate); !errors.Is(err, upstream.ErrSuperseded) {
					r.Errorf("%s, %s: Revoke: got %v, want ErrSuperseded", mode, why, err)
				}
			}
		}
		refused(r.open(other), "another claim")
		marked := config.User
		if mode == upstream.Alternate {
			marked = config.Owner
		}
		for _, comment := range []string{"the orders team''s, ask before touching", `{"custody":1,"claim":"shop/test/orders-db","more":1}`, `{}`} {
			r.sql("COMMENT ON ROLE " + marked + " IS '" + comment + "'")
			refused(u, "a person's comment")
		}
		r.sql("COMMENT ON ROLE " + marked + " IS NULL")
		upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-3", first), "the candidate once the comment is gone")
	}
}

func testUnfit(r *rig) {
	for _, test := range []struct{ name, before string }{
		{"owner can log in", "CREATE ROLE OWNER LOGIN"},
		{"owner is a superuser", "CREATE ROLE OWNER SUPERUSER"},
		{"user is a superuser", "CREATE ROLE USER_A SUPERUSER LOGIN"},
		{"user is in another group", "CREATE ROLE USER_A LOGIN; CREATE ROLE OWNER_group; GRANT OWNER_group TO USER_A"},
		{"user carries a comment", "CREATE ROLE USER_A LOGIN; COMMENT ON ROLE USER_A IS 'mine'"},
	} {
		config := r.config(upstream.Alternate)
		r.sql(strings.NewReplacer("OWNER", config.Owner, "USER_A", config.Users[0]).Replace(test.before))
		roles := r.sql("SELECT string_agg(r::text, ';' ORDER BY oid) FROM pg_authid r")
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), secret.Value{})
		if err != nil {
			r.Fatal(err)
		}
		_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
		if !errors.Is(err, upstream.ErrNotApplied) && !errors.Is(err, upstream.ErrSuperseded) {
			r.Errorf("%s: got %v, want a refusal", test.name, err)
		}
		if diff := cmp.Diff(roles, r.sql("SELECT string_agg(r::text, ';' ORDER BY oid) FROM pg_authid r")); diff != "" {
			r.Errorf("%s: roles changed (-before +after):\n%s", test.name, diff)
		}
	}
}

func testRights(r *rig) {
	weak := upstreamtest.Login(r, r.name("weak"), upstreamtest.Password(r))
	r.sql("CREATE ROLE " + weak.ExposeText("username") + " LOGIN PASSWORD '" + weak.ExposeText("password") + "'")
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		config.Admin = upstreamtest.Admins(weak)
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), secret.Value{})
		if err != nil {
			r.Fatal(err)
		}
		_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
		var said *upstream.Error
		if !errors.Is(err, upstream.ErrNotApplied) || !errors.As(err, &said) || said.Said != "SQLSTATE 42501" || said.Hint() == "" {
			r.Errorf("%s: got %v, want ErrNotApplied with a hint", mode, err)
		}
	}
}

func testVerdicts(r *rig) {
	config := r.config(upstream.Overwrite)
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	at := func(change func(*postgres.Server)) *postgres.Upstream {
		elsewhere := config
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	upstreamtest.Is(r, u, upstream.Accepted, v, "as it should be")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.Host = r.server.SocketDir }), upstream.Accepted, v, "through the socket")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.Host = "localhost" }), upstream.Accepted, v, "by name")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.Database = "missing" }), upstream.Unknown, v, "no such database")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.Database = "template1" }), upstream.Unknown, v, "no line in pg_hba.conf")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.TLS = postgres.Require }), upstream.Unknown, v, "a server without TLS")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
	upstreamtest.Is(r, at(func(s *postgres.Server) { s.Host, s.TLS = "no-such-host.invalid", "" }), upstream.Unknown, v, "no such name")
	for _, test := range []struct {
		attribute string
		want      upstream.Verdict
	}{
		{"NOLOGIN", upstream.Refused}, {"LOGIN", upstream.Accepted},
		{"CONNECTION LIMIT 0", upstream.Unknown}, {"CONNECTION LIMIT -1", upstream.Accepted},
		{"VALID UNTIL 'yesterday'", upstream.Refused}, {"VALID UNTIL 'infinity'", upstream.Accepted},
		{"PASSWORD NULL", upstream.Refused},
	} {
		r.sql("ALTER ROLE " + config.User + " " + test.attribute)
		upstreamtest.Is(r, u, test.want, v, test.attribute)
	}
	r.sql("DROP ROLE " + config.User)
	upstreamtest.Is(r, u, upstream.Refused, v, "no such role")
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	if got, err := u.Verify(ctx, v); got != upstream.Unknown || !errors.Is(err, context.Canceled) {
		r.Errorf("cancelled: got %s, %v", got, err)
	}
}

// To a role whose time is over the server refuses every password as if it were wrong.
func testExpired(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		second := upstreamtest.Issue(r, u, "run-2", first)
		candidate, err := u.Propose(r.Context(), second)
		if err != nil {
			r.Fatal(err)
		}
		user := candidate.ExposeText("username")
		for _, until := range []string{"-infinity", "yesterday"} {
			r.sql("ALTER ROLE " + user + " VALID UNTIL '" + until + "'")
			before := r.held(users(config)...)
			_, err = u.Apply(r.Context(), "run-3", second, candidate)
			said, ok := errors.AsType[*upstream.Error](err)
			if !ok || !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(said.Hint(), "VALID UNTIL 'infinity'") {
				r.Errorf("%s, until %s: got %v, want ErrNotApplied with a hint at VALID UNTIL", mode, until, err)
			}
			if diff := cmp.Diff(before, r.held(users(config)...)); diff != "" {
				r.Errorf("%s, until %s: what is honoured changed (-before +after):\n%s", mode, until, diff)
			}
		}
		for _, until := range []string{"tomorrow", "infinity"} {
			r.sql("ALTER ROLE " + user + " VALID UNTIL '" + until + "'")
			if _, err := u.Apply(r.Context(), "run-3", second, candidate); err != nil {
				r.Errorf("%s, until %s: %v", mode, until, err)
			}
			upstreamtest.Is(r, u, upstream.Accepted, candidate, string(mode)+", until "+until)
		}
		if mode == upstream.Alternate { // expiry does not stand in for revoking: it can be put off again
			r.sql("ALTER ROLE " + user + " VALID UNTIL 'yesterday'")
			if err := u.Revoke(r.Context(), "run-3", candidate, second); err != nil {
				r.Errorf("revoking what has expired: %v", err)
			}
			r.sql("ALTER ROLE " + user + " VALID UNTIL 'infinity'")
			upstreamtest.Is(r, u, upstream.Refused, candidate, "what was revoked after it had expired")
		}
	}
}

func testOneSignIn(r *rig) {
	config := r.config(upstream.Overwrite)
	config.Server.Host = "localhost" // more than one address
	u := r.open(config)
	for range 3 {
		upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(r, config.User, "wrong"), "a wrong password")
	}
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	r.sql("ALTER ROLE " + config.User + " NOLOGIN")
	for range 3 {
		upstreamtest.Is(r, u, upstream.Refused, v, "a role that may not log in")
	}
	for _, line := range []string{
		fmt.Sprintf("password authentication failed for user %q", config.User),
		fmt.Sprintf("role %q is not permitted to log in", config.User),
	} {
		if got := strings.Count(r.server.Log(), line); got != 3 {
			r.Errorf("%s: three calls made %d sign-in attempts", line, got)
		}
	}
}

// While Apply waits, everybody may look at what it is doing; it must end by itself, and do nothing afterwards.
func testLocked(r *rig) {
	for _, send := range []bool{false, true} {
		upstreamtest.Deadlines(r.T, time.Second, func(deadline time.Duration) bool { return locked(r, send, deadline) })
	}
}

// locked says whether the statement came to wait within the deadline.
func locked(r *rig, send bool, deadline time.Duration) (waited bool) {
	r.Helper()
	config := r.config(upstream.Overwrite)
	config.SendPassword = send
	config.Admin = upstreamtest.Admins(r.server.Admin)
	direct := r.open(config)
	first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})
	config.CallDeadline = deadline
	u := r.open(config)
	holder, err := r.server.Connect(r.Context(), r.server.Admin, "postgres")
	if err != nil {
		r.Fatal(err)
	}
	if _, err := holder.Exec(r.Context(), "BEGIN; ALTER ROLE "+config.User+" CONNECTION LIMIT 7").ReadAll(); err != nil {
		r.Fatal(err)
	}
	candidate, err := u.Propose(r.Context(), first)
	if err != nil {
		r.Fatal(err)
	}
	watcher, err := r.server.Connect(r.Context(), r.server.Admin, "postgres")
	if err != nil {
		r.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := u.Apply(r.Context(), "run-2", first, candidate)
		done <- err
	}()
	shown := ""
	for len(done) == 0 {
		results, err := watcher.Exec(r.Context(), "SELECT string_agg(query, ';') FROM pg_stat_activity WHERE pid <> pg_backend_pid(); SELECT pg_sleep(0.05)").ReadAll()
		if err != nil {
			r.Fatal(err)
		}
		shown += string(results[0].Rows[0][0])
	}
	_ = watcher.Close(r.Context())
	if err = <-done; !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("got %v, want ErrNotApplied", err)
	}
	waited = strings.Contains(shown, "EXECUTE format('ALTER ROLE") // or the search proves nothing
	for _, text := range []string{shown, r.server.Log(), fmt.Sprint(err)} {
		if strings.Contains(text, candidate.ExposeText("password")) {
			r.Error("the server shows the password")
		}
	}
	if _, err := holder.Exec(r.Context(), "ROLLBACK").ReadAll(); err != nil {
		r.Fatal(err)
	}
	_ = holder.Close(r.Context())
	upstreamtest.Is(r, direct, upstream.Accepted, first, "the current credential")
	upstreamtest.Is(r, direct, upstream.Refused, candidate, "the candidate that waited too long")
	return waited
}

func testForeignUser(r *rig) {
	u := r.open(r.config(upstream.Alternate))
	old := upstreamtest.Login(r, r.name("legacy"), upstreamtest.Password(r))
	name := old.ExposeText("username")
	r.sql("CREATE ROLE " + name + " LOGIN PASSWORD '" + old.ExposeText("password") + "'")
	successor := upstreamtest.Issue(r, u, "run-1", old)
	if err := u.Revoke(r.Context(), "run-1", old, successor); err == nil {
		r.Error("Revoke of a user outside the pair: got no error")
	}
	upstreamtest.Is(r, u, upstream.Accepted, old, "the user outside the pair")
	r.sql("ALTER ROLE " + name + " NOLOGIN")
	if err := u.Revoke(r.Context(), "run-1", old, successor); err != nil {
		r.Errorf("Revoke, after somebody did it by hand: %v", err)
	}
	if _, err := u.Apply(r.Context(), "run-1", successor, old); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Apply of a user outside the pair: got %v, want ErrNotApplied", err)
	}
}

// A user of the pair that somebody else made is taken back only from whom its own password is handed in for.
func testUnclaimed(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	theirs := upstreamtest.Login(r, config.Users[1], upstreamtest.Password(r))
	group := r.name("reports")
	r.sql("CREATE ROLE " + group + "; CREATE ROLE " + config.Users[1] + " LOGIN PASSWORD '" + theirs.ExposeText("password") + "'; GRANT " + group + " TO " + config.Users[1])
	candidate, err := u.Propose(r.Context(), first)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := u.Apply(r.Context(), "run-2", first, candidate); !errors.Is(err, upstream.ErrNotApplied) {
		r.Fatalf("Apply to somebody else's user: got %v, want ErrNotApplied", err)
	}
	roles := r.sql("SELECT string_agg(r::text || coalesce(shobj_description(oid, 'pg_authid'), ''), ';' ORDER BY oid) FROM pg_authid r")
	if err := u.Revoke(r.Context(), "run-2", candidate, first); err != nil {
		r.Errorf("taking back what was refused: %v", err)
	}
	if diff := cmp.Diff(roles, r.sql("SELECT string_agg(r::text || coalesce(shobj_description(oid, 'pg_authid'), ''), ';' ORDER BY oid) FROM pg_authid r")); diff != "" {
		r.Errorf("taking back what was refused changed roles (-before +after):\n%s", diff)
	}
	if err := u.Revoke(r.Context(), "run-2", theirs, first); err != nil {
		r.Errorf("Revoke by the user's own password: %v", err)
	}
	upstreamtest.Is(r, u, upstream.Refused, theirs, "the user's own password, once revoked")
	upstreamtest.Is(r, u, upstream.Accepted, first, "the current credential")
}

func testAnyText(r *rig) {
	u := r.open(r.config(upstream.Overwrite))
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	for i, password := range []string{
		`quotes ' " and \ and $custody$ and %`, "käse-½-ﬁ-Ⅸ", "soft\u00adhyphen", "bell\aring", strings.Repeat("long", 200),
	} {
		next, err := v.With("password", []byte(password))
		if err != nil {
			r.Fatal(err)
		}
		if _, err := u.Apply(r.Context(), "run-2", v, next); err != nil {
			r.Errorf("password %d: %v", i, err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, next, fmt.Sprintf("password %d", i))
		r.sql("ALTER ROLE " + v.ExposeText("username") + " PASSWORD '" + strings.ReplaceAll(password, "'", "''") + "'")
		upstreamtest.Is(r, u, upstream.Accepted, next, fmt.Sprintf("password %d, hashed by the server", i))
	}
	for _, password := range []string{"", "nul\x00", "\xff"} {
		next, err := v.With("password", []byte(password))
		if err != nil {
			r.Fatal(err)
		}
		if _, err := u.Apply(r.Context(), "run-2", v, next); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("password %q: got %v, want ErrNotApplied", password, err)
		}
	}
}

func testNeverApplied(r *rig) {
	u := r.open(r.config(upstream.Alternate))
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	if err := u.Revoke(r.Context(), "run-1", candidate, secret.Value{}); err != nil {
		r.Errorf("taking back what never landed: %v", err)
	}
}

func testNames(r *rig) {
	for _, odd := range []string{`a"b`, `a'b`, `a\b`, "a b", "A-b", "$custody$;", "$1", "%I"} {
		config := r.config(upstream.Alternate)
		config.Owner, config.Claim = odd, "shop/test/"+odd
		config.Users = [2]string{odd + "_1", odd + "_2"}
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		second := upstreamtest.Issue(r, u, "run-2", first)
		if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
			r.Errorf("%s: %v", odd, err)
		}
		upstreamtest.Is(r, u, upstream.Refused, first, odd+": the old credential")
		upstreamtest.Is(r, u, upstream.Accepted, second, odd+": the new credential")
	}
}
