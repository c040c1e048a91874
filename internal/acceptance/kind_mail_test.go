// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mailPassdbs are two, as two passwords for one login need them.
const mailPassdbs = `passdb {
  driver = passwd-file
  args = DIR/users/first
}
passdb {
  driver = passwd-file
  args = DIR/users/second
}
`

// mailKinds share one Dovecot, whose passwords are in files on this host. It looks at them at most once a second.
func mailKinds() []kind {
	one := func(name string) []string { return []string{name} }
	pair := func(name string) []string { return []string{name + "_a", name + "_b"} }
	return []kind{
		mailKind("dual", upstream.Dual, one, "mail: {mode: dual, user: %s@example.org}"),
		mailKind("alternate", upstream.Alternate, pair, "mail: {mode: alternate, users: [%s@example.org, %s@example.org]}"),
		mailKind("overwrite", upstream.Overwrite, one, "mail: {mode: overwrite, user: %s@example.org}"),
	}
}

func mailKind(mode string, capability upstream.Capability, logins func(string) []string, parameters string) kind {
	return kind{
		name: "mail-" + mode, capability: capability, abreast: 2, signIn: mailSignIn,
		pace: 5 * time.Second, // each sign-in costs the server a bcrypt, in its one process
		start: func(s *stage, accounts []string) part {
			m := once(s, "mail", func() *realparts.Mail {
				m := realparts.MailServer(s.t, realparts.MailOptions{Passdbs: mailPassdbs})
				s.must(nil, os.Mkdir(m.File("users"), 0o755))
				for _, name := range []string{"first", "second"} {
					s.must(nil, os.WriteFile(m.File("users/"+name), nil, 0o640))
				}
				s.folders = append(s.folders, "mail: "+m.File("users"))
				host, port := s.via(m.Host, m.Port)
				s.upstream("mail", fmt.Sprintf("mail:\n  submission:\n    host: %s\n    port: %d\n%s  passwdFile: {folder: mail, file: first, secondFile: second}\n  settle: 1100ms",
					host, port, strings.ReplaceAll(authorities(m.CA), "  ", "    ")), nil, "")
				return m
			})
			text, err := os.ReadFile(m.File("users/first"))
			s.must(nil, err)
			for _, account := range accounts {
				for _, login := range logins(account) {
					text = fmt.Appendf(text, "%s@example.org:{PLAIN}%s::::::\n", login, rand.Text())
				}
			}
			s.must(nil, os.WriteFile(m.File("users/first"), text, 0o640))
			return part{
				at: fmt.Sprintf("%s:%d %s", m.Host, m.Port, m.File("ca.pem")), upstream: "mail", log: m.Log,
				account: func(name string) string {
					var names []any
					for _, login := range logins(name) {
						names = append(names, login)
					}
					return fmt.Sprintf(parameters, names...)
				},
			}
		},
	}
}

// mailRefused is SMTP's answer to a wrong password.
const mailRefused = 535

func mailSignIn(_ context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	address, authority, _ := strings.Cut(at, " ")
	pem, err := os.ReadFile(authority)
	if err != nil {
		return upstream.Unknown, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := smtp.DialStartTLS(address, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "127.0.0.1"})
	if err != nil {
		return upstream.Unknown, err
	}
	defer func() { _ = client.Close() }()
	client.CommandTimeout = signInLimit
	err = client.Auth(sasl.NewPlainClient("", fields["username"], fields["password"]))
	var said *smtp.SMTPError
	switch {
	case err == nil:
		return upstream.Accepted, nil
	case errors.As(err, &said) && said.Code == mailRefused:
		return upstream.Refused, nil
	}
	return upstream.Unknown, err
}
