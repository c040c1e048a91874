// SPDX-License-Identifier: Apache-2.0

package mailtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap/ldaptest"
	"custody.dev/custody/internal/upstream/postgres/postgrestest"
)

// mailTable keeps passwords in a table of PostgreSQL, which Dovecot asks; Postfix, where this account may start it, takes
// the mail. Custody's admin of the table is one that rotates itself.
func mailTable() acceptance.Kind {
	logins := func(name string) []string { return []string{name + "_a@example.org", name + "_b@example.org"} }
	return acceptance.Kind{
		Name: "mail-sql", Capability: upstream.Alternate, Abreast: 3, Pace: 500 * time.Millisecond, SignIn: mailSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			p := postgrestest.Start(s)
			m := acceptance.Once(s, "mail-sql", func() *realparts.Mail {
				own := rand.Text()
				s.Must(p.Exec(s.T().Context(), `CREATE TABLE mailbox (username text PRIMARY KEY, password text NOT NULL, custody varchar(1024));
					CREATE ROLE dovecot LOGIN PASSWORD '`+own+`';
					GRANT SELECT ON mailbox TO dovecot; GRANT SELECT, UPDATE ON mailbox TO custody_admin`))
				s.Write("mail-sql.conf", fmt.Sprintf(`driver = pgsql
connect = host=%s port=%d dbname=postgres user=dovecot password=%s sslmode=disable
password_query = SELECT username AS user, password FROM mailbox WHERE username = '%%u'
`, p.Host, p.Port, own))
				m := mailBefore(s, "sql")
				host, port := s.Via(m.Host, m.TLSPort)
				tableHost, tablePort := s.Via(p.Host, p.Port)
				s.Upstream("mail-sql", fmt.Sprintf("adminRef: postgres-admin\nmail:\n  submission:\n    host: %s\n    port: %d\n    tls: tls\n%s"+
					"  sql: {type: postgres, host: %s, port: %d, database: postgres, tls: disable, table: public.mailbox}\n  cost: 4",
					host, port, nestedAuthorities(m.CA), tableHost, tablePort), nil, "")
				return m
			})
			for _, account := range accounts {
				for _, login := range logins(account) {
					s.Must(p.Exec(s.T().Context(), fmt.Sprintf("INSERT INTO mailbox VALUES ('%s', '{PLAIN}%s')", login, rand.Text())))
				}
			}
			return acceptance.Part{
				At: mailAt(m), Upstream: "mail-sql", Log: func() string { return p.Log() + m.Log() },
				Account: func(name string) string {
					return "mail: {mode: alternate, users: [" + strings.Join(logins(name), ", ") + "]}"
				},
				Held: func(ctx context.Context, name string) ([]string, error) {
					rows, err := p.Exec(ctx, "SELECT concat_ws(' ', username, password, custody) FROM mailbox WHERE username IN ('"+strings.Join(logins(name), "', '")+"')")
					var places []mailPlace
					for _, row := range rows {
						columns := strings.SplitN(row+"  ", " ", 3)
						places = append(places, mailPlace{columns[0], columns[1], columns[2]})
					}
					return mailOpens(places, s.Fields(strings.ReplaceAll(name, "_", "-"))["password"]), err
				},
			}
		},
	}
}

// mailDirectory keeps passwords in a directory, where Dovecot signs in as whoever signs in to it. Custody's admin is that
// of the directory.
func mailDirectory() acceptance.Kind {
	return acceptance.Kind{
		Name: "mail-ldap", Capability: upstream.Dual, Abreast: 3, Pace: 500 * time.Millisecond, SignIn: mailSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			d := ldaptest.Start(s)
			m := acceptance.Once(s, "mail-ldap", func() *realparts.Mail {
				s.Write("mail-ldap.conf", fmt.Sprintf("hosts = %s:%d\nldap_version = 3\nauth_bind = yes\nauth_bind_userdn = cn=%%n,%s\nbase = %s\n",
					d.Host, d.Port, realparts.LDAPServices, realparts.LDAPServices))
				m := mailBefore(s, "ldap")
				host, port := s.Via(m.Host, m.Port)
				directoryHost, directoryPort := s.Via(d.Host, d.TLSPort)
				s.Upstream("mail-ldap", fmt.Sprintf("adminRef: ldap-admin\nmail:\n  submission:\n    host: %s\n    port: %d\n%s  ldap:\n    host: %s\n    port: %d\n    hash: ssha\n%s",
					host, port, nestedAuthorities(m.CA), directoryHost, directoryPort, nestedAuthorities(d.CA)), nil, "")
				return m
			})
			ldaptest.Entries(s, d, accounts...)
			return acceptance.Part{
				At: mailAt(m), Upstream: "mail-ldap", Log: func() string { return d.Log() + m.Log() },
				Account: func(name string) string {
					return fmt.Sprintf("mail: {mode: dual, user: %[1]s@example.org, entries: ['cn=%[1]s,%[2]s']}", name, realparts.LDAPServices)
				},
				Held: func(ctx context.Context, name string) ([]string, error) { return ldaptest.Held(ctx, d, []string{name}) },
				Rights: func(ctx context.Context, name string, _ map[string]string) (string, error) {
					classes, err := d.Values(ctx, "cn="+name+","+realparts.LDAPServices, "objectClass")
					return strings.Join(classes, " "), err
				},
			}
		},
	}
}

// mailBefore starts a Dovecot that asks a store by the settings in mail-STORE.conf, and Postfix before it where this
// account may.
func mailBefore(s *acceptance.Stage, store string) *realparts.Mail {
	return realparts.MailServer(s.T(), realparts.MailOptions{
		Passdbs: fmt.Sprintf("passdb {\n  driver = %s\n  args = %s\n}\n", store, s.File("mail-"+store+".conf")), Postfix: os.Geteuid() == 0,
	})
}

// nestedAuthorities are authorities two further in.
func nestedAuthorities(pem string) string {
	return strings.ReplaceAll(acceptance.Authorities(pem), "  ", "    ")
}
