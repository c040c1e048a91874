// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

// setup is what a platform is made of. declare writes it down, and may be called again after a change.
type setup struct {
	settle string
	// quiet is the policy's quiet window, "" for the settle time.
	quiet    string
	postgres realparts.PostgresOptions
	// alone: no server; one secret that is handed over, one that is generated, and nothing outside that checks either.
	alone bool
	// bare: no server and no secret; whoever asked for the platform adds them.
	bare bool
	// reloads, checks, programs and folders are what the host file names besides, each a line of YAML.
	reloads, checks, programs, folders []string
	// state is the state folder, checkpoint a file for checkpoints, "" for none.
	state, checkpoint string
	// rule makes the application's password, and sendPassword lets the server see it.
	rule         string
	sendPassword bool
	// gated: the token's consumer has a check, which passes when client/running names the version.
	gated bool
	// sparing: the grants file stays as it is when the estate changes.
	sparing bool
	// tokenPath is where the token's file is, beneath the folder.
	tokenPath string
}

// alone is a platform without a server.
func alone(s *setup) { s.alone = true }

// gated is one whose runs wait until a test lets the check pass.
func gated(s *setup) { s.alone, s.gated = true, true }

const (
	adminUser = "custody_admin"
	// marker is in every value that comes from Git, so that a leak of one is found by it.
	marker = "Zq9xVb7"
)

// declare writes the host file and the estate.
func (r *rig) declare() {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	more := ""
	if len(r.programs) > 0 {
		more = "\n  upstreams:" + nested(r.programs)
	}
	if r.checkpoint != "" {
		more += "\n  checkpoints: [" + r.checkpoint + "]"
	}
	r.write("custody.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Host
metadata: {name: here}
spec:
  platform: acme
  environment: production
  estate: estate
  state: %[3]s
  grants: grants.yaml
  bootstrapIdentity: keys/bootstrap
  unseal: {identity: keys/unseal}
  listen: 127.0.0.1:0
  folders:
    app: %[1]s/app%[7]s
  reloads:
    app: {signal: HUP, pidFile: %[1]s/client/pid}%[5]s
  checks:
    app: {argv: [%[2]s, play-check, %[1]s/client]}%[6]s%[4]s
`, r.dir, self, r.state, more, nested(r.reloads), nested(r.checks), nested(r.folders)))
	r.write("estate/platform.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: acme}
spec:
  environments: [production]
  rootRecipients: [%s]
  bootstrapRecipients: {production: %s}
  authority: {type: embedded}
`, r.rootKey.Public(), r.bootstrapKey.Public()))
	r.write("estate/policies.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d, rotateBefore: 5d, settle: %s, quietWindow: %s}
`, r.settle, cmp.Or(r.quiet, r.settle)))
	switch {
	case r.bare:
	case r.alone:
		r.declareAlone()
	default:
		r.declareDatabase()
	}
}

// nested are entries of a mapping in the host file's spec.
func nested(lines []string) string {
	text := ""
	for _, line := range lines {
		text += "\n    " + line
	}
	return text
}

func (r *rig) declareDatabase() {
	r.t.Helper()
	r.write("estate/database.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Upstream
metadata: {name: main-database}
spec:
  adminRef: database-admin
  postgres: {host: %[1]s, port: %[2]d, tls: disable, sendPassword: %[4]t}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: database-admin}
spec:
  purpose: Lets Custody administer the login roles of the main database
  owner: {team: platform, contact: platform@example.org}
  class: runtime
  path: postgres/main/admin
  origin: {bootstrap: {secretRef: database-admin}}
  rotation:
    policyRef: monthly
    upstreamRef: main-database
    allowInterruption: true
    postgres: {mode: overwrite, user: %[3]s}
`, r.database.Host, r.database.Port, adminUser, r.sendPassword))
	r.write("estate/app.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: app-database}
spec:
  purpose: Lets the application sign in to the main database
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: postgres/main/app
  origin: {generated: %s}
  rotation:
    policyRef: monthly
    upstreamRef: main-database
    postgres: {mode: alternate, owner: app, users: [app_a, app_b]}
  consumers:
    - name: polling
      file: {folder: app, path: polled.json, format: json, versionKey: version}
    - name: holding
      file: {folder: app, path: held.json, format: json, versionKey: version, mode: "0640", reload: app, check: app}
`, r.rule))
}

func (r *rig) declareAlone() {
	r.t.Helper()
	check := ""
	if r.gated {
		check = ", check: app"
	}
	r.write("estate/secrets.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: mail-password}
spec:
  purpose: Lets the shop send mail through the relay
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: mail/relay
  origin: {bootstrap: {secretRef: mail-password}}
  consumers:
    - name: mailer
      file: {folder: app, path: mail.json, format: json}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: session-token}
spec:
  purpose: Signs the shop's sessions
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: shop/session
  origin: {generated: {type: token}}
  rotation: {policyRef: monthly}
  consumers:
    - name: web
      file: {folder: app, path: %s, format: json, versionKey: version%s}
`, r.tokenPath, check))
}

// seal writes the bootstrap document of a secret.
func (r *rig) seal(name string, c credential) {
	r.t.Helper()
	r.sealFields(name, map[string]string{"username": c.Username, "password": c.Password})
}

func (r *rig) sealFields(name string, fields map[string]string) {
	r.t.Helper()
	value, err := secret.Text(fields)
	if err != nil {
		r.t.Fatal(err)
	}
	sealed, err := wire.Codec().Seal(context.Background(), root.Document{
		Name: name, Seeds: name, Value: value, Binding: v1alpha1.Binding{Platform: "acme", Secret: name, Path: pathOf(name)},
	}, []string{r.rootKey.Public(), r.bootstrapKey.Public()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("estate/bootstrap/"+name+".yaml", string(sealed))
}

// pathOf is where the documents that this package declares put the value of a secret that comes from a sealed one.
func pathOf(name string) string {
	known := map[string]string{"mail-password": "mail/relay", "database-admin": "postgres/main/admin", "newsletter-password": "mail/newsletter"}
	if path, ok := known[name]; ok {
		return path
	}
	return "kinds/" + strings.TrimSuffix(name, "-admin") + "/admin"
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	file := r.file(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if strings.HasPrefix(name, "estate/") || name == "custody.yaml" {
		r.enrol()
	}
}

// enrol has the operator's grants file say what the estate asks for, unless the test is about what is not granted. An estate
// that is not whole yet asks for nothing new.
func (r *rig) enrol() {
	r.t.Helper()
	if r.sparing {
		return
	}
	if _, err := os.Stat(r.file("grants.yaml")); err != nil {
		r.grants()
	}
	if grants := needed(r.file("estate")); len(grants) > 0 {
		r.grants(grants...)
	}
}

// needed is what the estate in a folder asks for, nothing while it is not whole.
func needed(folder string) (grants []grant.Grant) {
	estate, _, err := intent.Load(folder, intent.Options{Environment: "production", Types: kinds.Upstreams()})
	if err != nil || estate == nil {
		return nil
	}
	for _, need := range grant.Needed(estate) {
		grants = append(grants, need.Grant)
	}
	return grants
}

// grants replaces the operator's grants file at once: a server may be reading it.
func (r *rig) grants(grants ...grant.Grant) {
	r.t.Helper()
	next := r.file("grants.next")
	err := os.WriteFile(next, grant.Format("", grants), 0o600)
	if err == nil {
		err = os.Rename(next, r.file("grants.yaml"))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.file(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// file is the path of a name beneath the rig's folder.
func (r *rig) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.dir, name)
}

// replace edits a file of the rig.
func (r *rig) replace(name, old, with string) {
	r.t.Helper()
	text := r.read(name)
	if !strings.Contains(text, old) {
		r.t.Fatalf("%s does not hold %q", name, old)
	}
	r.write(name, strings.ReplaceAll(text, old, with))
}
