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

	"golang.org/x/crypto/bcrypt"
)

func TestOnFiles(t *testing.T) {
	r := newRig(t, realparts.MailOptions{Passdbs: files})
	t.Run("TakingTurns", func(t *testing.T) {
		r := r.on(t)
		for _, mode := range []mail.Mode{mail.Alternate, mail.Overwrite} {
			config := r.config(mode)
			u := open(t, config)
			first := issue(t, u, "run-1", secret.Value{})
			second := issue(t, u, "run-2", first)
			if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
				t.Fatal(err)
			}
			reread()
			is(t, u, upstream.Refused, first, string(mode)+": the old credential")
			is(t, u, upstream.Accepted, second, string(mode)+": the new one")
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
		config := r.config(mail.Dual)
		u := open(t, config)
		v := issue(t, u, "run-1", secret.Value{})
		reread()
		at := func(change func(*mail.Submission)) *mail.Upstream {
			elsewhere := config
			change(&elsewhere.Submission)
			return open(t, elsewhere)
		}
		is(t, at(func(s *mail.Submission) { s.TLS, s.Port = mail.TLS, r.server.TLSPort }), upstream.Accepted, v, "TLS from the first byte")
		is(t, at(func(s *mail.Submission) { s.CACertificate = "" }), upstream.Unknown, v, "an authority that nobody trusts")
		is(t, at(func(s *mail.Submission) { s.TLS = mail.Disable }), upstream.Accepted, v, "loopback without TLS, which Dovecot takes for safe")
		is(t, at(func(s *mail.Submission) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
		is(t, u, upstream.Refused, credential(t, "nobody@example.org", "wrong"), "no such login")
		for _, empty := range []secret.Value{credential(t, config.User, ""), credential(t, "", "x"), credential(t, "", "")} {
			is(t, u, upstream.Unknown, empty, "an empty login or password")
			if _, err := u.Apply(t.Context(), "run-2", v, empty); !errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("applying it: got %v, want ErrNotApplied", err)
			}
		}
		long := credential(t, config.User, strings.Repeat("long", 20))
		if _, err := u.Apply(t.Context(), "run-2", v, long); !errors.Is(err, upstream.ErrRefusedCandidate) {
			t.Errorf("a password that bcrypt cannot take: got %v, want ErrRefusedCandidate", err)
		}
	})
	t.Run("LineOfNobody", func(t *testing.T) {
		r := r.on(t)
		config := r.config(mail.Overwrite)
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
	t.Run("ManyAtOnce", func(t *testing.T) {
		r := r.on(t)
		var configs []mail.Config
		for range 8 {
			configs = append(configs, r.config(mail.Overwrite))
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
	b := newTable(t, realparts.MailOptions{Settings: `auth_failure_delay = 0
auth_cache_size = 1M
auth_cache_ttl = 8s
auth_cache_negative_ttl = 8s
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`})
	u := open(t, b.config(mail.Overwrite))
	first := issue(t, u, "run-1", secret.Value{})
	is(t, u, upstream.Accepted, first, "the first credential")
	second := issue(t, u, "run-2", first)
	is(t, u, upstream.Accepted, first, "the replaced credential, from the cache")
	is(t, u, upstream.Accepted, second, "its successor, which the cache does not know")
	for began := time.Now(); time.Since(began) < 20*time.Second; reread() {
		if got, _ := u.Verify(t.Context(), first); got == upstream.Refused {
			return
		}
	}
	t.Error("the replaced credential is still accepted after 20 s")
}

func TestPostfixWithoutDovecotIsUnknown(t *testing.T) {
	if os.Geteuid() != 0 {
		return // postfix runs as root alone
	}
	r := newRig(t, realparts.MailOptions{Passdbs: files, Postfix: true})
	u := open(t, r.config(mail.Dual))
	v := issue(t, u, "run-1", secret.Value{})
	is(t, u, upstream.Accepted, v, "the credential")
	is(t, u, upstream.Refused, credential(t, v.ExposeText("username"), "wrong"), "a wrong one")
	if err := r.server.StopDovecot(); err != nil {
		t.Fatal(err)
	}
	is(t, u, upstream.Unknown, v, "the credential, when Postfix has nobody to ask")
	is(t, u, upstream.Unknown, credential(t, v.ExposeText("username"), "wrong"), "a wrong one, the same")
}

// A directory's own code changes the entry; the mail server signs in there as the login does.
func TestOnDirectory(t *testing.T) {
	const suffix = "dc=example,dc=org"
	entry := "dn: cn=shop," + suffix + "\nobjectClass: person\ncn: shop\nsn: shop\n\n"
	directory := realparts.Directory(t, realparts.OpenLDAPOptions{Entries: entry})
	settings := filepath.Join(t.TempDir(), "ldap.conf")
	text := fmt.Sprintf("hosts = %s:%d\nldap_version = 3\nauth_bind = yes\nauth_bind_userdn = cn=%%n,%s\nbase = %s\n", directory.Host, directory.Port, suffix, suffix)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := realparts.MailServer(t, realparts.MailOptions{Passdbs: "passdb {\n  driver = ldap\n  args = " + settings + "\n}\n"})
	for _, mode := range []mail.Mode{mail.Dual, mail.Overwrite} {
		dn := "cn=shop," + suffix
		for _, attribute := range []string{"description", "userPassword"} {
			if err := directory.Set(t.Context(), dn, attribute); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := ldap.New(ldap.Config{
			Server: ldap.Server{Host: directory.Host, Port: directory.TLSPort, CACertificate: directory.CA}, Admin: as(directory.Root),
			Mode: ldap.Mode(mode), DN: dn, NewPassword: newPassword, Claim: "shop/test/relay",
		})
		if err != nil {
			t.Fatal(err)
		}
		u := open(t, mail.Config{
			Submission: mail.Submission{Host: server.Host, Port: server.Port, CACertificate: server.CA}, Mode: mode, User: "shop@example.org",
			Directory: kept, Entries: []string{dn}, NewPassword: newPassword, Claim: "shop/test/relay",
		})
		first := issue(t, u, "run-1", secret.Value{})
		if got := first.ExposeText("username"); got != "shop@example.org" {
			t.Errorf("%s: the credential is %s's, want the login's", mode, got)
		}
		is(t, u, upstream.Accepted, first, string(mode)+": the first credential")
		second := issue(t, u, "run-2", first)
		is(t, u, upstream.Accepted, second, string(mode)+": the second")
		if mode == mail.Dual {
			is(t, u, upstream.Accepted, first, "dual: the first beside it")
		}
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Fatal(err)
		}
		is(t, u, upstream.Refused, first, string(mode)+": the first, revoked")
		is(t, u, upstream.Accepted, second, string(mode)+": the second after it")
		if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, first); !errors.Is(err, upstream.ErrSuperseded) {
			t.Errorf("%s: a superseded run: got %v, want ErrSuperseded", mode, err)
		}
	}
}

// No mail server reads this table: what is stored is compared here.
func TestTableOfMariaDB(t *testing.T) {
	server := realparts.MariaDB(t, realparts.MariaDBOptions{})
	exec := func(statements string) []string {
		t.Helper()
		rows, err := server.Exec(t.Context(), statements)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	admin := credential(t, "custody_admin", "admin-"+random(t))
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
		Submission: mail.Submission{Host: "127.0.0.1", Port: 1}, Mode: mail.Alternate, Users: [2]string{"a@example.org", "b@example.org"},
		NewPassword: newPassword, Claim: "shop/test/relay", Cost: bcrypt.MinCost,
		SQL: &mail.SQL{Type: mail.MySQL, Host: server.Host, Port: server.Port, Database: "mail", TLS: mail.Disable, Table: "mail.logins",
			Admin: func(context.Context) ([]secret.Value, error) {
				return []secret.Value{credential(t, "custody_admin", "old"), admin}, nil
			}},
	}
	u := open(t, config)
	holds := func(v secret.Value) bool {
		t.Helper()
		rows := exec("SELECT password FROM mail.logins WHERE username = '" + v.ExposeText("username") + "'")
		hash, ok := strings.CutPrefix(rows[0], "{BLF-CRYPT}")
		return ok && bcrypt.CompareHashAndPassword([]byte(hash), v.Expose("password")) == nil
	}
	first := issue(t, u, "run-1", secret.Value{})
	second := issue(t, u, "run-2", first)
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
	config.SQL.Admin = as(credential(t, "custody_admin", "wrong"))
	u = open(t, config)
	if _, err := u.Apply(t.Context(), "run-3", second, propose(t, u, second)); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("an admin that is refused: got %v, want ErrNotApplied", err)
	}
}
