// SPDX-License-Identifier: Apache-2.0

package mail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mail"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"golang.org/x/crypto/bcrypt"
)

// The whole suite runs on files once: Dovecot's slowness to look at them makes it long.
func TestSuiteOfPasswdFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MailOptions{Passdbs: files})
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		r := r.on(t)
		return r.fixture(r.config(upstream.Dual))
	})
	for _, name := range []string{"first", "second"} {
		if !strings.HasPrefix(r.read(name), others) {
			t.Errorf("the lines of others in %s have changed", name)
		}
		if info, err := os.Stat(r.path(name)); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: got %v, %v, want the mode kept", name, info.Mode(), err)
		}
	}
	if log := r.server.Log(); !strings.Contains(log, "auth") {
		t.Error("the server did not log sign-ins: the search of its log proves nothing")
	}
}

// table is a database with logins, a mail server that asks it, and an admin with SELECT and UPDATE.
type table struct {
	*testing.T
	database *realparts.Server
	server   *realparts.Mail
	admin    secret.Value
	names    *atomic.Int64
}

func newTable(t *testing.T, options realparts.MailOptions) *table {
	t.Helper()
	b := &table{T: t, database: realparts.Postgres(t, realparts.PostgresOptions{}), names: new(atomic.Int64)}
	b.admin = upstreamtest.Login(t, "custody_admin", "admin-"+upstreamtest.Password(t))
	b.sql("CREATE TABLE logins (name text, slot int DEFAULT 1, hash text, custody varchar(1024), UNIQUE (name, slot));" +
		"CREATE ROLE custody_admin LOGIN PASSWORD '" + b.admin.ExposeText("password") + "'; GRANT SELECT, UPDATE ON logins TO custody_admin")
	folder := t.TempDir()
	for slot := 1; slot <= 2; slot++ {
		name := filepath.Join(folder, fmt.Sprintf("slot%d.conf", slot))
		if err := os.WriteFile(name, fmt.Appendf(nil, "driver = pgsql\nconnect = host=%s port=%d dbname=postgres user=%s password=%s sslmode=disable\n"+
			"password_query = SELECT name AS user, hash AS password FROM logins WHERE name = '%%u' AND slot = %d\n", b.database.Host, b.database.Port,
			b.database.Admin.ExposeText("username"), b.database.Admin.ExposeText("password"), slot), 0o600); err != nil {
			t.Fatal(err)
		}
		options.Passdbs += "passdb {\n  driver = sql\n  args = " + name + "\n}\n"
	}
	b.server = realparts.MailServer(t, options)
	return b
}

func (b *table) on(t *testing.T) *table {
	return &table{T: t, database: b.database, server: b.server, admin: b.admin, names: b.names}
}

func (b *table) sql(statements string) []string {
	b.Helper()
	rows, err := b.database.Exec(b.Context(), statements)
	if err != nil {
		b.Fatal(err)
	}
	return rows
}

func (b *table) login(slots int) string {
	b.Helper()
	name := fmt.Sprintf("app-%d@example.org", b.names.Add(1))
	for slot := 1; slot <= slots; slot++ {
		b.sql(fmt.Sprintf("INSERT INTO logins VALUES ('%s', %d, '{PLAIN}%s')", name, slot, upstreamtest.Password(b.T)))
	}
	return name
}

func (b *table) config(mode upstream.Capability) mail.Config {
	b.Helper()
	config := mail.Config{
		Submission: mail.Submission{Host: b.server.Host, Port: b.server.TLSPort, TLS: mail.TLS, CACertificate: b.server.CA},
		Mode:       mode, Claim: "shop/test/relay", NewPassword: upstreamtest.NewPassword, Cost: bcrypt.MinCost,
		SQL: &mail.SQL{
			Type: mail.Postgres, Host: b.database.Host, Port: b.database.Port, Database: "postgres", TLS: mail.Disable, Admin: as(b.admin),
			Table: "public.logins", UserColumn: "name", PasswordColumn: "hash", SlotColumn: "slot",
		},
	}
	switch mode {
	case upstream.Alternate:
		config.Users = [2]string{b.login(1), b.login(1)}
	case upstream.Dual:
		config.User = b.login(2)
	default:
		config.User = b.login(1)
	}
	return config
}

// fixture puts a wire before the database and another before submission.
func (b *table) fixture(config mail.Config) upstreamtest.Fixture {
	b.Helper()
	asked := realparts.NewProxy(b.T, fmt.Sprintf("%s:%d", b.server.Host, config.Submission.Port))
	kept := realparts.NewProxy(b.T, fmt.Sprintf("%s:%d", b.database.Host, b.database.Port))
	config.Submission.Port, config.SQL.Port = asked.Port(), kept.Port()
	return upstreamtest.Fixture{
		Upstream: open(b.T, config), EnforcesRun: true, Log: func() string { return b.server.Log() + b.database.Log() },
		Break: func() { asked.Break(); kept.Break() }, Mend: func() { asked.Mend(); kept.Mend() },
		Cut:  func(replies int) { asked.Cut(replies); kept.Cut(replies) },
		Hold: kept.Hold, Beside: true,
	}
}

func TestSuiteOfTable(t *testing.T) {
	t.Parallel()
	b := newTable(t, realparts.MailOptions{Postfix: os.Geteuid() == 0}) // postfix runs as root alone
	var forms []upstreamtest.Form
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Alternate, upstream.Overwrite} {
		forms = append(forms, upstreamtest.Form{Name: string(mode), Fresh: func(t *testing.T) upstreamtest.Fixture {
			b := b.on(t)
			return b.fixture(b.config(mode))
		}})
	}
	upstreamtest.ParallelForms(t, forms)
}
