// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"custody.dev/custody/api/v1alpha1"

	"github.com/google/go-cmp/cmp"
)

const execEstate = `apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: home}
spec:
  environments: [prod]
  rootRecipients: [RECIPIENT]
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: Upstream
metadata: {name: keys}
spec:
  exec: EXEC
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: first}
spec:
  purpose: Lets the app sign in.
  owner: {team: apps, contact: apps@example.org}
  class: runtime
  path: app/first
  origin: {generated: {type: password}}
  rotation: {policyRef: monthly, upstreamRef: keys, FIRST}
  consumers:
    - name: app
      file: {folder: app, path: first.env, format: env}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: second}
spec:
  purpose: Lets the app sign in.
  owner: {team: apps, contact: apps@example.org}
  class: runtime
  path: app/second
  origin: {generated: {type: password}}
  rotation: {policyRef: monthly, upstreamRef: keys, SECOND}
  consumers:
    - name: app
      file: {folder: app, path: second.env, format: env}
`

func TestExecKind(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	host := &v1alpha1.HostSpec{
		Platform: "home", Environment: "prod",
		Folders: map[string]string{"app": "out"}, Upstreams: map[string]v1alpha1.Command{"keyfile": {Argv: []string{"/opt/keyfile"}}},
	}
	const good = "{program: keyfile, parameters: {folder: keys}}"
	const one, two = "exec: {parameters: {name: one}}", "exec: {parameters: {name: two}}"
	for _, test := range []struct {
		name                string
		exec, first, second string
		host                *v1alpha1.HostSpec
		want                []string
	}{
		{"good", good, one, two, host, nil},
		{"good without a host", "{program: elsewhere}", one, two, nil, nil},
		{"the host does not name it", "{program: elsewhere}", one, two, host, []string{"host-name"}},
		{"the host names none", good, one, two, &v1alpha1.HostSpec{Platform: "home", Environment: "prod", Folders: host.Folders}, []string{"host-name"}},
		{"a path instead of a name", "{program: /bin/sh}", one, two, nil, []string{"upstream-form"}},
		{"parameter of the upstream", "{program: keyfile, parameters: {'a b': x}}", one, two, host, []string{"upstream-form"}},
		{"parameter of the account", good, "exec: {parameters: {'a=b': x}}", two, host, []string{"account-form"}},
		{"one account twice", good, one, one, host, []string{"account-shared"}},
		{"no parameters twice", good, "allowInterruption: false", "exec: {}", host, []string{"account-shared"}},
		{"no such mode", good, "exec: {mode: triple}", two, host, []string{"account-mode"}},
		{"overwrite interrupts", good, "exec: {mode: overwrite}", two, host, []string{"account-interrupts"}},
		{"overwrite that may", good, "allowInterruption: true, exec: {mode: overwrite}", two, host, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.NewReplacer("EXEC", test.exec, "FIRST", test.first, "SECOND", test.second, "RECIPIENT", recipient).Replace(execEstate)
			_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, Options{Environment: "prod", Host: test.host})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Rule)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, faults)
			}
		})
	}
}

// The documents that the recipes' pages print are an estate's but for its platform, its policy and its sealed values.
func TestHTTPExamplesLint(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	before, _, _ := strings.Cut(execEstate, "---\napiVersion: custody.dev/v1alpha1\nkind: ManagedSecret")
	platform, policy, _ := strings.Cut(before, "---\napiVersion: custody.dev/v1alpha1\nkind: Upstream")
	_, policy, _ = strings.Cut(policy, "---\n")
	pages, err := filepath.Glob("../recipe/recipes/*.md")
	if err != nil || len(pages) < 11 {
		t.Fatalf("only %d pages were found: %v", len(pages), err)
	}
	for _, page := range append(pages, "../recipe/page.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, documents, _ := strings.Cut(string(text), "```yaml\n")
		documents, _, _ = strings.Cut(documents, "```")
		estate := strings.ReplaceAll(platform, "RECIPIENT", recipient) + "---\n" + policy + "---\n" + documents
		_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(estate)}}, Options{Environment: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults {
			if fault.Rule != "origin-bootstrap" { // what a reader seals
				t.Errorf("%s: %s", page, fault)
			}
		}
	}
}

// A recipe is full of words such as token and password, with expressions beside them: none of that is a secret.
func TestHTTPRecipeWithinAnEstate(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	for _, name := range []string{"gitea-token", "gitea-oauth-application", "github-deploy-key", "gitlab-token-rotate"} {
		text, err := os.ReadFile("../recipe/recipes/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var define strings.Builder
		for line := range strings.Lines(string(text)) {
			define.WriteString("      " + line)
		}
		estate := strings.NewReplacer("RECIPIENT", recipient, "exec: EXEC", "http:\n    url: https://api.example.org\n    define:\n"+define.String(),
			"FIRST", "http: {}", "SECOND", "http: {}").Replace(execEstate)
		_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(estate)}}, Options{Environment: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults {
			switch fault.Rule {
			case "account-form", "account-interrupts", "admin-needed": // the accounts here are bare
			default:
				t.Errorf("%s: %s", name, fault)
			}
		}
	}
}

// Where passwords are kept in a file, the host names its folder: elsewhere the file would not be found when it is needed.
func TestMailFolderIsTheHosts(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	for _, test := range []struct {
		name string
		host *v1alpha1.HostSpec
		want []string
	}{
		{"the host names it", &v1alpha1.HostSpec{Platform: "home", Environment: "prod", Folders: map[string]string{"app": "out", "mail": "/etc/dovecot"}}, nil},
		{"the host does not", &v1alpha1.HostSpec{Platform: "home", Environment: "prod", Folders: map[string]string{"app": "out"}}, []string{`host-name the host has no folder "mail" (it has: app)`}},
		{"no host", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.NewReplacer(
				"exec: EXEC", "mail: {submission: {host: mail.internal}, passwdFile: {folder: mail, file: users}}", "RECIPIENT", recipient,
				"FIRST", "allowInterruption: true, mail: {mode: overwrite, user: one}", "SECOND", "mail: {mode: alternate, users: [two, three]}",
			).Replace(execEstate)
			_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, Options{Environment: "prod", Host: test.host})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Rule+" "+f.Reason)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, faults)
			}
		})
	}
}

// pageFaults are what is wrong with the example documents on a kind's page, on the host that the page shows: in an estate
// as `custody init` makes it, and but for what is sealed.
func pageFaults(t *testing.T, kind string) []string {
	t.Helper()
	page, err := os.ReadFile("../upstream/" + kind + "/page.md")
	if err != nil {
		t.Fatal(err)
	}
	host := pageHost(t, page)
	estate := fstest.MapFS{"rest.yaml": {Data: []byte(newStage(t).fill(`apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: home}
spec:
  environments: [prod]
  rootRecipients: ["{{ROOT}}"]
  bootstrapRecipients: {prod: "{{DEV}}"}
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d, rotateBefore: 7d}
`))}}
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		if strings.HasPrefix(string(block[1]), "apiVersion: ") {
			estate[fmt.Sprintf("page-%d.yaml", i)] = &fstest.MapFile{Data: block[1]}
		}
	}
	if len(estate) == 1 {
		t.Fatal("the page has no example")
	}
	_, faults, err := loadFS(estate, Options{Environment: "prod", Host: &host})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, fault := range faults {
		// Bootstrap documents are sealed to recipients of one's own, so that a page has none.
		if fault.Rule != "origin-bootstrap" {
			found[fault.Rule+": "+fault.Reason] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// pageHost is the host file of `custody init` with what a page shows of one.
func pageHost(t *testing.T, page []byte) v1alpha1.HostSpec {
	t.Helper()
	_, shown, found := strings.Cut(string(page), "```yaml\nspec:\n")
	shown, _, closed := strings.Cut(shown, "```")
	if !found || !closed {
		t.Fatal("the page shows nothing of the host file")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "custody.yaml")
	text := `apiVersion: custody.dev/v1alpha1
kind: Host
metadata: {name: host}
spec:
  platform: home
  environment: prod
  estate: estate
  state: state
  unseal: {identity: keys/unseal.agekey}
  folders: {app: run/app}
` + shown
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	host, faults, err := LoadHost(file)
	if err != nil || len(faults) > 0 {
		t.Fatalf("the host file that the page shows: %v %v", err, faults)
	}
	return host.Spec
}

// TestPagesLint: readers copy what a page shows.
func TestPagesLint(t *testing.T) {
	for _, kind := range []string{"oidc", "github", "aws", "exec"} {
		t.Run(kind, func(t *testing.T) {
			if diff := cmp.Diff([]string(nil), pageFaults(t, kind)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
