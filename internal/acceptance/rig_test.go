// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// rig is a whole platform in a folder: a server, an estate, a host file, and the process that serves it.
type rig struct {
	t        *testing.T
	dir      string
	postgres *realparts.Server
	admin    credential
	rootKey  root.Identity
	client   *server.Client

	serving *exec.Cmd
	ended   chan struct{}
	mu      sync.Mutex
	steps   []string // of the run in hand, as the serving process logged them
	seen    chan string
	logs    strings.Builder
}

const adminUser = "custody_admin"

// newRig makes the platform: an admin credential that is handed over and rotates itself, and an application credential
// of two alternating users, delivered to two files.
func newRig(t *testing.T, settle string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), postgres: realparts.Postgres(t, realparts.PostgresOptions{}), seen: make(chan string, 4096)}
	identity := func(name string) root.Identity {
		made, err := root.NewIdentity(wire.Random())
		if err != nil {
			t.Fatal(err)
		}
		r.write("keys/"+name, string(made.ExposeFile(time.Now())))
		return made
	}
	r.rootKey = identity("root")
	boot := identity("bootstrap")
	identity("unseal")
	for _, folder := range []string{"app", "client"} {
		if err := os.MkdirAll(filepath.Join(r.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.admin = credential{Username: adminUser, Password: "bootstrap-" + strings.Repeat("Zq9", 8)}
	r.sql(fmt.Sprintf("CREATE ROLE %s LOGIN CREATEROLE PASSWORD '%s'", adminUser, r.admin.Password))
	r.declare(settle, boot.Public())
	r.seal(boot.Public())
	r.client = server.Dial(wire.SocketPath(filepath.Join(r.dir, "state")))
	t.Cleanup(r.kill)
	return r
}

func (r *rig) sql(text string) []string {
	r.t.Helper()
	rows, err := r.postgres.Exec(context.Background(), text)
	if err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	return rows
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) declare(settle, bootstrapRecipient string) {
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("custody.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Host
metadata: {name: here}
spec:
  platform: acme
  environment: production
  estate: estate
  state: state
  bootstrapIdentity: keys/bootstrap
  unseal: {identity: keys/unseal}
  listen: 127.0.0.1:0
  folders: {app: %[1]s/app}
  reloads:
    app: {signal: HUP, pidFile: %[1]s/client/pid}
  checks:
    app: {argv: [%[2]s, play-check, %[1]s/client]}
`, r.dir, self))
	r.write("estate/platform.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: acme}
spec:
  environments: [production]
  rootRecipients: [%s]
  bootstrapRecipients: {production: %s}
  authority: {type: embedded}
`, r.rootKey.Public(), bootstrapRecipient))
	r.write("estate/policies.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d, rotateBefore: 5d, settle: %s}
`, settle))
	r.write("estate/database.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Upstream
metadata: {name: main-database}
spec:
  postgres: {host: %[1]s, port: %[2]d, adminRef: database-admin, tls: disable}
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
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: app-database}
spec:
  purpose: Lets the application sign in to the main database
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: postgres/main/app
  origin: {generated: {type: password, length: 24}}
  rotation:
    policyRef: monthly
    upstreamRef: main-database
    postgres: {mode: alternate, owner: app, users: [app_a, app_b]}
  consumers:
    - name: polling
      file: {folder: app, path: polled.json, format: json, versionKey: version}
    - name: holding
      file: {folder: app, path: held.json, format: json, versionKey: version, reload: app, check: app}
`, r.postgres.Host, r.postgres.Port, adminUser))
}

// seal writes the admin's bootstrap document.
func (r *rig) seal(bootstrapRecipient string) {
	value, err := secret.Text(map[string]string{"username": r.admin.Username, "password": r.admin.Password})
	if err != nil {
		r.t.Fatal(err)
	}
	sealed, err := wire.Codec().Seal(context.Background(), root.Document{
		Name: "database-admin", Seeds: "database-admin", Value: value,
		Binding: v1alpha1.Binding{Platform: "acme", Secret: "database-admin"},
	}, []string{r.rootKey.Public(), bootstrapRecipient})
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("estate/bootstrap/database-admin.yaml", string(sealed))
}

// serve starts `custody serve` and waits until it answers.
func (r *rig) serve() {
	r.t.Helper()
	command := exec.Command(custody(r.t), "serve", "--host", filepath.Join(r.dir, "custody.yaml"))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := command.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	r.serving, r.ended = command, ended
	up := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			r.mu.Lock()
			r.logs.WriteString(lines.Text() + "\n")
			r.mu.Unlock()
			attributes := logged(lines.Text())
			switch {
			case attributes["msg"] == "serving":
				close(up)
			case attributes["msg"] == "step" && attributes["secret"] == "app-database":
				r.mu.Lock()
				r.steps = append(r.steps, attributes["step"])
				r.mu.Unlock()
				r.seen <- attributes["step"]
			}
		}
	}()
	select {
	case <-up:
	case <-time.After(30 * time.Second):
		r.t.Fatalf("custody serve did not come up:\n%s", r.log())
	}
}

// logged reads the attributes of a line that hold no spaces.
func logged(line string) map[string]string {
	attributes := map[string]string{}
	for _, field := range strings.Fields(line) {
		if key, value, ok := strings.Cut(field, "="); ok {
			attributes[key] = value
		}
	}
	return attributes
}

func (r *rig) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs.String()
}

// kill ends the serving process as a power cut would, and returns the last step that it logged.
func (r *rig) kill() {
	if r.serving == nil {
		return
	}
	_ = r.serving.Process.Kill()
	<-r.ended
	_ = r.serving.Wait()
	r.serving = nil
}

func (r *rig) lastStep() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.steps) == 0 {
		return ""
	}
	return r.steps[len(r.steps)-1]
}

// row returns one secret's inventory row.
func (r *rig) row(name string) inventory.Row {
	r.t.Helper()
	rows, err := r.client.Inventory(context.Background())
	if err != nil {
		r.t.Fatalf("inventory: %v", err)
	}
	i := slices.IndexFunc(rows, func(row inventory.Row) bool { return row.Secret == name })
	if i < 0 {
		r.t.Fatalf("%s is not in the inventory", name)
	}
	return rows[i]
}

func (r *rig) request(name string) {
	r.t.Helper()
	ask := server.RotateRequest{ID: wire.NewID(), Secret: name, Reason: "acceptance test"}
	if _, err := r.client.Rotate(context.Background(), ask); err != nil {
		r.t.Fatalf("requesting rotation: %v", err)
	}
}

// rotate asks for a rotation of the secret and waits until it is done.
func (r *rig) rotate(name string) {
	r.t.Helper()
	before := r.row(name).Version
	r.request(name)
	r.settled(name, before)
}

func (r *rig) settled(name, before string) {
	r.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		row := r.row(name)
		if row.Version != before && row.Live == nil && row.Version != "" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("rotating %s did not end; it waits for %q; live %+v\n%s", name, row.Waiting, row.Live, r.log())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// current reads the credential that the polling file holds.
func (r *rig) current() credential {
	r.t.Helper()
	c, err := readCredential(filepath.Join(r.dir, "app", "polled.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) refused(c credential) bool {
	return refused(signIn(r.postgres.Host, r.postgres.Port, c))
}

func (r *rig) startClient(ignoresReload bool) *client {
	return startClient(r.t, clientPlan{
		Host: r.postgres.Host, Port: r.postgres.Port, Folder: filepath.Join(r.dir, "client"), Workers: 8, Every: 100 * time.Millisecond,
		Polled: filepath.Join(r.dir, "app", "polled.json"), Held: filepath.Join(r.dir, "app", "held.json"), IgnoresReload: ignoresReload,
	})
}
