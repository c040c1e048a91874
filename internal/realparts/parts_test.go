// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machine is a made-up one: tools/install-parts finds no other programs than those in its folder.
type machine struct {
	t    *testing.T
	root string
}

// newMachine has what the script runs on, a package manager and a compiler that note what they are asked for, and an
// account with that number.
func newMachine(t *testing.T, uid string) *machine {
	t.Helper()
	m := &machine{t, t.TempDir()}
	for _, folder := range []string{"bin", "usr/sbin", "usr/bin", "etc/systemd/system/multi-user.target.wants", "cache"} {
		if err := os.MkdirAll(filepath.Join(m.root, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"awk", "basename", "bash", "cat", "chmod", "comm", "cp", "dirname", "find", "flock", "mkdir", "mv", "rm", "sed", "sha256sum", "sort", "tail", "xargs"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(m.root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	m.program("id", "echo "+uid)
	// Packages bring one program of their name, and a service of it that starts with the machine.
	m.program("apt-get", `echo "apt-get $*" >>"$ROOT/log"
[ -x "$ROOT/usr/sbin/policy-rc.d" ] || echo "services may start" >>"$ROOT/log"
for word; do
  case $word in redis-server | python3)
    printf '#!/bin/sh\n' >"$ROOT/bin/$word"
    chmod 0755 "$ROOT/bin/$word"
    : >"$ROOT/etc/systemd/system/multi-user.target.wants/$word.service" ;;
  esac
done`)
	m.program("systemctl", `echo "systemctl $*" >>"$ROOT/log"`)
	m.program("go", `case $1 in
  env) echo go1.99 && echo linux ;;
  build)
    echo "go $*" >>"$ROOT/log"
    [ ! -e "$ROOT/broken" ] || { echo "no module proxy" >&2; exit 1; }
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\n' >"$2" ;;
esac`)
	return m
}

func (m *machine) program(name, text string) {
	m.t.Helper()
	if err := WriteProgram(filepath.Join(m.root, "bin", name), []byte("#!"+filepath.Join(m.root, "bin", "bash")+"\n"+text+"\n")); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) environment() []string {
	return []string{"PATH=" + filepath.Join(m.root, "bin"), "ROOT=" + m.root, "CUSTODY_PARTS_ROOT=" + m.root, "HOME=" + m.root, "XDG_CACHE_HOME=" + filepath.Join(m.root, "cache")}
}

// run returns the exit code, and what was printed and said.
func (m *machine) run(args ...string) (code int, printed, said string) {
	m.t.Helper()
	installer, err := Installer()
	if err != nil {
		m.t.Fatal(err)
	}
	return m.command(installer, args...)
}

func (m *machine) command(program string, args ...string) (code int, printed, said string) {
	m.t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(m.t.Context(), program, args...)
	command.Env, command.Stdout, command.Stderr = m.environment(), &stdout, &stderr
	command.Stdin = strings.NewReader("n\n")
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		m.t.Fatal(err)
	} else if ok {
		code = exit.ExitCode()
	}
	return code, stdout.String(), stderr.String()
}

// log is what was asked of package manager, compiler and systemd.
func (m *machine) log() string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.root, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return string(data)
}

// want compares an exit code, and looks for patterns in what was said.
func (m *machine) want(code, wantCode int, said string, patterns ...string) {
	m.t.Helper()
	if code != wantCode {
		m.t.Errorf("exit code %d, want %d:\n%s", code, wantCode, said)
	}
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(said) {
			m.t.Errorf("it does not say %q:\n%s", pattern, said)
		}
	}
}

// What is named is installed and nothing else, after it was said; services stay off; a second call does nothing.
func TestInstallPackages(t *testing.T) {
	m := newMachine(t, "0")
	code, _, said := m.run("--ask", "redis")
	m.want(code, 0, said, `^to install from the distribution.*: redis \(packages redis-server\)\nthere is no terminal to ask on: going on\n`)
	log := m.log()
	m.want(0, 0, log, `(?m)^apt-get .*update$`, `(?m)^apt-get .* install .* redis-server$`, `(?m)^systemctl disable redis-server.service$`)
	if strings.Count(log, "\n") != 3 {
		t.Errorf("more was done than that:\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(m.root, "usr/sbin/policy-rc.d")); err == nil {
		t.Error("the policy that keeps services from starting was left behind")
	}
	code, _, said = m.run("redis")
	m.want(code, 0, said, `^all there: redis\n$`)
	if again := m.log(); again != log {
		t.Errorf("the second call did something:\n%s", again)
	}
}

// On a terminal it asks, and a no changes nothing.
func TestInstallAsks(t *testing.T) {
	m := newMachine(t, "0")
	script, err := exec.LookPath("script") // which makes a terminal
	if err != nil {
		t.Fatalf("%v\nhint: install util-linux (Debian's package bsdutils)", err)
	}
	installer, err := Installer()
	if err != nil {
		t.Fatal(err)
	}
	code, said, _ := m.command(script, "-qec", installer+" --ask redis age", filepath.Join(m.root, "typescript"))
	m.want(code, 3, said, `redis \(packages redis-server\)`, `age: Go module, about half a minute`, `Go on\? \[y/N\]`, `nothing was changed`)
	if log := m.log(); log != "" {
		t.Errorf("something was done after a no:\n%s", log)
	}
	if made, err := os.ReadDir(filepath.Join(m.root, "cache")); err != nil || len(made) != 0 {
		t.Errorf("the cache holds %v, %v", made, err)
	}
}

// An account without rights changes nothing, and is told what to run as root. The demo's call leaves the building to it.
func TestInstallWithoutRights(t *testing.T) {
	m := newMachine(t, "1000")
	for _, args := range [][]string{{"redis", "python", "age"}, {"--ask", "--no-build", "redis", "python", "age"}} {
		code, _, said := m.run(args...)
		m.want(code, 4, said, `may not install packages.*: redis, python\n`, `hint: as root: tools/install-parts redis python\n$`, `age: Go module`)
	}
	if log := m.log(); log != "" {
		t.Errorf("something was done:\n%s", log)
	}
	if err := os.Remove(filepath.Join(m.root, "bin", "apt-get")); err != nil {
		t.Fatal(err)
	}
	code, _, said := m.run("redis", "python")
	m.want(code, 4, said, `there is no apt-get`, `Debian's are redis-server python3\n$`)
}

// A program is built once, where its name and version say, and never by halves.
func TestInstallBuilds(t *testing.T) {
	m := newMachine(t, "1000")
	code, printed, said := m.run("--dry-run", "--print-path", "age")
	m.want(code, 5, said)
	if printed != "" {
		t.Errorf("a path is printed where nothing lies: %s", printed)
	}
	broken := filepath.Join(m.root, "broken")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, printed, said = m.run("--print-path", "age")
	m.want(code, 1, said, `no module proxy\n`, `error: building age failed\nhint: .*tools/sops`)
	if code, _, said := m.run("--dry-run", "age"); code != 5 || printed != "" {
		t.Errorf("after a build that failed: exit code %d, printed %q\n%s", code, printed, said)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	code, printed, said = m.run("--print-path", "age")
	m.want(code, 0, said, `building age in `)
	m.want(0, 0, printed, `^`+regexp.QuoteMeta(filepath.Join(m.root, "cache"))+`/custody/parts/age-v[0-9.]+-go1\.99-[0-9a-f]{12}/age\n$`)
	code, again, said := m.run("--print-path", "age")
	m.want(code, 0, said)
	if again != printed || said != "" {
		t.Errorf("the second call printed %q and said %q", again, said)
	}
	if got := strings.Count(m.log(), "go build"); got != 2 {
		t.Errorf("%d builds, want the failed one and one more:\n%s", got, m.log())
	}
	m.program("go", `[ "$1" = env ] && echo go2.0 && echo linux`)
	if code, _, said = m.run("--dry-run", "age"); code != 5 {
		t.Errorf("another compiler's program is taken: exit code %d\n%s", code, said)
	}
	if _, err := os.Stat(strings.TrimSpace(printed)); err != nil {
		t.Errorf("the old one: %v", err)
	}
}

// Two that build the same at once build it once.
func TestInstallBuildsOnce(t *testing.T) {
	m := newMachine(t, "1000")
	paths := make(chan string, 2)
	for range cap(paths) {
		go func() {
			_, printed, _ := m.run("--print-path", "sops")
			paths <- printed
		}()
	}
	if one, other := <-paths, <-paths; one != other || one == "" {
		t.Errorf("got %q and %q", one, other)
	}
	if got := strings.Count(m.log(), "go build"); got != 1 {
		t.Errorf("%d builds:\n%s", got, m.log())
	}
}

// Nothing is done for want of a name, and a wrong one does not pass.
func TestInstallUsage(t *testing.T) {
	m := newMachine(t, "0")
	for _, args := range [][]string{{}, {"redos"}, {"--ask"}, {"--force", "redis"}, {"--print-path", "redis"}, {"--print-path", "age", "sops"}} {
		code, _, said := m.run(args...)
		m.want(code, 2, said, `^usage: `, `hint: 'tools/install-parts --list' prints the names; 'all' is every part\n$`)
	}
	code, printed, _ := m.run("--list")
	m.want(code, 0, printed, `(?m)^redis +no +packages +key-value server$`, `(?m)^gitea +no +Go module, 5 minutes +`)
	code, printed, _ = m.run("--help")
	m.want(code, 0, printed, `--print-path`, `(?m)^  4  packages are missing`)
	if log := m.log(); log != "" {
		t.Errorf("something was done:\n%s", log)
	}
}
