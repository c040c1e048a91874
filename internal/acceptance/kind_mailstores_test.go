// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
)

// mailTable keeps passwords in a table of PostgreSQL, which Dovecot asks; Postfix, where this account may start it, takes
// the mail. Custody's admin of the table is one that rotates itself.
func mailTable() kind {
	logins := func(name string) []string { return []string{name + "_a@example.org", name + "_b@example.org"} }
	return kind{
		name: "mail-sql", capability: upstream.Alternate, abreast: 3, pace: 500 * time.Millisecond, signIn: mailSignIn,
		start: func(s *stage, accounts []string) part {
			p := startPostgres(s)
			m := once(s, "mail-sql", func() *realparts.Mail {
				own := rand.Text()
				s.must(p.Exec(s.t.Context(), `CREATE TABLE mailbox (username text PRIMARY KEY, password text NOT NULL, custody varchar(1024));
					CREATE ROLE dovecot LOGIN PASSWORD '`+own+`';
					GRANT SELECT ON mailbox TO dovecot; GRANT SELECT, UPDATE ON mailbox TO custody_admin`))
				s.write("mail-sql.conf", fmt.Sprintf(`driver = pgsql
connect = host=%s port=%d dbname=postgres user=dovecot password=%s sslmode=disable
password_query = SELECT username AS user, password FROM mailbox WHERE username = '%%u'
`, p.Host, p.Port, own))
				m := mailBefore(s, "sql")
				host, port := s.via(m.Host, m.TLSPort)
				tableHost, tablePort := s.via(p.Host, p.Port)
				s.upstream("mail-sql", fmt.Sprintf("adminRef: postgres-admin\nmail:\n  submission:\n    host: %s\n    port: %d\n    tls: tls\n%s"+
					"  sql: {type: postgres, host: %s, port: %d, database: postgres, tls: disable, table: public.mailbox}\n  cost: 4",
					host, port, nestedAuthorities(m.CA), tableHost, tablePort), nil, "")
				return m
			})
			for _, account := range accounts {
				for _, login := range logins(account) {
					s.must(p.Exec(s.t.Context(), fmt.Sprintf("INSERT INTO mailbox VALUES ('%s', '{PLAIN}%s')", login, rand.Text())))
				}
			}
			return part{
				at: mailAt(m), upstream: "mail-sql", log: func() string { return p.Log() + m.Log() },
				account: func(name string) string {
					return "mail: {mode: alternate, users: [" + strings.Join(logins(name), ", ") + "]}"
				},
				held: func(ctx context.Context, name string) ([]string, error) {
					rows, err := p.Exec(ctx, "SELECT concat_ws(' ', username, password, custody) FROM mailbox WHERE username IN ('"+strings.Join(logins(name), "', '")+"')")
					var places []mailPlace
					for _, row := range rows {
						columns := strings.SplitN(row+"  ", " ", 3)
						places = append(places, mailPlace{columns[0], columns[1], columns[2]})
					}
					return mailOpens(places, s.fields(strings.ReplaceAll(name, "_", "-"))["password"]), err
				},
			}
		},
	}
}

// mailDirectory keeps passwords in a directory, where Dovecot signs in as whoever signs in to it. Custody's admin is that
// of the directory.
func mailDirectory() kind {
	return kind{
		name: "mail-ldap", capability: upstream.Dual, abreast: 3, pace: 500 * time.Millisecond, signIn: mailSignIn,
		start: func(s *stage, accounts []string) part {
			d := startLDAP(s)
			m := once(s, "mail-ldap", func() *realparts.Mail {
				s.write("mail-ldap.conf", fmt.Sprintf("hosts = %s:%d\nldap_version = 3\nauth_bind = yes\nauth_bind_userdn = cn=%%n,%s\nbase = %s\n",
					d.Host, d.Port, realparts.LDAPServices, realparts.LDAPServices))
				m := mailBefore(s, "ldap")
				host, port := s.via(m.Host, m.Port)
				directoryHost, directoryPort := s.via(d.Host, d.TLSPort)
				s.upstream("mail-ldap", fmt.Sprintf("adminRef: ldap-admin\nmail:\n  submission:\n    host: %s\n    port: %d\n%s  ldap:\n    host: %s\n    port: %d\n    hash: ssha\n%s",
					host, port, nestedAuthorities(m.CA), directoryHost, directoryPort, nestedAuthorities(d.CA)), nil, "")
				return m
			})
			ldapEntries(s, d, accounts...)
			return part{
				at: mailAt(m), upstream: "mail-ldap", log: func() string { return d.Log() + m.Log() },
				account: func(name string) string {
					return fmt.Sprintf("mail: {mode: dual, user: %[1]s@example.org, entries: ['cn=%[1]s,%[2]s']}", name, realparts.LDAPServices)
				},
				held: func(ctx context.Context, name string) ([]string, error) { return ldapHeld(ctx, d, []string{name}) },
				rights: func(ctx context.Context, name string, _ map[string]string) (string, error) {
					classes, err := d.Values(ctx, "cn="+name+","+realparts.LDAPServices, "objectClass")
					return strings.Join(classes, " "), err
				},
			}
		},
	}
}

// mailBefore starts a Dovecot that asks a store by the settings in mail-STORE.conf, and Postfix before it where this
// account may.
func mailBefore(s *stage, store string) *realparts.Mail {
	return realparts.MailServer(s.t, realparts.MailOptions{
		Passdbs: fmt.Sprintf("passdb {\n  driver = %s\n  args = %s\n}\n", store, s.file("mail-"+store+".conf")), Postfix: os.Geteuid() == 0,
	})
}

// nestedAuthorities are authorities two further in.
func nestedAuthorities(pem string) string {
	return strings.ReplaceAll(authorities(pem), "  ", "    ")
}
