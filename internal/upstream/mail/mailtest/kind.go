// SPDX-License-Identifier: Apache-2.0

// Package mailtest tests the type of upstream mail with the whole product, on Dovecot and Postfix. It sets up what
// people set up by hand, as the page says, and has clients that sign in with code of their own. It uses no code of the
// adapter.
package mailtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"

	"golang.org/x/crypto/bcrypt"
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

// Kinds are one Dovecot for the modes, whose passwords are in files on this host, which it looks at once a second at
// most; and one for each other place that keeps passwords.
func Kinds() []acceptance.Kind {
	one := func(name string) []string { return []string{name} }
	pair := func(name string) []string { return []string{name + "_a", name + "_b"} }
	return []acceptance.Kind{
		mailKind("dual", upstream.Dual, one, "mail: {mode: dual, user: %s@example.org}"),
		mailKind("alternate", upstream.Alternate, pair, "mail: {mode: alternate, users: [%s@example.org, %s@example.org]}"),
		mailKind("overwrite", upstream.Overwrite, one, "mail: {mode: overwrite, user: %s@example.org}"),
		mailTable(), mailDirectory(),
	}
}

func mailKind(mode string, capability upstream.Capability, logins func(string) []string, parameters string) acceptance.Kind {
	return acceptance.Kind{
		Name: "mail-" + mode, Capability: capability, Abreast: 10, Pace: 500 * time.Millisecond, SignIn: mailSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			m := acceptance.Once(s, "mail", func() *realparts.Mail {
				m := realparts.MailServer(s.T(), realparts.MailOptions{Passdbs: mailPassdbs})
				s.Must(nil, os.Mkdir(m.File("users"), 0o755))
				for _, name := range []string{"first", "second"} {
					s.Must(nil, os.WriteFile(m.File("users/"+name), nil, 0o640))
				}
				s.AddFolder("mail: " + m.File("users"))
				host, port := s.Via(m.Host, m.Port)
				s.Upstream("mail", fmt.Sprintf("mail:\n  submission:\n    host: %s\n    port: %d\n%s  passwdFile: {folder: mail, file: first, secondFile: second}\n  cost: 4\n  settle: 1s",
					host, port, nestedAuthorities(m.CA)), nil, "")
				return m
			})
			text, err := os.ReadFile(m.File("users/first"))
			s.Must(nil, err)
			for _, account := range accounts {
				for _, login := range logins(account) {
					text = fmt.Appendf(text, "%s@example.org:{PLAIN}%s::::::\n", login, rand.Text())
				}
			}
			s.Must(nil, os.WriteFile(m.File("users/first"), text, 0o640))
			return acceptance.Part{
				At: mailAt(m), Upstream: "mail", Log: m.Log,
				Account: func(name string) string {
					var names []any
					for _, login := range logins(name) {
						names = append(names, login)
					}
					return fmt.Sprintf(parameters, names...)
				},
				Held: func(_ context.Context, name string) (held []string, err error) {
					return mailHeld(m, logins(name), s.Fields(strings.ReplaceAll(name, "_", "-"))["password"])
				},
			}
		},
	}
}

// mailPlace is where a password is kept: a line of a file, or a row of a table.
type mailPlace struct{ name, stored, marker string }

// mailHeld names the lines, of both files, that belong to an account and open it.
func mailHeld(m *realparts.Mail, logins []string, password string) ([]string, error) {
	var places []mailPlace
	for _, file := range []string{"first", "second"} {
		text, err := os.ReadFile(m.File("users/" + file))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			columns := strings.SplitN(strings.TrimSpace(line), ":", 8)
			login, domain, _ := strings.Cut(columns[0], "@")
			if domain == "example.org" && slices.Contains(logins, login) {
				places = append(places, mailPlace{file + " " + login, columns[1], columns[len(columns)-1]})
			}
		}
	}
	return mailOpens(places, password), nil
}

// mailOpens names the places of an account that open it: those whose hash is the delivered password's, and those that are
// no hash, as before Custody. A hash of a password that nobody knows locks a place; it cannot be told from one of a
// password that somebody knows, but a second place of one name, or one that another run wrote than the others, can.
func mailOpens(places []mailPlace, password string) (held []string) {
	seen := map[string]bool{}
	for _, place := range places {
		if seen[place.name] {
			held = append(held, place.name+" again")
		}
		seen[place.name] = true
		hash, isHash := strings.CutPrefix(place.stored, "{BLF-CRYPT}")
		if !isHash || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil {
			held = append(held, place.name)
		}
		if place.marker != places[0].marker {
			held = append(held, place.name+" by another run")
		}
	}
	return held
}

// mailAt is where clients of a mail server sign in.
func mailAt(m *realparts.Mail) string {
	return fmt.Sprintf("%s:%d %s", m.Host, m.Port, m.File("ca.pem"))
}

// mailSignIn goes to At: the address, and behind it the file of the authority's certificate.
func mailSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	address, authority, _ := strings.Cut(at, " ")
	pem, err := os.ReadFile(authority)
	if err != nil {
		return upstream.Unknown, err
	}
	host, port, err := acceptance.AddressOf(address)
	if err != nil {
		return upstream.Unknown, err
	}
	return acceptance.VerdictOf(signin.SMTP(ctx, host, port, string(pem), fields["username"], fields["password"]))
}
