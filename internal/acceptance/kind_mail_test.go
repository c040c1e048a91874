// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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
		name: "mail-" + mode, capability: capability, abreast: 10, pace: 500 * time.Millisecond, signIn: mailSignIn,
		start: func(s *stage, accounts []string) part {
			m := once(s, "mail", func() *realparts.Mail {
				m := realparts.MailServer(s.t, realparts.MailOptions{Passdbs: mailPassdbs})
				s.must(nil, os.Mkdir(m.File("users"), 0o755))
				for _, name := range []string{"first", "second"} {
					s.must(nil, os.WriteFile(m.File("users/"+name), nil, 0o640))
				}
				s.folders = append(s.folders, "mail: "+m.File("users"))
				host, port := s.via(m.Host, m.Port)
				s.upstream("mail", fmt.Sprintf("mail:\n  submission:\n    host: %s\n    port: %d\n%s  passwdFile: {folder: mail, file: first, secondFile: second}\n  cost: 4\n  settle: 1s",
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
				held: func(_ context.Context, name string) (held []string, err error) {
					return mailHeld(m, logins(name), s.fields(strings.ReplaceAll(name, "_", "-"))["password"])
				},
			}
		},
	}
}

// mailHeld names the lines, of both files, that belong to an account and open it: those whose hash is the delivered
// password's, and those that are no hash, as before Custody. A hash of a password that nobody knows locks a line; it cannot
// be told from one of a password that somebody knows, but a second line for a login, or one that another run wrote than
// the others, can.
func mailHeld(m *realparts.Mail, logins []string, password string) (held []string, err error) {
	var marker string
	for _, file := range []string{"first", "second"} {
		text, err := os.ReadFile(m.File("users/" + file))
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			columns := strings.SplitN(strings.TrimSpace(line), ":", 8)
			login, domain, _ := strings.Cut(columns[0], "@")
			if domain != "example.org" || !slices.Contains(logins, login) {
				continue
			}
			place := file + " " + login
			if seen[login] {
				held = append(held, place+" again")
			}
			seen[login] = true
			hash, isHash := strings.CutPrefix(columns[1], "{BLF-CRYPT}")
			if !isHash || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil {
				held = append(held, place)
			}
			if marker == "" {
				marker = columns[len(columns)-1]
			}
			if marker != columns[len(columns)-1] {
				held = append(held, place+" by another run")
			}
		}
	}
	return held, nil
}

// TestMailHeldNamesWhatOpens: an account at rest has one line that its delivered password opens.
func TestMailHeldNamesWhatOpens(t *testing.T) {
	hash := func(password string) string {
		made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return "{BLF-CRYPT}" + string(made)
	}
	line := func(login, stored, run string) string {
		return login + "@example.org:" + stored + "::::::userdb_custody=1;shop;" + run + "\n"
	}
	good := line("shop_a", hash("delivered"), "r2") + line("shop_b", hash("nobody's"), "r2")
	for _, c := range []struct {
		name, first, second string
		want                int
	}{
		{"at rest", good, "", 1},
		{"somebody else's line", good + line("shop", hash("delivered"), "r1"), "", 1},
		{"none", line("shop_a", hash("nobody's"), "r2"), "", 0},
		{"a second line", good + line("shop_b", hash("other"), "r2"), "", 2},
		{"not hashed by Custody", line("shop_a", hash("delivered"), "r2") + line("shop_b", "{PLAIN}x", "r2"), "", 2},
		{"written by an earlier run", line("shop_a", hash("delivered"), "r2") + line("shop_b", hash("candidate"), "r1"), "", 2},
		{"in both files", line("shop_a", hash("delivered"), "r2"), line("shop_a", hash("delivered"), "r2"), 2},
	} {
		m := &realparts.Mail{Dir: t.TempDir()}
		if err := os.Mkdir(m.File("users"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"first": c.first, "second": c.second} {
			if err := os.WriteFile(m.File("users/"+name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if held, err := mailHeld(m, []string{"shop_a", "shop_b"}, "delivered"); err != nil || len(held) != c.want {
			t.Errorf("%s: held %q (%v), want %d", c.name, held, err, c.want)
		}
	}
}

// mailSignIn goes to at: the address, and behind it the file of the authority's certificate.
func mailSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	address, authority, _ := strings.Cut(at, " ")
	pem, err := os.ReadFile(authority)
	if err != nil {
		return upstream.Unknown, err
	}
	host, port, err := addressOf(address)
	if err != nil {
		return upstream.Unknown, err
	}
	return verdictOf(signin.SMTP(ctx, host, port, string(pem), fields["username"], fields["password"]))
}
