// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// farm is a platform of many generated secrets for benchmarks, each declared in a file of its own and delivered to a file of its
// own, all in one folder. The built binary serves it.
type farm struct {
	b       *testing.B
	dir     string
	count   int
	client  *server.Client
	serving *exec.Cmd
	address string // of health and metrics
	// traced, when set, is where strace writes the system calls of the server.
	traced string
}

// counted are the system calls that a traced server is asked for.
var counted = map[string][]string{
	"fsync": {"fsync"}, "fdatasync": {"fdatasync"}, "getdents": {"getdents64"}, "stat": {"stat", "lstat", "fstat", "newfstatat", "statx"},
}

// newFarm declares that many secrets and serves nothing yet.
func newFarm(b *testing.B, count int) *farm {
	b.Helper()
	f := &farm{b: b, dir: b.TempDir(), count: count}
	recipient := map[string]string{}
	for _, name := range []string{"root", "bootstrap", "unseal"} {
		made, err := root.NewIdentity()
		if err != nil {
			b.Fatal(err)
		}
		recipient[name] = made.Public()
		f.write("keys/"+name, string(made.ExposeFile(time.Now())))
	}
	if err := os.MkdirAll(filepath.Join(f.dir, "app"), 0o700); err != nil {
		b.Fatal(err)
	}
	f.write("custody.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Host
metadata: {name: here}
spec:
  platform: acme
  environment: production
  estate: estate
  state: state
  grants: grants.yaml
  bootstrapIdentity: keys/bootstrap
  unseal: {identity: keys/unseal}
  listen: 127.0.0.1:0
  folders: {app: %s/app}
`, f.dir))
	f.write("estate/platform.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: acme}
spec:
  environments: [production]
  rootRecipients: [%s]
  bootstrapRecipients: {production: %s}
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d, rotateBefore: 5d}
`, recipient["root"], recipient["bootstrap"]))
	for i := range count {
		f.declare(i, "Signs the sessions of a service")
	}
	f.write("grants.yaml", string(grant.Format("", needed(filepath.Join(f.dir, "estate")))))
	f.client = server.Dial(wire.SocketPath(filepath.Join(f.dir, "state")))
	b.Cleanup(f.stop)
	return f
}

// tokenName is the name of the secret of that number.
func tokenName(i int) string { return fmt.Sprintf("token-%06d", i) }

func (f *farm) declare(i int, purpose string) {
	f.b.Helper()
	f.write("estate/"+tokenName(i)+".yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %[1]s}
spec:
  purpose: %[2]s
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: shop/%[1]s
  origin: {generated: {type: token}}
  rotation: {policyRef: monthly}
  consumers:
    - name: web
      file: {folder: app, path: %[1]s.json, format: json, versionKey: version}
`, tokenName(i), purpose))
}

func (f *farm) write(name, content string) {
	f.b.Helper()
	file := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		f.b.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		f.b.Fatal(err)
	}
}

// command is one of the built binary on this platform.
func (f *farm) command(args ...string) *exec.Cmd {
	f.b.Helper()
	argv := append([]string{custody(f.b)}, append(args, "--host", filepath.Join(f.dir, "custody.yaml"))...)
	if f.traced != "" {
		names := strings.Join(concat(counted), ",")
		argv = append([]string{"strace", "-f", "-qq", "-o", f.traced, "-e", "signal=none", "-e", "trace=?" + strings.ReplaceAll(names, ",", ",?")}, argv...)
	}
	command := exec.Command(argv[0], argv[1:]...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return command
}

func concat(lists map[string][]string) (all []string) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// serve starts the server, and returns once it answers.
func (f *farm) serve() {
	f.b.Helper()
	command := f.command("serve")
	output, err := command.StderrPipe()
	if err != nil {
		f.b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		f.b.Fatal(err)
	}
	f.serving = command
	up := make(chan string, 1)
	go func() {
		defer close(up)
		said := ""
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if attributes := logged(lines.Text()); attributes["msg"] == "serving" {
				up <- attributes["address"]
			} else if len(said) < 1<<12 {
				said += lines.Text() + "\n"
			}
		}
		up <- said
	}()
	if f.address = <-up; !strings.HasPrefix(f.address, "127.0.0.1:") {
		f.b.Fatalf("custody serve ended:\n%s", f.address)
	}
}

// stop ends the server, if there is one.
func (f *farm) stop() {
	if f.serving == nil {
		return
	}
	_ = syscall.Kill(f.pid(), syscall.SIGTERM)
	_ = f.serving.Wait() // how it ended is not what is measured
	f.serving = nil
}

// pid is the server's: strace, which keeps signals to itself, has it as its child.
func (f *farm) pid() int {
	f.b.Helper()
	pid := f.serving.Process.Pid
	if f.traced == "" {
		return pid
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	if err != nil {
		f.b.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		f.b.Fatal(err)
	}
	return pid
}

// ready waits until the secrets are delivered and steady, and looks rarely enough to cost little of what is measured.
func (f *farm) ready() {
	f.b.Helper()
	for began := time.Now(); ; {
		if files, err := os.ReadDir(filepath.Join(f.dir, "app")); err != nil {
			f.b.Fatal(err)
		} else if len(files) >= f.count && f.steady() == f.count {
			return
		}
		if time.Since(began) > hang*time.Duration(1+f.count/10_000) {
			f.b.Fatalf("%d of %d secrets are steady", f.steady(), f.count)
		}
		time.Sleep(max(between, time.Since(began)/100))
	}
}

func (f *farm) steady() (count int) {
	for _, row := range f.rows() {
		if row.State == "steady" {
			count++
		}
	}
	return count
}

func (f *farm) rows() []inventory.Row {
	f.b.Helper()
	rows, err := f.client.Inventory(context.Background(), server.Filter{})
	if err != nil {
		f.b.Fatalf("inventory: %v", err)
	}
	return rows
}

// cpu is what the server has used, to a hundredth of a second.
func (f *farm) cpu() time.Duration {
	f.b.Helper()
	_, stat, ok := bytes.Cut(f.proc("stat"), []byte(") "))
	fields := strings.Fields(string(stat))
	if !ok || len(fields) < 13 {
		f.b.Fatalf("no times of the server in %q", stat)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		f.b.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		f.b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts in hundredths, whatever the kernel ticks in
}

// memory is a line of the server's status file, in MiB.
func (f *farm) memory(name string) float64 {
	f.b.Helper()
	for text := range strings.Lines(string(f.proc("status"))) {
		var kib float64
		if rest, is := strings.CutPrefix(text, name+":"); is {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				f.b.Fatal(err)
			}
			return kib / 1024
		}
	}
	f.b.Fatalf("no %s of the server", name)
	return 0
}

func (f *farm) proc(name string) []byte {
	f.b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", f.pid(), name))
	if err != nil {
		f.b.Fatal(err)
	}
	return data
}

// calls counts what strace wrote, by the names of counted. A call that another thread's interrupts stands there once more, as
// resumed, and is counted once.
func (f *farm) calls() map[string]int {
	f.b.Helper()
	text, err := os.ReadFile(f.traced)
	if err != nil {
		f.b.Fatal(err)
	}
	group := map[string]string{}
	for name, calls := range counted {
		for _, call := range calls {
			group[call] = name
		}
	}
	sums := map[string]int{}
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(line, " ")
		call, _, _ := strings.Cut(strings.TrimSpace(rest), "(")
		if name, known := group[call]; known {
			sums[name]++
		}
	}
	return sums
}
