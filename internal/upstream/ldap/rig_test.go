// SPDX-License-Identifier: Apache-2.0

package ldap_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

const policyDN = "cn=default,ou=policies,dc=example,dc=org"

// rig is a directory whose administrator may do what the page states.
type rig struct {
	*testing.T
	server *realparts.OpenLDAP
	admin  secret.Value
	names  *atomic.Int64
}

func newRig(t *testing.T, options realparts.OpenLDAPOptions) *rig {
	t.Helper()
	options.Entries = "dn: ou=policies,dc=example,dc=org\nobjectClass: organizationalUnit\nou: policies\n\n" + options.Entries
	server, admin := realparts.ServicesDirectory(t, options)
	return &rig{T: t, server: server, admin: admin, names: new(atomic.Int64)}
}

// policed is a directory with the password policy overlay.
func policed(lines string, settings ...string) realparts.OpenLDAPOptions {
	return realparts.OpenLDAPOptions{
		Modules:  []string{"ppolicy"},
		Database: "overlay ppolicy\nppolicy_default " + policyDN + "\n" + lines,
		Entries: "dn: " + policyDN + "\nobjectClass: applicationProcess\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n" +
			strings.Join(settings, "\n") + "\n",
	}
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig {
	return &rig{T: t, server: r.server, admin: r.admin, names: r.names}
}

// entry makes one without a password and returns its name.
func (r *rig) entry() string { return r.entryOf(nil) }

func (r *rig) entryOf(attributes map[string][]string) string {
	r.Helper()
	name := fmt.Sprintf("app-%d", r.names.Add(1))
	all := map[string][]string{"description": {"the " + name + " team's, in (parentheses)"}}
	maps.Copy(all, attributes)
	dn, err := r.server.AddService(r.Context(), name, all)
	if err != nil {
		r.Fatal(err)
	}
	return dn
}

// config is for fresh entries, reached over verified TLS.
func (r *rig) config(mode upstream.Capability) ldap.Config {
	r.Helper()
	config := ldap.Config{
		Server: ldap.Server{Host: r.server.Host, Port: r.server.TLSPort, CACertificate: r.server.CA},
		Admin:  r.as(r.admin), Mode: mode, Claim: "shop/test/app", NewPassword: upstreamtest.NewPassword,
	}
	if mode == upstream.Alternate {
		config.Entries = [2]string{r.entry(), r.entry()}
		return config
	}
	config.DN = r.entry()
	return config
}

func (r *rig) as(admin secret.Value) func(context.Context) ([]secret.Value, error) {
	return func(context.Context) ([]secret.Value, error) { return []secret.Value{admin}, nil }
}

func (r *rig) open(config ldap.Config) upstream.Upstream {
	r.Helper()
	u, err := ldap.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

func (r *rig) propose(u upstream.Upstream, current secret.Value) secret.Value {
	r.Helper()
	candidate, err := u.Propose(r.Context(), current)
	if err != nil {
		r.Fatal(err)
	}
	return candidate
}

func (r *rig) issue(u upstream.Upstream, run authority.RunID, current secret.Value) secret.Value {
	r.Helper()
	return upstreamtest.Issue(r, u, run, current)
}

func (r *rig) is(u upstream.Upstream, want upstream.Verdict, v secret.Value, what string) {
	r.Helper()
	upstreamtest.Is(r, u, want, v, what)
}

func (r *rig) values(dn, attribute string) []string {
	r.Helper()
	values, err := r.server.Values(r.Context(), dn, attribute)
	if err != nil {
		r.Fatal(err)
	}
	return values
}

func (r *rig) set(dn, attribute string, values ...string) {
	r.Helper()
	if err := r.server.Set(r.Context(), dn, attribute, values...); err != nil {
		r.Fatal(err)
	}
}

// logged counts lines of the server's log. The server answers before it writes what it answered, and of one connection it
// writes the end last: so this waits until every connection has ended, which nothing here keeps open. slapd 2.5 now and then forgets one
// that it took: it never reads from it, and learns of no end. Half a minute is long enough for the others. Ten minutes end a test that
// hangs.
func (r *rig) logged(text string) int {
	r.Helper()
	began := time.Now()
	for deadline := began.Add(10 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		log := r.server.Log()
		if open, silent := connections(log); open == 0 || open == silent && time.Since(began) > 30*time.Second {
			return strings.Count(log, text)
		}
		if time.Now().After(deadline) {
			r.Fatalf("a connection has not ended:\n%s", log)
		}
	}
}

var connectionLine = regexp.MustCompile(`conn=(\d+) .*`)

// connections counts those that a log says nothing of the end of, and those of them of which it says nothing at all but that they were
// taken.
func connections(log string) (open, silent int) {
	lines := map[string]int{}
	for _, line := range connectionLine.FindAllStringSubmatch(log, -1) {
		if lines[line[1]]++; strings.Contains(line[0], " closed") {
			lines[line[1]] = -1 << 20
		}
	}
	for _, count := range lines {
		if count > 0 {
			open++
		}
		if count == 1 {
			silent++
		}
	}
	return open, silent
}

func TestConnectionsOfALog(t *testing.T) {
	open, silent := connections("conn=1 fd=12 ACCEPT from IP=1 (IP=2)\nconn=1 op=0 BIND\nconn=2 fd=13 ACCEPT from IP=1\nconn=3 fd=14 ACCEPT from IP=1\nconn=3 op=1 UNBIND\nconn=3 fd=14 closed\n")
	if open != 2 || silent != 1 {
		t.Errorf("%d are open, %d of them silent; want 2 and 1", open, silent)
	}
}

// held names the passwords of the account's entries by digests of their hashes, which are salted.
func (r *rig) held(config ldap.Config) func(*testing.T) []string {
	return func(t *testing.T) []string {
		t.Helper()
		var out []string
		for _, dn := range []string{config.DN, config.Entries[0], config.Entries[1]} {
			if dn == "" {
				continue
			}
			values, err := r.server.Values(t.Context(), dn, "userPassword")
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range values {
				sum := sha256.Sum256([]byte(value))
				out = append(out, dn+" "+hex.EncodeToString(sum[:4]))
			}
		}
		return out
	}
}

// fixture is config's upstream behind a wire that can be broken.
func (r *rig) fixture(config ldap.Config) upstreamtest.Fixture {
	r.Helper()
	proxy := realparts.NewProxy(r.T, fmt.Sprintf("%s:%d", r.server.Host, config.Server.Port))
	config.Server.Port = proxy.Port()
	return upstreamtest.Fixture{
		Upstream: r.open(config), EnforcesRun: true, Break: proxy.Break, Mend: proxy.Mend, Cut: proxy.Cut, Hold: proxy.Hold,
		Held: r.held(config), Log: r.server.Log,
	}
}
