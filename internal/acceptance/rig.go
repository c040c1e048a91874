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

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// credential is what a sign-in to PostgreSQL takes.
type credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Version  string `json:"version"`
}

// rig is a whole platform in a folder: a server, an estate, a host file, and the process that serves it.
type rig struct {
	setup
	t        *testing.T
	dir      string
	database *realparts.Server
	// admin is the bootstrap document's credential.
	admin                 credential
	rootKey, bootstrapKey root.Identity
	client                *server.Client

	// env is what the serving process has in its environment besides that of the test.
	env     []string
	serving *exec.Cmd
	ended   chan struct{}
	address string // of health and metrics
	// watched is the secret whose steps are followed; every, when set, is told of each step of each secret.
	watched string
	every   func(secret, step string)
	mu      sync.Mutex
	steps   []string // of the run in hand, as the serving process logged them
	seen    chan string
	logs    strings.Builder
}

// newRig makes the platform: an admin credential that is handed over and rotates itself, and an application credential
// of two alternating users, delivered to two files. Options change that.
func newRig(t *testing.T, settle string, options ...func(*setup)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), watched: "app-database", seen: make(chan string, 4096)}
	r.setup = setup{settle: settle, state: "state", rule: "{type: password, length: 24}", tokenPath: "session.json"}
	for _, option := range options {
		option(&r.setup)
	}
	r.rootKey, r.bootstrapKey = r.identity("root"), r.identity("bootstrap")
	r.identity("unseal")
	for _, folder := range []string{"app", "client"} {
		if err := os.MkdirAll(filepath.Join(r.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.admin = credential{Username: adminUser, Password: "bootstrap-" + strings.Repeat(marker, 3)}
	switch {
	case r.bare:
	case r.alone:
		r.watched = "session-token"
		r.seal("mail-password", r.admin)
	default:
		r.database = realparts.Postgres(t, r.postgres)
		r.sql(fmt.Sprintf("CREATE ROLE %s LOGIN CREATEROLE PASSWORD '%s'", adminUser, r.admin.Password))
		r.seal("database-admin", r.admin)
	}
	r.declare()
	r.client = server.Dial(wire.SocketPath(r.file(r.state)))
	t.Cleanup(r.kill)
	return r
}

// identity makes a key and writes it to its file.
func (r *rig) identity(name string) root.Identity {
	r.t.Helper()
	made, err := root.NewIdentity()
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("keys/"+name, string(made.ExposeFile(time.Now())))
	return made
}

func (r *rig) sql(text string) []string {
	r.t.Helper()
	rows, err := r.database.Exec(context.Background(), text)
	if err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	return rows
}

// serve starts `custody serve` and waits until it answers.
func (r *rig) serve() {
	r.t.Helper()
	command := exec.Command(custody(r.t), "serve", "--host", filepath.Join(r.dir, "custody.yaml"))
	command.Env = append(os.Environ(), r.env...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := command.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	command.Stdout = &lockedWriter{r}
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended, up := make(chan struct{}), make(chan string, 1)
	r.serving, r.ended = command, ended
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(output)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			_, _ = (&lockedWriter{r}).Write([]byte(lines.Text() + "\n"))
			attributes := logged(lines.Text())
			if attributes["msg"] == "step" {
				r.mu.Lock()
				every := r.every
				r.mu.Unlock()
				if every != nil {
					every(attributes["secret"], attributes["step"])
				}
			}
			switch {
			case attributes["msg"] == "serving":
				up <- attributes["address"]
			case attributes["msg"] == "step" && attributes["secret"] == r.watched:
				r.mu.Lock()
				r.steps = append(r.steps, attributes["step"])
				r.mu.Unlock()
				r.seen <- attributes["step"]
			}
		}
	}()
	select {
	case r.address = <-up:
	case <-ended:
		r.t.Fatalf("custody serve ended:\n%s", r.log())
	case <-time.After(hang):
		r.t.Fatalf("custody serve did not come up:\n%s", r.log())
	}
}

// lockedWriter keeps what the serving process says.
type lockedWriter struct{ r *rig }

func (w *lockedWriter) Write(data []byte) (int, error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.r.logs.Write(data)
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

// kill ends the serving process as a power cut would.
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
	rows, err := r.client.Inventory(context.Background(), server.Filter{})
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
	deadline := time.Now().Add(hang)
	for {
		row := r.row(name)
		if row.Version != before && row.Live == nil && row.Version != "" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("rotating %s did not end; it waits: %q; live %+v\n%s", name, row.Waiting.Said(), row.Live, r.log())
		}
		time.Sleep(between)
	}
}
