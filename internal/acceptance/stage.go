// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
)

// live is a kind on the stage.
type live struct {
	Kind
	Part
	stage    *Stage
	server   string   // that it shares with other kinds
	secrets  []string // one for each account
	client   *clients
	versions map[string]int    // at the start of the test
	before   map[string]string // rights at the start
}

// plan is what a test of kinds wants.
type plan struct {
	settle string
	// quiet is the policy's quiet window, "" for the settle time.
	quiet string
	// accounts of each kind.
	accounts func(Kind) int
	// proxied: whatever Custody says to a server goes through a proxy.
	proxied bool
	// measure, unless nil, is called when the servers run and nothing uses them yet.
	measure func()
}

// Stage is one platform that carries the kinds of a test, and their servers.
type Stage struct {
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

// T is the test that the stage belongs to: what is started with it ends with it.
func (s *Stage) T() *testing.T { return s.t }

// Must ends the test when preparing a server failed.
func (s *Stage) Must(_ any, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// File is the path of a name beneath the stage's folder, Write writes a file there.
func (s *Stage) File(name string) string { return s.file(name) }

// Write writes a file beneath the stage's folder.
func (s *Stage) Write(name, content string) { s.t.Helper(); s.write(name, content) }

// Log is what the serving process has said.
func (s *Stage) Log() string { return s.log() }

// AddFolder and AddProgram add a line of YAML to what the host file names.
func (s *Stage) AddFolder(line string) { s.folders = append(s.folders, line) }

// AddProgram adds a program of the host.
func (s *Stage) AddProgram(line string) { s.programs = append(s.programs, line) }

// AddProxy is for a server that stands behind a proxy of its own.
func (s *Stage) AddProxy(proxy *realparts.Proxy) {
	s.proxies[s.server] = append(s.proxies[s.server], proxy)
}

// Via returns the host and port under which documents name a server's address.
func (s *Stage) Via(host string, port int) (string, int) {
	s.t.Helper()
	if !s.proxied {
		return host, port
	}
	proxy := realparts.NewProxy(s.t, net.JoinHostPort(host, fmt.Sprint(port)))
	s.AddProxy(proxy)
	return "127.0.0.1", proxy.Port()
}

// Upstream declares an Upstream document: spec is YAML. An admin credential comes from a bootstrap document; with
// rotation, its account as a line of YAML, it rotates itself.
func (s *Stage) Upstream(name, spec string, admin map[string]string, rotation string) {
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
func (s *Stage) declareKind(l *live) {
	s.t.Helper()
	interrupts := ""
	if l.Capability == upstream.Overwrite {
		interrupts = "\n    allowInterruption: true"
	}
	var documents []string
	for _, name := range l.secrets {
		consumers := fmt.Sprintf("    - name: polling\n      file: {folder: app, path: %s.polled.json, format: json, versionKey: version}\n", name)
		consumers += fmt.Sprintf("    - name: holding\n      file: {folder: app, path: %s.held.json, format: json, versionKey: version, reload: %s, check: %s}\n", name, l.Name, l.Name)
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
%s`, name, name, l.Origin, l.Part.Upstream, interrupts, l.Account(account(name)), consumers))
	}
	s.write("estate/kind-"+l.Name+".yaml", strings.Join(documents, "---\n"))
}

// account is the name of a secret's account, in letters that every server takes.
func account(secret string) string { return strings.ReplaceAll(secret, "-", "_") }

// newStage starts the servers of the chosen kinds, the platform, and the clients, and waits for every first credential.
func newStage(t *testing.T, chosen []Kind, p plan, crew func(*live) crew) *Stage {
	t.Helper()
	began := time.Now()
	s := &Stage{plan: p, started: map[string]any{}, proxies: map[string][]*realparts.Proxy{}, delivered: map[string]map[string]map[string]string{}}
	s.rig = newRig(t, p.settle, func(set *setup) { set.bare, set.quiet = true, p.quiet })
	for _, k := range chosen {
		l := &live{Kind: k, stage: s, versions: map[string]int{}, before: map[string]string{}}
		var accounts []string
		for i := range p.accounts(k) {
			l.secrets = append(l.secrets, fmt.Sprintf("%s-%d", k.Name, i+1))
			accounts = append(accounts, account(l.secrets[i]))
		}
		l.Part = k.Start(s, accounts)
		l.server = s.server
		switch {
		case l.Origin != "":
		case l.Issues:
			l.Origin = "{issued: {}}"
		default:
			l.Origin = "{generated: {type: password, length: 24}}"
		}
		s.declareKind(l)
		s.kinds = append(s.kinds, l)
		folder := s.file("clients/" + l.Name)
		s.reloads = append(s.reloads, fmt.Sprintf("%s: {signal: HUP, pidFile: %s/pid}", l.Name, folder))
		s.checks = append(s.checks, fmt.Sprintf("%s: {argv: [/bin/sh, %s/check]}", l.Name, folder))
	}
	s.declare()
	started := time.Since(began)
	if p.measure != nil {
		p.measure()
	}
	for _, l := range s.kinds {
		l.startClient(crew(l))
	}
	s.serve()
	s.drive = follow(s.t, s.rig.client, s.remember)
	s.ready()
	t.Logf("%d kinds on %d servers, started in %s, first credentials in %s",
		len(s.kinds), len(s.started), started.Round(time.Millisecond), (time.Since(began) - started).Round(time.Millisecond))
	return s
}

// ready waits until everything is handed over, issued and delivered, and notes how things stand.
func (s *Stage) ready() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), hang)
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

// replaced takes out what was delivered of a secret before what is delivered now: to try it once is enough.
func (s *Stage) replaced(name string) map[string]map[string]string {
	now := s.Fields(name)["version"]
	s.past.Lock()
	defer s.past.Unlock()
	old := s.delivered[name]
	delete(s.delivered, name)
	if current, ok := old[now]; ok {
		delete(old, now)
		s.delivered[name] = map[string]map[string]string{now: current}
	}
	return old
}

// remember keeps what was delivered as a version.
func (s *Stage) remember(name, _ string) {
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

// Fields are what the polling file of a secret holds.
func (s *Stage) Fields(name string) map[string]string {
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
	if l.Rights == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	text, err := l.Rights(ctx, account(name), l.stage.Fields(name))
	if err != nil {
		t.Errorf("asking for the rights of %s: %v", name, err)
	}
	return text
}

func (l *live) said() string {
	if l.Log == nil {
		return ""
	}
	return "\nthe server of " + l.Name + " says:\n" + tail(l.Log())
}

// tail is the end of a long text.
func tail(text string) string { return text[max(0, len(text)-6000):] }

// shell writes the check of a kind's holding clients: they run on a version as soon as they have noted it.
func (l *live) shell(folder string) {
	l.stage.write("clients/"+l.Name+"/check", fmt.Sprintf("read -r running < %s/running.${CUSTODY_SECRET##*/} || exit 2\necho \"$running\"\n[ \"$running\" = \"$CUSTODY_VERSION\" ]\n", folder))
	_ = os.Remove(filepath.Join(folder, "pid"))
}
