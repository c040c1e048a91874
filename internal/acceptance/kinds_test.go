// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
)

// kinds are all types of upstream that have a real server here, in each of their modes. To add one, write an entry in
// kind_TYPE_test.go and name it here; kind_postgres_test.go is the example.
func kinds() []kind {
	return slices.Concat(postgresKinds(), redisKinds(), ldapKinds(), mysqlKinds(), oidcKinds(), rabbitmqKinds(), execKinds(), minioKinds(), mailKinds(), httpKinds())
}

// kind is one type of upstream in one mode, as its page says that people set it up.
type kind struct {
	// name begins with the type.
	name       string
	capability upstream.Capability
	// issues: the upstream makes the credential.
	issues bool
	// oneWay: clients cannot go around the proxy that loses replies, and lose some themselves.
	oneWay bool
	// calm: what a lost reply leaves waits for a person, so this one is run where nothing is broken alone.
	calm bool
	// crowd is how many accounts are driven at once where processes are killed: kinds that do not fence wait for a call's
	// deadline after each, and more accounts wait at the same time. Default 2.
	crowd int
	// abreast is how many accounts share the rotations where nothing is broken: kinds of which each rotation waits for
	// seconds do not make the others wait. Default 1.
	abreast int
	// model: of the kinds of its capability, this one is killed a hundred times.
	model bool
	// pace is how often each worker signs in. Default 200ms.
	pace time.Duration
	// start prepares what an administrator prepares by hand, as the page says, for each of the accounts, and has the stage
	// declare the upstream. Kinds on one server share it through the stage.
	start func(s *stage, accounts []string) part
	// signIn signs in where part.at says, with a client of its own, and uses a right of the account. It runs in the client
	// process. Accepted and Refused come without an error; Unknown says why.
	signIn func(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error)
}

// part is a kind that was started.
type part struct {
	// at tells signIn where the server is; no proxy lies between.
	at string
	// upstream is the name of the Upstream document.
	upstream string
	// account returns the parameters of one account, as a line of YAML beneath rotation.
	account func(name string) string
	// origin is a line of YAML; by default a password of 24 characters, for kinds that issue {issued: {}}.
	origin string
	// held names, by the server's own root, every credential of the account that would be accepted, or that exists. Nil
	// where nobody can tell; that what was delivered before is refused is checked of every kind.
	held func(ctx context.Context, name string) ([]string, error)
	// rights describes, by the server's own root, what the credential in force may do. The text must not change, whichever
	// credential that is. Nil where rights are not the server's to keep.
	rights func(ctx context.Context, name string, fields map[string]string) (string, error)
	// log is the server's, shown when a test fails. Optional.
	log func() string
}

// live is a kind on the stage.
type live struct {
	kind
	part
	stage    *stage
	server   string   // that it shares with other kinds
	secrets  []string // one for each account
	client   *kindClient
	versions map[string]int    // at the start of the test
	before   map[string]string // rights at the start
}

// plan is what a test of kinds wants.
type plan struct {
	settle string
	// quiet is the policy's quiet window, "" for the settle time.
	quiet string
	// accounts of each kind.
	accounts func(kind) int
	// workers for each account, none of which signs in more often than each pace.
	workers func(kind) int
	pace    time.Duration
	// holds: half of the workers keep what they read until they are reloaded, which is checked.
	holds bool
	// proxied: whatever Custody says to a server goes through a proxy.
	proxied bool
}

// stage is one platform that carries many kinds, and their servers.
type stage struct {
	*rig
	plan
	kinds   []*live
	admins  []string // managed secrets of admins that rotate
	started map[string]any
	server  string // the one being prepared
	proxies map[string][]*realparts.Proxy
	drive   *driver

	past      sync.Mutex
	delivered map[string]map[string]map[string]string // fields by secret and version
}

// once starts a server for all kinds that share it.
func once[T any](s *stage, server string, start func() T) T {
	s.t.Helper()
	s.server = server
	if made, ok := s.started[server]; ok {
		return made.(T)
	}
	made := start()
	s.started[server] = made
	return made
}

// via returns the host and port under which documents name a server's address.
func (s *stage) via(host string, port int) (string, int) {
	s.t.Helper()
	if !s.proxied {
		return host, port
	}
	proxy := realparts.NewProxy(s.t, net.JoinHostPort(host, fmt.Sprint(port)))
	s.proxies[s.server] = append(s.proxies[s.server], proxy)
	return "127.0.0.1", proxy.Port()
}

// upstream declares an Upstream document: spec is YAML. An admin credential comes from a bootstrap document; with
// rotation, its account as a line of YAML, it rotates itself.
func (s *stage) upstream(name, spec string, admin map[string]string, rotation string) {
	s.t.Helper()
	text := "apiVersion: custody.dev/v1alpha1\nkind: Upstream\nmetadata: {name: " + name + "}\nspec:\n"
	if admin != nil {
		text += "  adminRef: " + name + "-admin\n"
	}
	text += "  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
	if admin != nil {
		text += fmt.Sprintf(`---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %[1]s-admin}
spec:
  purpose: Lets Custody administer %[1]s
  owner: {team: platform, contact: platform@example.org}
  class: runtime
  path: kinds/%[1]s/admin
  origin: {bootstrap: {secretRef: %[1]s-admin}}
`, name)
		if rotation != "" {
			text += fmt.Sprintf("  rotation:\n    policyRef: monthly\n    upstreamRef: %s\n    allowInterruption: true\n    %s\n", name, rotation)
			s.admins = append(s.admins, name+"-admin")
		}
		s.sealFields(name+"-admin", admin)
	}
	s.write("estate/upstream-"+name+".yaml", text)
}

// declareKind writes the documents of a kind's secrets.
func (s *stage) declareKind(l *live) {
	s.t.Helper()
	interrupts := ""
	if l.capability == upstream.Overwrite {
		interrupts = "\n    allowInterruption: true"
	}
	var documents []string
	for _, name := range l.secrets {
		consumers := fmt.Sprintf("    - name: polling\n      file: {folder: app, path: %s.polled.json, format: json, versionKey: version}\n", name)
		if s.holds {
			consumers += fmt.Sprintf("    - name: holding\n      file: {folder: app, path: %s.held.json, format: json, versionKey: version, reload: %s, check: %s}\n", name, l.name, l.name)
		}
		documents = append(documents, fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %s}
spec:
  purpose: Lets the application sign in
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: kinds/accounts/%s
  origin: %s
  rotation:
    policyRef: monthly
    upstreamRef: %s%s
    %s
  consumers:
%s`, name, name, l.origin, l.part.upstream, interrupts, l.account(account(name)), consumers))
	}
	s.write("estate/kind-"+l.name+".yaml", strings.Join(documents, "---\n"))
}

// account is the name of a secret's account, in letters that every server takes.
func account(secret string) string { return strings.ReplaceAll(secret, "-", "_") }

// newStage starts the servers of the chosen kinds, the platform, and the clients, and waits for every first credential.
func newStage(t *testing.T, chosen []kind, p plan) *stage {
	t.Helper()
	began := time.Now()
	s := &stage{plan: p, started: map[string]any{}, proxies: map[string][]*realparts.Proxy{}, delivered: map[string]map[string]map[string]string{}}
	s.rig = newRig(t, p.settle, func(set *setup) { set.bare, set.quiet = true, p.quiet })
	for _, k := range chosen {
		l := &live{kind: k, stage: s, versions: map[string]int{}, before: map[string]string{}}
		l.pace = cmp.Or(l.pace, 200*time.Millisecond)
		l.crowd, l.abreast = cmp.Or(l.crowd, 2), cmp.Or(l.abreast, 1)
		var accounts []string
		for i := range p.accounts(l.kind) {
			l.secrets = append(l.secrets, fmt.Sprintf("%s-%d", k.name, i+1))
			accounts = append(accounts, account(l.secrets[i]))
		}
		l.part = k.start(s, accounts)
		l.server = s.server
		switch {
		case l.origin != "":
		case l.issues:
			l.origin = "{issued: {}}"
		default:
			l.origin = "{generated: {type: password, length: 24}}"
		}
		s.declareKind(l)
		s.kinds = append(s.kinds, l)
		folder := s.file("clients/" + l.name)
		s.reloads = append(s.reloads, fmt.Sprintf("%s: {signal: HUP, pidFile: %s/pid}", l.name, folder))
		s.checks = append(s.checks, fmt.Sprintf("%s: {argv: [/bin/sh, %s/check]}", l.name, folder))
	}
	s.declare()
	started := time.Since(began)
	for _, l := range s.kinds {
		l.startClient()
	}
	s.serve()
	s.drive = follow(s.t, s.rig.client, s.remember)
	s.ready()
	t.Logf("%d kinds on %d servers, started in %s, first credentials in %s",
		len(s.kinds), len(s.started), started.Round(time.Millisecond), (time.Since(began) - started).Round(time.Millisecond))
	return s
}

// ready waits until everything is handed over, issued and delivered, and notes how things stand.
func (s *stage) ready() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for _, l := range s.kinds {
		for _, name := range l.secrets {
			row, err := s.drive.await(ctx, name, func(row inventory.Row) bool { return row.State == "steady" && row.Last != nil })
			if err != nil {
				s.t.Fatalf("issuing %s: %v\n%s%s", name, err, tail(s.log()), l.said())
			}
			if l.versions[name] = number(row.Version); l.versions[name] != 1 {
				s.t.Errorf("%s begins with version %q", name, row.Version)
			}
			l.before[name] = l.allowed(s.t, name)
		}
	}
	for _, name := range s.admins {
		if _, err := s.drive.await(ctx, name, func(row inventory.Row) bool { return row.State == "steady" }); err != nil {
			s.t.Fatalf("handing over %s: %v\n%s", name, err, tail(s.log()))
		}
	}
}

// remember keeps what was delivered as a version.
func (s *stage) remember(name, _ string) {
	fields, err := readFields(s.file("app/" + name + ".polled.json"))
	if err != nil {
		return // an admin's has no file
	}
	s.past.Lock()
	defer s.past.Unlock()
	if s.delivered[name] == nil {
		s.delivered[name] = map[string]map[string]string{}
	}
	s.delivered[name][fields["version"]] = fields
}

// fields are what the polling file of a secret holds.
func (s *stage) fields(name string) map[string]string {
	s.t.Helper()
	fields, err := readFields(s.file("app/" + name + ".polled.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	return fields
}

// allowed are the rights of the credential in force.
func (l *live) allowed(t *testing.T, name string) string {
	t.Helper()
	if l.rights == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	text, err := l.rights(ctx, account(name), l.stage.fields(name))
	if err != nil {
		t.Errorf("asking for the rights of %s: %v", name, err)
	}
	return text
}

func (l *live) said() string {
	if l.log == nil {
		return ""
	}
	return "\nthe server of " + l.name + " says:\n" + tail(l.log())
}

// tail is the end of a long text.
func tail(text string) string { return text[max(0, len(text)-6000):] }

// number is a version's own, 0 when there is none.
func number(version string) int {
	n := 0
	_, _ = fmt.Sscanf(version, "%d.", &n)
	return n
}

// partyTypes are the types of upstream whose kinds share a platform: so many that their waiting overlaps, so few that a
// small machine carries their servers and clients.
func partyTypes() [][]string {
	return [][]string{{"postgres", "redis", "exec", "http"}, {"ldap", "mysql", "oidc", "minio"}, {"rabbitmq", "mail"}}
}

// ofType says whether a kind is of one of these types.
func (k kind) ofType(types ...string) bool {
	return slices.ContainsFunc(types, func(of string) bool { return k.name == of || strings.HasPrefix(k.name, of+"-") })
}

// parties are the kinds that share a platform; where things are broken, without those that are calm. A party is named by
// its kinds; -run names some of them behind the first slash, and then only their servers are started.
func parties(t *testing.T, broken bool, test func(t *testing.T, kinds []kind)) {
	t.Helper()
	_, pattern, _ := strings.Cut(flag.Lookup("test.run").Value.String(), "/")
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, types := range partyTypes() {
		var names []string
		some := slices.DeleteFunc(kinds(), func(k kind) bool {
			return !k.ofType(types...) || !wanted.MatchString(k.name) || broken && k.calm
		})
		for _, k := range some {
			names = append(names, k.name)
		}
		if len(some) > 0 {
			ran++
			t.Run(strings.Join(names, "+"), func(t *testing.T) { test(t, some) })
		}
	}
	if ran == 0 {
		t.Fatalf("no kind of this test is named %s", pattern)
	}
}

// elsewhere are types of upstream that have no real server here, and where they are run instead.
var elsewhere = map[string]string{
	"aws":    "a server built from the published description, in the adapter's own tests",
	"github": "a server built from the published description, in the adapter's own tests",
}

// TestKindsAreWellFormed checks the table, that no type of upstream is missing from it, that every kind is run, once, and
// that each class has its model.
func TestKindsAreWellFormed(t *testing.T) {
	seen, models := map[string]bool{}, map[string]int{}
	for _, k := range kinds() {
		if seen[k.name] || !regexp.MustCompile(`^[a-z][a-z-]*[a-z]$`).MatchString(k.name) {
			t.Errorf("name %q is taken or malformed", k.name)
		}
		seen[k.name] = true
		if models[k.class()] += 0; k.model {
			models[k.class()]++
		}
		in := 0
		for _, types := range partyTypes() {
			if k.ofType(types...) {
				in++
			}
		}
		if in != 1 {
			t.Errorf("%s is in %d parties, want 1", k.name, in)
		}
		if k.start == nil || k.signIn == nil || k.capability == "" {
			t.Errorf("%s is not complete", k.name)
		}
	}
	types := reflect.TypeFor[v1alpha1.Account]()
	for i := range types.NumField() {
		name, _, _ := strings.Cut(types.Field(i).Tag.Get("json"), ",")
		there := slices.ContainsFunc(kinds(), func(k kind) bool { return k.ofType(name) })
		if _, excused := elsewhere[name]; there == excused {
			t.Errorf("type %s: in the table: %v, run elsewhere: %v; want one of the two", name, there, excused)
		}
	}
	for class, n := range models {
		if n != 1 {
			t.Errorf("%d kinds are the model of %s, want 1", n, class)
		}
	}
}

// class is the capability, kinds that issue apart.
func (k kind) class() string {
	if k.issues {
		return "issued"
	}
	return string(k.capability)
}

// shell writes the check of a client: the version of a secret that it runs on, as the client process itself noted it.
func (l *live) shell(folder string) {
	l.stage.write("clients/"+l.name+"/check", fmt.Sprintf("read -r running < %s/running.${CUSTODY_SECRET##*/} || exit 2\necho \"$running\"\n[ \"$running\" = \"$CUSTODY_VERSION\" ]\n", folder))
	_ = os.Remove(folder + "/pid")
}

// must ends the test when preparing a server failed.
func (s *stage) must(_ any, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// authorities is a block of YAML, beneath a mapping indented by two, that names a server's certificate authority.
func authorities(pem string) string {
	return "  caCertificate: |\n    " + strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n    ") + "\n"
}
