// SPDX-License-Identifier: Apache-2.0

package mail_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/mail"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"golang.org/x/crypto/bcrypt"
)

func TestOnFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MailOptions{Passdbs: files})
	t.Run("TakingTurns", func(t *testing.T) {
		r := r.on(t)
		for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
			config := r.config(mode)
			u := open(t, config)
			first := upstreamtest.Issue(t, u, "run-1", secret.Value{})
			second := upstreamtest.Issue(t, u, "run-2", first)
			if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
				t.Fatal(err)
			}
			reread()
			upstreamtest.Is(t, u, upstream.Refused, first, string(mode)+": the old credential")
			upstreamtest.Is(t, u, upstream.Accepted, second, string(mode)+": the new one")
			if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, first); !errors.Is(err, upstream.ErrSuperseded) {
				t.Errorf("%s: a superseded run: got %v, want ErrSuperseded", mode, err)
			}
			config.Claim = "shop/live/relay"
			other := open(t, config)
			if _, err := other.Apply(t.Context(), "run-9", second, propose(t, other, second)); !errors.Is(err, upstream.ErrSuperseded) {
				t.Errorf("%s: another claim: got %v, want ErrSuperseded", mode, err)
			}
		}
		if text := r.read("first"); !strings.HasPrefix(text, others) || !strings.Contains(text, "userdb_mail=maildir:~/app-1@example.org userdb_custody=1;shop/test/relay;") {
			t.Errorf("fields of a line were lost: %s", text)
		}
	})
	t.Run("Verdicts", func(t *testing.T) {
		r := r.on(t)
		config := r.config(upstream.Dual)
		var v secret.Value
		config.Known = func(context.Context) ([]secret.Value, error) { return []secret.Value{v}, nil }
		u := open(t, config)
		v = upstreamtest.Issue(t, u, "run-1", secret.Value{})
		reread()
		at := func(change func(*mail.Submission)) *mail.Upstream {
			elsewhere := config
			change(&elsewhere.Submission)
			return open(t, elsewhere)
		}
		upstreamtest.Is(t, at(func(s *mail.Submission) { s.TLS, s.Port = mail.TLS, r.server.TLSPort }), upstream.Accepted, v, "TLS from the first byte")
		upstreamtest.Is(t, at(func(s *mail.Submission) { s.CACertificate = "" }), upstream.Unknown, v, "an authority that nobody trusts")
		upstreamtest.Is(t, at(func(s *mail.Submission) { s.TLS = mail.Disable }), upstream.Accepted, v, "loopback without TLS, which Dovecot takes for safe")
		upstreamtest.Is(t, at(func(s *mail.Submission) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
		upstreamtest.Is(t, u, upstream.Refused, upstreamtest.Login(t, "nobody@example.org", "wrong"), "no such login")
		for _, empty := range []secret.Value{upstreamtest.Login(t, config.User, ""), upstreamtest.Login(t, "", "x"), upstreamtest.Login(t, "", "")} {
			upstreamtest.Is(t, u, upstream.Unknown, empty, "an empty login or password")
			if _, err := u.Apply(t.Context(), "run-2", v, empty); !errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("applying it: got %v, want ErrNotApplied", err)
			}
		}
		long := upstreamtest.Login(t, config.User, strings.Repeat("long", 20))
		if _, err := u.Apply(t.Context(), "run-2", v, long); !errors.Is(err, upstream.ErrRefusedCandidate) {
			t.Errorf("a password that bcrypt cannot take: got %v, want ErrRefusedCandidate", err)
		}
	})
	t.Run("LineOfNobody", func(t *testing.T) {
		r := r.on(t)
		config := r.config(upstream.Overwrite)
		config.User = "nobody@example.org"
		u := open(t, config)
		before := r.read("first")
		if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, propose(t, u, secret.Value{})); !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("no line: got %v, want ErrNotApplied", err)
		}
		if r.read("first") != before {
			t.Error("the file has changed")
		}
	})
	t.Run("LoginThatNobodyHandedOver", func(t *testing.T) {
		r := r.on(t)
		for _, stored := range []string{"{PLAIN}Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"} {
			config := r.config(upstream.Alternate)
			var known []secret.Value
			config.Known = func(context.Context) ([]secret.Value, error) { return known, nil }
			u := open(t, config)
			r.line(config.Users[1], stored)
			theirs := upstreamtest.Login(t, config.Users[1], "Hello world!")
			first := upstreamtest.Issue(t, u, "run-1", secret.Value{}) // from here on both logins have the claim
			candidate := propose(t, u, first)
			known = []secret.Value{first, candidate}
			reread()
			if err := u.Revoke(t.Context(), "run-2", candidate, first); err != nil {
				t.Errorf("taking back what was never applied: %v", err)
			}
			reread()
			upstreamtest.Is(t, u, upstream.Accepted, theirs, "the login's own password")
			if err := u.Revoke(t.Context(), "run-2", theirs, first); err != nil {
				t.Errorf("Revoke by the login's own password: %v", err)
			}
			reread()
			upstreamtest.Is(t, u, upstream.Refused, theirs, "the login's own password, once revoked")
			upstreamtest.Is(t, u, upstream.Accepted, first, "the current credential")
		}
	})
	t.Run("ManyAtOnce", func(t *testing.T) {
		r := r.on(t)
		var configs []mail.Config
		for range 8 {
			configs = append(configs, r.config(upstream.Overwrite))
		}
		done := make(chan error, len(configs))
		for _, config := range configs {
			go func() {
				u, err := mail.New(config)
				if err == nil {
					var candidate secret.Value
					if candidate, err = u.Propose(t.Context(), secret.Value{}); err == nil {
						_, err = u.Apply(t.Context(), "run-1", secret.Value{}, candidate)
					}
				}
				done <- err
			}()
		}
		for range configs {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		text := r.read("first")
		for _, config := range configs {
			if !strings.Contains(text, config.User+":{BLF-CRYPT}") {
				t.Errorf("the change of %s was lost", config.User)
			}
		}
	})
}

// With an auth cache Dovecot goes by what it knew; a password that differs makes it look again.
func TestAuthCacheNeedsSettleTime(t *testing.T) {
	t.Parallel()
	b := newTable(t, realparts.MailOptions{Settings: `auth_failure_delay = 0
auth_cache_size = 1M
auth_cache_ttl = 4s
auth_cache_negative_ttl = 4s
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`})
	const cache = 4 * time.Second
	var u upstream.Upstream
	var first, second secret.Value
	for fromCache := false; !fromCache; { // on a busy machine the entry may be gone before it is looked for
		u = open(t, b.config(upstream.Overwrite))
		cached := time.Now()
		first = upstreamtest.Issue(t, u, "run-1", secret.Value{})
		upstreamtest.Is(t, u, upstream.Accepted, first, "the first credential")
		second = upstreamtest.Issue(t, u, "run-2", first)
		verdict, err := u.Verify(t.Context(), first)
		fromCache = verdict == upstream.Accepted
		if took := time.Since(cached); !fromCache && (err != nil || took < cache) {
			t.Fatalf("the replaced credential, %s after its first use: got %s (%v), want it accepted from the cache", took, verdict, err)
		}
	}
	upstreamtest.Is(t, u, upstream.Accepted, second, "its successor, which the cache does not know")
	for verdict := upstream.Accepted; verdict != upstream.Refused; reread() { // a cache that keeps it longer holds this up
		verdict, _ = u.Verify(t.Context(), first)
	}
}

func TestPostfixWithoutDovecotIsUnknown(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // postfix runs as root alone
	}
	r := newRig(t, realparts.MailOptions{Passdbs: files, Postfix: true})
	u := open(t, r.config(upstream.Dual))
	v := upstreamtest.Issue(t, u, "run-1", secret.Value{})
	upstreamtest.Is(t, u, upstream.Accepted, v, "the credential")
	upstreamtest.Is(t, u, upstream.Refused, upstreamtest.Login(t, v.ExposeText("username"), "wrong"), "a wrong one")
	if err := r.server.StopDovecot(); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(t, u, upstream.Unknown, v, "the credential, when Postfix has nobody to ask")
	upstreamtest.Is(t, u, upstream.Unknown, upstreamtest.Login(t, v.ExposeText("username"), "wrong"), "a wrong one, the same")
}

// Behind Postfix a fault of what Dovecot asks is a 535, the same as a wrong password.
func TestTableThatDovecotCannotReadIsUnknown(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // postfix runs as root alone
	}
	b := newTable(t, realparts.MailOptions{Postfix: true})
	b.sql("CREATE ROLE dovecot LOGIN SUPERUSER PASSWORD 'asks'")
	config := b.config(upstream.Dual)
	var known []secret.Value
	config.Known = func(context.Context) ([]secret.Value, error) { return known, nil }
	u := open(t, config)
	v := upstreamtest.Issue(t, u, "run-1", secret.Value{})
	known = []secret.Value{v}
	wrong := upstreamtest.Login(t, v.ExposeText("username"), "wrong")
	untold := upstreamtest.Login(t, b.login(1), "Hello world?") // of another login, with a hash that is not computed here
	b.sql("UPDATE logins SET hash = '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1' WHERE name = '" +
		untold.ExposeText("username") + "'")
	both := func(want upstream.Verdict, when string) {
		t.Helper()
		upstreamtest.Is(t, u, want, wrong, "a wrong password, "+when)
		upstreamtest.Is(t, u, want, untold, "one of a login elsewhere, "+when)
		upstreamtest.Is(t, open(t, mail.Config{
			Submission: config.Submission, Mode: upstream.Overwrite, User: untold.ExposeText("username"), SQL: config.SQL, Known: config.Known,
			NewPassword: upstreamtest.NewPassword, Claim: "shop/test/relay",
		}), want, untold, "one whose hash is not computed, "+when)
	}
	upstreamtest.Is(t, u, upstream.Accepted, v, "the credential")
	both(upstream.Refused, "when something right gets through")
	b.sql("ALTER TABLE logins RENAME COLUMN slot TO place") // what only Dovecot asks by
	config.SQL.SlotColumn = "place"
	u = open(t, config)
	upstreamtest.Is(t, u, upstream.Unknown, v, "the credential, when Dovecot cannot ask")
	both(upstream.Unknown, "when Dovecot cannot ask")
	b.sql("ALTER TABLE logins RENAME COLUMN place TO slot")
	config.SQL.SlotColumn = "slot"
	u = open(t, config)
	upstreamtest.Is(t, u, upstream.Accepted, v, "the credential again")
	if err := b.database.Stop(); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(t, u, upstream.Unknown, v, "the credential, without the database")
	upstreamtest.Is(t, u, upstream.Unknown, wrong, "a wrong password, without the database")
}

// With nothing that could vouch, what is kept tells: a first issue that is taken back, a password that somebody replaced.
func TestRefusalOfWhatIsNotKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MailOptions{Passdbs: files})
	config := r.config(upstream.Dual)
	only := upstreamtest.Login(t, config.User, upstreamtest.Password(t))
	config.Known = func(context.Context) ([]secret.Value, error) { return []secret.Value{only}, nil }
	u := open(t, config)
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, only); err != nil {
		t.Fatal(err)
	}
	reread()
	upstreamtest.Is(t, u, upstream.Accepted, only, "the first candidate")
	if err := u.Revoke(t.Context(), "run-1", only, secret.Value{}); err != nil {
		t.Fatal(err)
	}
	reread()
	upstreamtest.Is(t, u, upstream.Refused, only, "the first candidate, taken back")
	if err := os.Rename(r.path("second"), r.path("gone")); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(t, u, upstream.Unknown, only, "the same, when what is kept cannot be read")
}

// A directory's own code changes the entry; the mail server signs in there as the login does.
func TestOnDirectory(t *testing.T) {
	t.Parallel()
	const suffix = "dc=example,dc=org"
	entry := "dn: cn=shop," + suffix + "\nobjectClass: person\ncn: shop\nsn: shop\n\n"
	directory := realparts.Directory(t, realparts.OpenLDAPOptions{Entries: entry})
	server := realparts.MailServer(t, realparts.MailOptions{Passdbs: passdb(t, directory, suffix)})
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Overwrite} {
		dn := "cn=shop," + suffix
		for _, attribute := range []string{"description", "userPassword"} {
			if err := directory.Set(t.Context(), dn, attribute); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := ldap.New(ldap.Config{
			Server: ldap.Server{Host: directory.Host, Port: directory.TLSPort, CACertificate: directory.CA}, Admin: as(directory.Root),
			Mode: mode, DN: dn, NewPassword: upstreamtest.NewPassword, Claim: "shop/test/relay",
		})
		if err != nil {
			t.Fatal(err)
		}
		u := open(t, mail.Config{
			Submission: mail.Submission{Host: server.Host, Port: server.Port, CACertificate: server.CA}, Mode: mode, User: "shop@example.org",
			Directory: kept, Entries: []string{dn}, NewPassword: upstreamtest.NewPassword, Claim: "shop/test/relay",
		})
		first := upstreamtest.Issue(t, u, "run-1", secret.Value{})
		if got := first.ExposeText("username"); got != "shop@example.org" {
			t.Errorf("%s: the credential is %s's, want the login's", mode, got)
		}
		upstreamtest.Is(t, u, upstream.Accepted, first, string(mode)+": the first credential")
		second := upstreamtest.Issue(t, u, "run-2", first)
		upstreamtest.Is(t, u, upstream.Accepted, second, string(mode)+": the second")
		if mode == upstream.Dual {
			upstreamtest.Is(t, u, upstream.Accepted, first, "dual: the first beside it")
		}
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Fatal(err)
		}
		upstreamtest.Is(t, u, upstream.Refused, first, string(mode)+": the first, revoked")
		upstreamtest.Is(t, u, upstream.Accepted, second, string(mode)+": the second after it")
		if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, first); !errors.Is(err, upstream.ErrSuperseded) {
			t.Errorf("%s: a superseded run: got %v, want ErrSuperseded", mode, err)
		}
	}
}

// A directory that locks accounts out tells it to the admin alone, and one that is down to nobody.
func TestDirectoryThatLocksOutOrIsDownIsUnknown(t *testing.T) {
	t.Parallel()
	const (
		suffix = "dc=example,dc=org"
		policy = "cn=default," + suffix
	)
	entries := "dn: cn=shop," + suffix + "\nobjectClass: person\ncn: shop\nsn: shop\n\n" +
		"dn: " + policy + "\nobjectClass: applicationProcess\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 3\n"
	directory := realparts.Directory(t, realparts.OpenLDAPOptions{
		Entries: entries, Modules: []string{"ppolicy"}, Database: "overlay ppolicy\nppolicy_default " + policy + "\n",
	})
	server := realparts.MailServer(t, realparts.MailOptions{Passdbs: passdb(t, directory, suffix), Postfix: os.Geteuid() == 0})
	dn := "cn=shop," + suffix
	kept, err := ldap.New(ldap.Config{
		Server: ldap.Server{Host: directory.Host, Port: directory.TLSPort, CACertificate: directory.CA}, Admin: as(directory.Root),
		Mode: upstream.Dual, DN: dn, NewPassword: upstreamtest.NewPassword, Claim: "shop/test/relay",
	})
	if err != nil {
		t.Fatal(err)
	}
	var known []secret.Value
	u := open(t, mail.Config{
		Submission: mail.Submission{Host: server.Host, Port: server.Port, CACertificate: server.CA}, Mode: upstream.Dual, User: "shop@example.org",
		Directory: kept, Entries: []string{dn}, NewPassword: upstreamtest.NewPassword, Claim: "shop/test/relay",
		Known: func(context.Context) ([]secret.Value, error) { return known, nil },
	})
	v := upstreamtest.Issue(t, u, "run-1", secret.Value{})
	known = []secret.Value{v}
	wrong := upstreamtest.Login(t, "shop@example.org", "wrong")
	for range 4 { // each right sign-in that vouches sets the count to nothing
		upstreamtest.Is(t, u, upstream.Refused, wrong, "a wrong password")
	}
	known = nil
	for range 3 {
		_, _ = u.Verify(t.Context(), wrong)
	}
	known = []secret.Value{v}
	_, err = u.Verify(t.Context(), v)
	var later *upstream.Later
	var said *upstream.Error
	if !errors.As(err, &later) || !errors.As(err, &said) || !strings.Contains(said.Hint(), "pwdAccountLockedTime") {
		t.Errorf("locked out: got %v, want to be asked again later, with a hint", err)
	}
	upstreamtest.Is(t, u, upstream.Unknown, v, "the right password of a locked entry")
	upstreamtest.Is(t, u, upstream.Unknown, wrong, "a wrong one")
	if err := directory.Set(t.Context(), dn, "pwdAccountLockedTime"); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(t, u, upstream.Accepted, v, "the right password once unlocked")
	if err := directory.Stop(); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(t, u, upstream.Unknown, v, "the right password, without the directory")
	upstreamtest.Is(t, u, upstream.Unknown, wrong, "a wrong one, without the directory")
}

// passdb asks a directory by signing in as the login's entry.
func passdb(t *testing.T, directory *realparts.OpenLDAP, suffix string) string {
	t.Helper()
	settings := filepath.Join(t.TempDir(), "ldap.conf")
	text := fmt.Sprintf("hosts = %s:%d\nldap_version = 3\nauth_bind = yes\nauth_bind_userdn = cn=%%n,%s\nbase = %s\n", directory.Host, directory.Port, suffix, suffix)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "passdb {\n  driver = ldap\n  args = " + settings + "\n}\n"
}

// Whoever may make objects in a schema of the admin's search path could have them run with the admin's rights.
func TestPlantedOperatorsAreNeverCalled(t *testing.T) {
	t.Parallel()
	b := newTable(t, realparts.MailOptions{})
	// By a path that names it, a schema comes before pg_catalog; without, an operator still wins that fits the types better.
	b.sql(`ALTER TABLE logins ALTER COLUMN name TYPE varchar(200);
		CREATE ROLE planter; GRANT CREATE ON SCHEMA public TO planter; SET ROLE planter;
		CREATE SEQUENCE called; GRANT USAGE ON SEQUENCE called TO PUBLIC;
		CREATE FUNCTION call() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
			IF current_user::text OPERATOR(pg_catalog.=) 'custody_admin' THEN PERFORM nextval('public.called'); END IF; END $$`)
	for _, types := range [][2]string{{"varchar", "varchar"}, {"varchar", "text"}, {"text", "text"}, {"int", "bigint"}} {
		left, right := types[0], types[1]
		b.sql(fmt.Sprintf(`SET ROLE planter; CREATE FUNCTION same(%[1]s, %[2]s) RETURNS boolean LANGUAGE plpgsql AS
			$$ BEGIN PERFORM public.call(); RETURN $1::text OPERATOR(pg_catalog.=) $2::text; END $$;
			CREATE OPERATOR public.= (LEFTARG = %[1]s, RIGHTARG = %[2]s, FUNCTION = public.same)`, left, right))
	}
	b.sql(`SET ROLE planter; CREATE FUNCTION set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
		$$ BEGIN PERFORM public.call(); RETURN pg_catalog.set_config($1, $2, $3); END $$`)
	called := func() bool { return b.sql("SELECT is_called::text FROM called")[0] == "true" }
	for _, path := range []string{"DEFAULT", "public, pg_catalog"} {
		b.sql("ALTER ROLE custody_admin SET search_path TO " + path)
		for _, name := range []string{"logins", "public.logins"} {
			for _, mode := range []upstream.Capability{upstream.Dual, upstream.Alternate} {
				config := b.config(mode)
				config.SQL.Table = name
				u := open(t, config)
				what := fmt.Sprintf("path %s, table %s, %s", path, name, mode)
				first := upstreamtest.Issue(t, u, "run-1", secret.Value{})
				second := upstreamtest.Issue(t, u, "run-2", first)
				if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				upstreamtest.Is(t, u, upstream.Refused, first, what+": the old credential")
				upstreamtest.Is(t, u, upstream.Accepted, second, what+": the new credential")
				if called() {
					t.Errorf("%s: what somebody else planted ran as the admin", what)
					b.sql("ALTER SEQUENCE called RESTART")
				}
			}
		}
		conn, err := b.database.Connect(t.Context(), b.admin, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT * FROM logins WHERE name = 'x'::text").ReadAll(); err != nil {
			t.Error(err)
		}
		_ = conn.Close(t.Context())
		if !called() {
			t.Errorf("path %s: a bare = does not call what was planted: the test proves nothing", path)
		}
		b.sql("ALTER SEQUENCE called RESTART")
	}
}

// No mail server reads this table: what is stored is compared here.
func TestTableOfMariaDB(t *testing.T) {
	t.Parallel()
	server := realparts.MariaDB(t, realparts.MariaDBOptions{})
	exec := func(statements string) []string {
		t.Helper()
		rows, err := server.Exec(t.Context(), statements)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	admin := upstreamtest.Login(t, "custody_admin", "admin-"+upstreamtest.Password(t))
	for _, statement := range []string{
		"CREATE DATABASE mail",
		"CREATE TABLE mail.logins (username varchar(200) PRIMARY KEY, password varchar(200), custody varchar(1024)) ENGINE=InnoDB",
		"INSERT INTO mail.logins (username) VALUES ('a@example.org'), ('b@example.org')",
		"CREATE USER custody_admin@'%' IDENTIFIED BY '" + admin.ExposeText("password") + "'",
		"GRANT SELECT, UPDATE ON mail.logins TO custody_admin@'%'",
	} {
		exec(statement)
	}
	config := mail.Config{
		Submission: mail.Submission{Host: "127.0.0.1", Port: 1}, Mode: upstream.Alternate, Users: [2]string{"a@example.org", "b@example.org"},
		NewPassword: upstreamtest.NewPassword, Claim: "shop/test/relay", Cost: bcrypt.MinCost,
		SQL: &mail.SQL{Type: mail.MySQL, Host: server.Host, Port: server.Port, Database: "mail", TLS: mail.Disable, Table: "mail.logins",
			Admin: func(context.Context) ([]secret.Value, error) {
				return []secret.Value{upstreamtest.Login(t, "custody_admin", "old"), admin}, nil
			}},
	}
	u := open(t, config)
	holds := func(v secret.Value) bool {
		t.Helper()
		rows := exec("SELECT password FROM mail.logins WHERE username = '" + v.ExposeText("username") + "'")
		hash, ok := strings.CutPrefix(rows[0], "{BLF-CRYPT}")
		return ok && bcrypt.CompareHashAndPassword([]byte(hash), v.Expose("password")) == nil
	}
	first := upstreamtest.Issue(t, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(t, u, "run-2", first)
	if !holds(first) || !holds(second) {
		t.Error("the table does not hold both passwords")
	}
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, first); !errors.Is(err, upstream.ErrSuperseded) {
		t.Errorf("a superseded run: got %v, want ErrSuperseded", err)
	}
	if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
		t.Fatal(err)
	}
	if holds(first) || !holds(second) {
		t.Error("revoking did not take the old password, and that alone")
	}
	config.SQL.Admin = as(upstreamtest.Login(t, "custody_admin", "wrong"))
	u = open(t, config)
	if _, err := u.Apply(t.Context(), "run-3", second, propose(t, u, second)); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("an admin that is refused: got %v, want ErrNotApplied", err)
	}
}
