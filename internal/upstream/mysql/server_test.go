// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestOnServer(t *testing.T) {
	t.Parallel()
	server := newRig(t, realparts.MariaDBOptions{Settings: loud(map[string]string{"performance-schema": "ON"})})
	for _, test := range []struct {
		name string
		test func(*rig)
	}{
		{"PairIsCreatedAndGetsItsRole", testPair},
		{"DualHonoursTwo", testDual},
		{"AdminRotatesItself", testSelf},
		{"ForeignClaimIsRefused", testForeign},
		{"AdminWithoutRightsAppliesNothing", testRights},
		{"VerdictsOfServerErrors", testVerdicts},
		{"OneSignInPerVerify", testOneSignIn},
		{"ForeignUserIsNeverLocked", testForeignUser},
		{"UserOfThePairThatNobodyHandedOver", testUnclaimed},
		{"AccountLockedByAPerson", testLocked},
		{"SessionAtWorkIsInUse", testAtWork},
		{"HostInCapitals", testCapitals},
		{"PasswordsAndNamesOfAnyText", testAnyText},
		{"RevokeOfWhatWasNeverApplied", testNeverApplied},
		{"UsesNamesWho", testUses},
		{"ProductIsChecked", testProduct},
		{"MissingMarkerTable", testMissingTable},
		{"OtherMeansAreLeftAlone", testMeans},
		{"OwnMeansAreLeftAlone", testOwnMeans},
		{"MeansThatCannotBeSeen", testUnseenMeans},
		{"SiblingWithTheOldPassword", testSibling},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(server.on(t)) })
	}
}

func testPair(r *rig) {
	config := r.config(upstream.Alternate)
	r.sql(fmt.Sprintf("DROP USER %s@'%%', %s@'%%'", config.Users[0], config.Users[1]))
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	got, err := u.Verify(r.Context(), first)
	var said *upstream.Error
	if got != upstream.Unknown || !errors.As(err, &said) || !strings.Contains(said.Hint(), "SET DEFAULT ROLE") {
		r.Fatalf("without its default role: got %s, %v, want unknown with a hint", got, err)
	}
	r.sql(said.Hint()) // what it says is what helps
	upstreamtest.Is(r, u, upstream.Accepted, first, "with its default role")
	second := upstreamtest.Issue(r, u, "run-2", first)
	r.sql(fmt.Sprintf("SET DEFAULT ROLE %s FOR %s@'%%'", config.Role, config.Users[1]))
	upstreamtest.Is(r, u, upstream.Accepted, second, "the second")
	for _, v := range []secret.Value{first, second} {
		conn, done, err := r.server.Connect(r.Context(), v, "app")
		if err != nil {
			r.Fatal(err)
		}
		if _, err := conn.ExecContext(r.Context(), "SELECT COUNT(*) FROM mysql.help_topic"); err != nil {
			r.Errorf("%s cannot use the role's right: %v", v.ExposeText("username"), err)
		}
		done()
	}
	upstreamtest.Revoke(r, u, "run-2", first, second)
	upstreamtest.Is(r, u, upstream.Refused, first, "the revoked credential")
	if diff := cmp.Diff(1, len(r.held(config.Users[:]...))); diff != "" {
		r.Errorf("accounts that are not locked (-want +got):\n%s", diff)
	}
}

func testDual(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	for range 2 { // applying again keeps both
		if _, err := u.Apply(r.Context(), "run-2", first, second); err != nil {
			r.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, first, "the current password")
		upstreamtest.Is(r, u, upstream.Accepted, second, "the candidate")
	}
	// A current password that somebody replaced is not brought back to life.
	gone := upstreamtest.Login(r, config.User, upstreamtest.Password(r))
	third, err := u.Propose(r.Context(), gone)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := u.Apply(r.Context(), "run-3", gone, third); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, gone, "a password that was not honoured before")
	upstreamtest.Is(r, u, upstream.Accepted, third, "the candidate")
	upstreamtest.Revoke(r, u, "run-3", third, secret.Value{})
	upstreamtest.Is(r, u, upstream.Refused, third, "the candidate of a first issue, taken back")
}

func testSelf(r *rig) {
	for _, rights := range []string{"CREATE USER", "USAGE"} {
		config := r.config(upstream.Overwrite)
		config.Server.MarkerTable = ""
		current := upstreamtest.Login(r, config.User, upstreamtest.Password(r))
		r.sql(fmt.Sprintf("ALTER USER %s@'%%' IDENTIFIED BY '%s'; GRANT %s ON *.* TO %[1]s@'%%'", config.User, current.ExposeText("password"), rights))
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
		known = []secret.Value{current}
		if _, err := u.Apply(r.Context(), "run-1", current, candidate); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("%s: with refused admin credentials alone: got %v, want ErrNotApplied", rights, err)
		}
	}
}

func testForeign(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Dual, upstream.Overwrite} {
		config := r.config(mode)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		other := config
		other.Claim = "shop/production/orders-db"
		refused := func(u *mysql.Upstream, why string) {
			r.Helper()
			candidate, err := u.Propose(r.Context(), first)
			if err != nil {
				r.Fatal(err)
			}
			_, err = u.Apply(r.Context(), "run-2", first, candidate)
			upstreamtest.Hinted(r, upstream.ErrSuperseded, err, string(mode)+", "+why)
			upstreamtest.Is(r, u, upstream.Accepted, first, why+": the current credential")
			upstreamtest.Is(r, u, upstream.Refused, candidate, why+": the candidate")
			if mode != upstream.Overwrite {
				if err := u.Revoke(r.Context(), "run-2", first, candidate); !errors.Is(err, upstream.ErrSuperseded) {
					r.Errorf("%s, %s: Revoke: got %v, want ErrSuperseded", mode, why, err)
				}
			}
		}
		refused(r.open(other), "another claim")
		account := users(config)[0] + "@%"
		for _, text := range []string{"the orders team's", `{"custody":1,"claim":"shop/test/orders-db","more":1}`, `{}`} {
			r.sql("UPDATE custody.accounts SET marker = '" + strings.ReplaceAll(text, "'", "''") + "' WHERE account = '" + account + "'")
			refused(u, "a person's text")
		}
		r.sql("DELETE FROM custody.accounts WHERE account LIKE '" + strings.TrimSuffix(users(config)[0], "_a") + "%'")
		upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-3", first), "the candidate once the text is gone")
	}
}

func testRights(r *rig) {
	weak := upstreamtest.Login(r, r.name("weak"), upstreamtest.Password(r))
	r.sql("CREATE USER " + weak.ExposeText("username") + "@'%' IDENTIFIED BY '" + weak.ExposeText("password") + "'")
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Dual, upstream.Overwrite} {
		for _, table := range []string{"", "custody.accounts"} {
			config := r.config(mode)
			config.Server.MarkerTable = table
			config.Admin = upstreamtest.Admins(weak)
			u := r.open(config)
			candidate, err := u.Propose(r.Context(), secret.Value{})
			if err != nil {
				r.Fatal(err)
			}
			before := r.held(users(config)...)
			_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
			var said *upstream.Error
			if !errors.Is(err, upstream.ErrNotApplied) || !errors.As(err, &said) || !strings.Contains(said.Error(), ": error 1") || said.Hint() == "" {
				r.Errorf("%s, marker table %q: got %v, want ErrNotApplied with a hint", mode, table, err)
			}
			if diff := cmp.Diff(before, r.held(users(config)...)); diff != "" {
				r.Errorf("%s: accounts changed (-before +after):\n%s", mode, diff)
			}
		}
	}
}

func testVerdicts(r *rig) {
	config := r.config(upstream.Overwrite)
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	at := func(change func(*mysql.Server)) *mysql.Upstream {
		elsewhere := config
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	upstreamtest.Is(r, u, upstream.Accepted, v, "as it should be")
	upstreamtest.Is(r, at(func(s *mysql.Server) { s.Host = r.server.Socket }), upstream.Accepted, v, "through the socket")
	upstreamtest.Is(r, at(func(s *mysql.Server) { s.Host = "localhost" }), upstream.Accepted, v, "by name")
	upstreamtest.Is(r, at(func(s *mysql.Server) { s.TLS = "" }), upstream.Unknown, v, "a server without TLS")
	upstreamtest.Is(r, at(func(s *mysql.Server) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
	upstreamtest.Is(r, at(func(s *mysql.Server) { s.Host, s.TLS = "no-such-host.invalid", "" }), upstream.Unknown, v, "no such name")
	account := config.User + "@'%'"
	for _, test := range []struct {
		statement string
		want      upstream.Verdict
	}{
		{"ALTER USER %s ACCOUNT LOCK", upstream.Unknown}, {"ALTER USER %s ACCOUNT UNLOCK", upstream.Accepted},
		{"ALTER USER %s PASSWORD EXPIRE", upstream.Unknown}, {"ALTER USER %s IDENTIFIED BY '" + v.ExposeText("password") + "'", upstream.Accepted},
		{"GRANT USAGE ON *.* TO %s WITH MAX_QUERIES_PER_HOUR 1", upstream.Unknown},
		{"GRANT USAGE ON *.* TO %s WITH MAX_QUERIES_PER_HOUR 0", upstream.Accepted},
		// Said in the words of a wrong password; the page warns of it.
		{"ALTER USER %s REQUIRE SSL", upstream.Refused}, {"ALTER USER %s REQUIRE NONE", upstream.Accepted},
		{"CREATE USER " + config.User + "@'127.0.0.1' IDENTIFIED BY '" + v.ExposeText("password") + "' -- %s", upstream.Unknown},
		{"DROP USER " + config.User + "@'127.0.0.1' -- %s", upstream.Accepted},
		{"DROP USER %s", upstream.Refused},
	} {
		r.sql(fmt.Sprintf(test.statement, account))
		if test.want == upstream.Unknown && strings.Contains(test.statement, "QUERIES") {
			_, _ = u.Verify(r.Context(), v) // which uses the hour's share up
		}
		upstreamtest.Is(r, u, test.want, v, test.statement)
	}
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	if got, err := u.Verify(ctx, v); got != upstream.Unknown || !errors.Is(err, context.Canceled) {
		r.Errorf("cancelled: got %s, %v", got, err)
	}
}

func testOneSignIn(r *rig) {
	config := r.config(upstream.Overwrite)
	config.Server.Host = "localhost" // more than one address
	u := r.open(config)
	for range 3 {
		upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(r, config.User, "wrong"), "a wrong password")
	}
	line := fmt.Sprintf("Access denied for user '%s'", config.User)
	if got := strings.Count(r.server.Log(), line); got < 3 || got%3 != 0 || got > 6 { // the error log, and the general one
		r.Errorf("three calls made %d sign-in attempts", got)
	}
}

func testForeignUser(r *rig) {
	u := r.open(r.config(upstream.Alternate))
	old := upstreamtest.Login(r, r.name("legacy"), upstreamtest.Password(r))
	name := old.ExposeText("username")
	r.sql("CREATE USER " + name + "@'%' IDENTIFIED BY '" + old.ExposeText("password") + "'")
	successor := upstreamtest.Issue(r, u, "run-1", old)
	if err := u.Revoke(r.Context(), "run-1", old, successor); err == nil {
		r.Error("Revoke of a user outside the pair: got no error")
	}
	upstreamtest.Is(r, u, upstream.Accepted, old, "the user outside the pair")
	r.sql("ALTER USER " + name + "@'%' ACCOUNT LOCK")
	if err := u.Revoke(r.Context(), "run-1", old, successor); err != nil {
		r.Errorf("Revoke, after somebody did it by hand: %v", err)
	}
	if _, err := u.Apply(r.Context(), "run-1", successor, old); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Apply of a user outside the pair: got %v, want ErrNotApplied", err)
	}
}

// A user of the pair that somebody else made is taken back only from whom its own password is handed in for. With a marker
// it carries the claim since the first run of its partner.
func testUnclaimed(r *rig) {
	for _, table := range []string{"custody.accounts", ""} {
		config := r.config(upstream.Alternate)
		config.Server.MarkerTable = table
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		theirs := upstreamtest.Login(r, config.Users[1], upstreamtest.Password(r))
		r.sql(fmt.Sprintf("ALTER USER %s@'%%' IDENTIFIED BY '%s'", config.Users[1], theirs.ExposeText("password")))
		candidate, err := u.Propose(r.Context(), first)
		if err != nil {
			r.Fatal(err)
		}
		before := r.held(config.Users[:]...)
		if err := u.Revoke(r.Context(), "run-2", candidate, first); err != nil {
			r.Errorf("marker table %q: taking back what was never applied: %v", table, err)
		}
		if !cmp.Equal(before, r.held(config.Users[:]...)) {
			r.Errorf("marker table %q: taking back what was never applied changed the accounts", table)
		}
		upstreamtest.Is(r, u, upstream.Accepted, theirs, "the user's own password")
		r.sql(fmt.Sprintf("SET DEFAULT ROLE NONE FOR %s@'%%'", config.Users[1])) // to revoke, no role is needed
		if err := u.Revoke(r.Context(), "run-2", theirs, first); err != nil {
			r.Errorf("marker table %q: Revoke by the user's own password: %v", table, err)
		}
		upstreamtest.Is(r, u, upstream.Refused, theirs, "the user's own password, once revoked")
		upstreamtest.Is(r, u, upstream.Accepted, first, "the current credential")
	}
}

// Only a lock that Custody sets says that a credential is refused.
func testLocked(r *rig) {
	for mode, want := range map[upstream.Capability]upstream.Verdict{
		upstream.Alternate: upstream.Refused, upstream.Dual: upstream.Unknown, upstream.Overwrite: upstream.Unknown,
	} {
		config := r.config(mode)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		account := first.ExposeText("username") + "@'%'"
		r.sql("ALTER USER " + account + " ACCOUNT LOCK")
		upstreamtest.Is(r, u, want, first, string(mode)+": a locked account")
		_, err := u.Verify(r.Context(), first)
		if failure, ok := errors.AsType[*upstream.Error](err); want == upstream.Unknown && (!ok || !strings.Contains(failure.Hint(), "ACCOUNT UNLOCK")) {
			r.Errorf("%s: a locked account: got %v, want a hint that says how a person unlocks it", mode, err)
		}
		if mode != upstream.Dual {
			continue
		}
		candidate, err := u.Propose(r.Context(), first)
		if err != nil {
			r.Fatal(err)
		}
		before := r.held(config.User)
		var said *upstream.Error
		_, applied := u.Apply(r.Context(), "run-2", first, candidate)
		for what, err := range map[string]error{"Apply": applied, "Revoke": u.Revoke(r.Context(), "run-2", first, candidate)} {
			if !errors.Is(err, upstream.ErrNotApplied) || !errors.As(err, &said) || !strings.Contains(said.Hint(), "ACCOUNT UNLOCK") {
				r.Errorf("%s of a locked account: got %v, want ErrNotApplied with a hint", what, err)
			}
		}
		r.sql("ALTER USER " + account + " ACCOUNT UNLOCK")
		upstreamtest.Is(r, u, upstream.Accepted, first, "the credential, unlocked")
		upstreamtest.Is(r, u, upstream.Refused, candidate, "the candidate")
		if after := r.held(config.User); len(before) != 0 || len(after) != 1 {
			r.Errorf("got %d accounts without a lock before, %d after", len(before), len(after))
		}
	}
}

// What a session waits for, not how long it has been in its state, says whether it is idle.
func testAtWork(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	r.sql("CREATE TABLE custody.orders (n INT) ENGINE=InnoDB; GRANT SELECT ON custody.orders TO " + config.Role)
	idle, done, err := r.server.Connect(r.Context(), first, "idle")
	if err != nil {
		r.Fatal(err)
	}
	defer done()
	if _, err := idle.ExecContext(r.Context(), "SELECT 1"); err != nil {
		r.Fatal(err)
	}
	open, done, err := r.server.Connect(r.Context(), first, "open transaction")
	if err != nil {
		r.Fatal(err)
	}
	defer done()
	if _, err := open.ExecContext(r.Context(), "START TRANSACTION"); err != nil {
		r.Fatal(err)
	}
	if _, err := open.ExecContext(r.Context(), "SELECT COUNT(*) FROM custody.orders"); err != nil {
		r.Fatal(err)
	}
	long, done, err := r.server.Connect(r.Context(), first, "long statement")
	if err != nil {
		r.Fatal(err)
	}
	defer done()
	ctx, cancel := context.WithCancel(r.Context())
	var work sync.WaitGroup
	work.Go(func() { _, _ = long.ExecContext(ctx, "DO SLEEP(60)") }) // it is cut off
	defer work.Wait()
	defer cancel()
	r.sql("DO SLEEP(2)")
	r.sql("GRANT SELECT ON performance_schema.session_connect_attrs TO custody_admin@'%'")
	uses, err := u.Uses(r.Context(), first, time.Now().Add(-time.Second))
	if err != nil {
		r.Fatal(err)
	}
	var names []string
	for _, use := range uses {
		names = append(names, use.Who)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"long statement from 127.0.0.1", "open transaction from 127.0.0.1"}, names); diff != "" {
		r.Errorf("in use within the last second (-want +got):\n%s", diff)
	}
}

func testCapitals(r *rig) {
	config := r.config(upstream.Overwrite)
	r.sql("RENAME USER " + config.User + "@'%' TO " + config.User + "@'LocalHost'")
	config.Host = "LocalHost"
	config.Server.Host = r.server.Socket
	u := r.open(config)
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", secret.Value{}), "the account at a host in capitals")
}

func testAnyText(r *rig) {
	for i, text := range []string{`quotes ' " and \ and ; -- and %`, "käse-½-ﬁ-Ⅸ", strings.Repeat("long", 19), "`tick`", `\'`, "a\\"} {
		for _, plugin := range []string{"mysql_native_password", "ed25519"} {
			config := r.config(upstream.Overwrite)
			config.User, config.Plugin = fmt.Sprintf("%.60s %d %s", text, i, plugin[:2]), plugin
			config.Claim = "shop/test/" + text
			r.sql("CREATE USER '" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(config.User) + "'@'%' IDENTIFIED VIA mysql_native_password USING 'invalid'")
			u := r.open(config)
			v := upstreamtest.Login(r, config.User, text)
			if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, v); err != nil {
				r.Errorf("text %d, %s: %v", i, plugin, err)
			}
			upstreamtest.Is(r, u, upstream.Accepted, v, fmt.Sprintf("text %d, %s", i, plugin))
		}
	}
	config := r.config(upstream.Overwrite)
	u := r.open(config)
	for _, password := range []string{"", "nul\x00", "\xff"} {
		v := upstreamtest.Login(r, config.User, password)
		if _, err := u.Apply(r.Context(), "run-2", secret.Value{}, v); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("password %q: got %v, want ErrNotApplied", password, err)
		}
	}
}

func testNeverApplied(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Dual} {
		config := r.config(mode)
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), secret.Value{})
		if err != nil {
			r.Fatal(err)
		}
		if mode == upstream.Alternate {
			r.sql("DROP USER " + config.Users[0] + "@'%'")
		}
		if err := u.Revoke(r.Context(), "run-1", candidate, secret.Value{}); err != nil {
			r.Errorf("%s: taking back what never landed: %v", mode, err)
		}
	}
}

func testUses(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	upstreamtest.Is(r, u, upstream.Accepted, first, "the credential")
	began := time.Now()
	uses := func(since time.Time) []string {
		r.Helper()
		found, err := u.Uses(r.Context(), first, since)
		if err != nil {
			r.Fatal(err)
		}
		var names []string
		for _, use := range found {
			if use.Last.After(time.Now()) || use.Last.Before(began.Add(-time.Minute)) {
				r.Errorf("last use at %s, about now is %s", use.Last, time.Now())
			}
			names = append(names, use.Who)
		}
		return names
	}
	if diff := cmp.Diff([]string(nil), uses(time.Unix(0, 0))); diff != "" {
		r.Errorf("nobody but Custody signed in (-want +got):\n%s", diff)
	}
	app, done, err := r.server.Connect(r.Context(), first, "invoices")
	if err != nil {
		r.Fatal(err)
	}
	defer done()
	if _, err := app.ExecContext(r.Context(), "USE information_schema"); err != nil {
		r.Fatal(err)
	}
	r.sql("GRANT SELECT ON performance_schema.session_connect_attrs TO custody_admin@'%'")
	if diff := cmp.Diff([]string{"invoices from 127.0.0.1 in information_schema"}, uses(time.Unix(0, 0))); diff != "" {
		r.Errorf("uses (-want +got):\n%s", diff)
	}
	r.sql("REVOKE SELECT ON performance_schema.session_connect_attrs FROM custody_admin@'%'")
	if diff := cmp.Diff([]string{"from 127.0.0.1 in information_schema"}, uses(time.Unix(0, 0))); diff != "" {
		r.Errorf("uses, the program not shown (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), uses(time.Now().Add(time.Hour))); diff != "" {
		r.Errorf("uses since later than the last (-want +got):\n%s", diff)
	}
	testSessionsEnd(r, u, first, app)
	r.sql("REVOKE PROCESS ON *.* FROM custody_admin@'%'")
	_, err = u.Uses(r.Context(), first, time.Unix(0, 0))
	var said *upstream.Error
	if !errors.As(err, &said) || !strings.Contains(said.Hint(), "GRANT PROCESS") {
		r.Errorf("an admin who cannot see: got %v, want an error with the grant", err)
	}
	r.sql("GRANT PROCESS ON *.* TO custody_admin@'%'")
	if got := r.open(r.config(upstream.Dual)).Kind().Evidence; got != nil {
		r.Errorf("mode dual claims evidence: %+v", got)
	}
}

func testProduct(r *rig) {
	config := r.config(upstream.Overwrite)
	config.Server.Product = mysql.MySQL
	u := r.open(config)
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, candidate); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("a MariaDB server declared as MySQL: got %v, want ErrNotApplied", err)
	}
}

func testMissingTable(r *rig) {
	config := r.config(upstream.Overwrite)
	config.Server.MarkerTable = "custody.nowhere"
	u := r.open(config)
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
	var said *upstream.Error
	if !errors.Is(err, upstream.ErrNotApplied) || !errors.As(err, &said) || !strings.Contains(said.Hint(), "marker table") {
		r.Errorf("got %v, want ErrNotApplied with a hint", err)
	}
}

func TestLockOutIsNotRefusal(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MariaDBOptions{Settings: loud(map[string]string{"max-password-errors": "3"})})
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	for range 3 {
		upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(t, first.ExposeText("username"), "wrong"), "a wrong password")
	}
	got, err := u.Verify(t.Context(), first)
	var later *upstream.Later
	if got != upstream.Unknown || !errors.As(err, &later) || later.After <= 0 || !strings.Contains(upstream.Explained(err), "FLUSH PRIVILEGES") {
		t.Errorf("locked out: got %s, %v, want unknown, later, with a hint", got, err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-2", secret.Value{}), "the user after the next change, which unblocks it")

	admin := upstreamtest.Login(t, r.name("admin"), upstreamtest.Password(t))
	name := admin.ExposeText("username")
	r.sql("CREATE USER " + name + "@'%' IDENTIFIED BY '" + admin.ExposeText("password") + "'")
	for range 3 {
		upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(t, name, "wrong"), "a wrong password of the admin")
	}
	config.Admin = upstreamtest.Admins(admin)
	_, err = r.open(config).Apply(t.Context(), "run-3", secret.Value{}, first)
	if upstreamtest.Hinted(t, upstream.ErrNotApplied, err, "an admin locked out"); !strings.Contains(upstream.Explained(err), "FLUSH PRIVILEGES") {
		t.Errorf("an admin locked out: got %s", upstream.Explained(err))
	}

	dual := r.config(upstream.Dual)
	second := r.open(dual)
	if _, err := second.Apply(t.Context(), "run-1", secret.Value{}, upstreamtest.Login(t, dual.User, upstreamtest.Password(t))); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("mode dual on a server that locks out: got %v, want ErrNotApplied", err)
	}
	upstreamtest.Is(r, second, upstream.Unknown, upstreamtest.Login(t, dual.User, "wrong"), "mode dual on a server that locks out")
}

// A server that asks for no password must not look as if it refused one.
func TestServerWithoutPasswords(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MariaDBOptions{})
	config := r.config(upstream.Overwrite)
	open := realparts.MariaDB(t, realparts.MariaDBOptions{Settings: map[string]string{"skip-grant-tables": ""}})
	config.Server.Port = open.Port
	u := r.open(config)
	if got, err := u.Verify(t.Context(), upstreamtest.Login(t, config.User, upstreamtest.Password(t))); got == upstream.Refused {
		t.Errorf("got %s, %v, want anything but a refusal", got, err)
	}
}
