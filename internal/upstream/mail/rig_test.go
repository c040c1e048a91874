// SPDX-License-Identifier: Apache-2.0

package mail_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mail"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"golang.org/x/crypto/bcrypt"
)

// files has two passdbs, as mode dual needs them; each is asked when the one before it refuses.
const files = `passdb {
  driver = passwd-file
  args = DIR/users/first
}
passdb {
  driver = passwd-file
  args = DIR/users/second
}
`

// others are lines that nobody may change.
const others = "# made by hand\r\nother:{PLAIN}kept:1000:1000:A Person:/home:/bin/sh:userdb_quota_rule=*:storage=1G\n\n"

// rig is a mail server whose passwords are in files.
type rig struct {
	*testing.T
	server *realparts.Mail
	names  *atomic.Int64
}

func newRig(t *testing.T, options realparts.MailOptions) *rig {
	t.Helper()
	r := &rig{T: t, server: realparts.MailServer(t, options), names: new(atomic.Int64)}
	if err := os.Mkdir(r.server.File("users"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		if err := os.WriteFile(r.path(name), []byte(others), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig { return &rig{T: t, server: r.server, names: r.names} }

func (r *rig) path(name string) string { return filepath.Join(r.server.File("users"), name) }

func (r *rig) read(name string) string {
	r.Helper()
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		r.Fatal(err)
	}
	return string(data)
}

// login makes one in the first file, with a password that nobody knows and fields of its own.
func (r *rig) login() string {
	r.Helper()
	login := fmt.Sprintf("app-%d@example.org", r.names.Add(1))
	file, err := os.OpenFile(r.path("first"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s:{PLAIN}%s::::::userdb_mail=maildir:~/%s\n", login, upstreamtest.Password(r.T), login); err != nil {
		r.Fatal(err)
	}
	return login
}

// line replaces the stored password of a login in the first file.
func (r *rig) line(login, stored string) {
	r.Helper()
	lines := strings.Split(r.read("first"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, login+":") {
			fields := strings.SplitN(line, ":", 3)
			lines[i] = login + ":" + stored + ":" + fields[2]
		}
	}
	if err := os.WriteFile(r.path("first"), []byte(strings.Join(lines, "\n")), 0o640); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) submission() mail.Submission {
	return mail.Submission{Host: r.server.Host, Port: r.server.Port, CACertificate: r.server.CA}
}

// config is for fresh logins.
func (r *rig) config(mode upstream.Capability) mail.Config {
	r.Helper()
	config := mail.Config{
		Submission: r.submission(), Mode: mode, Claim: "shop/test/relay", NewPassword: upstreamtest.NewPassword, Cost: bcrypt.MinCost,
		File: &mail.PasswdFile{Folder: r.server.File("users"), File: "first", Second: "second"},
	}
	if mode == upstream.Alternate {
		config.Users = [2]string{r.login(), r.login()}
		return config
	}
	config.User = r.login()
	return config
}

func as(admin secret.Value) func(context.Context) ([]secret.Value, error) {
	return func(context.Context) ([]secret.Value, error) { return []secret.Value{admin}, nil }
}

func open(t *testing.T, config mail.Config) *mail.Upstream {
	t.Helper()
	u, err := mail.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func propose(t *testing.T, u upstream.Upstream, current secret.Value) secret.Value {
	t.Helper()
	candidate, err := u.Propose(t.Context(), current)
	if err != nil {
		t.Fatal(err)
	}
	return candidate
}

// fixture is config's upstream behind a wire that can be broken; the files can be taken away with it.
func (r *rig) fixture(config mail.Config) upstreamtest.Fixture {
	r.Helper()
	proxy := realparts.NewProxy(r.T, fmt.Sprintf("%s:%d", r.server.Host, r.server.Port))
	config.Submission.Port = proxy.Port()
	away := strings.Join([]string{r.server.File("users"), "away"}, "-")
	rename := func(from, to string) {
		if _, err := os.Stat(from); err != nil {
			return // Mend without Break
		}
		if err := os.Rename(from, to); err != nil {
			r.Error(err)
		}
	}
	return upstreamtest.Fixture{
		Upstream: open(r.T, config), EnforcesRun: true, Log: r.server.Log, Wait: reread,
		Break: func() { proxy.Break(); rename(r.server.File("users"), away) },
		Mend:  func() { rename(away, r.server.File("users")); proxy.Mend() },
	}
}

// reread waits until Dovecot looks at its files again, which it does at most once in each second of its clock.
func reread() {
	now := time.Now()
	timer := time.NewTimer(now.Truncate(time.Second).Add(time.Second + 30*time.Millisecond).Sub(now))
	defer timer.Stop()
	<-timer.C
}
