// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/thorough"
)

// The test binary plays the clients and their check too, as the demo does.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "play-client":
			os.Exit(playClient(os.Args[2]))
		case "play-check":
			os.Exit(client.PlayCheck(os.Args[2]))
		}
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// built is the folder of the binary, once there is one.
var built string

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "custody-binary-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "custody")
	out, err := exec.Command("go", "build", "-o", path, "custody.dev/custody/cmd/custody").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building custody: %w\n%s", err, out)
	}
	return path, nil
})

func custody(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// watched is what a tour prints, with a signal when it holds some text.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	want string
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.want != "" && strings.Contains(w.text.String(), w.want) {
		w.want = ""
		w.seen()
	}
	return len(p), nil
}

func (w *watched) lastLine() string {
	lines := strings.Split(strings.TrimSpace(w.text.String()), "\n")
	return lines[len(lines)-1]
}

var folder = regexp.MustCompile(`everything happens in (.*)\)`)

// traceless wants the tour's folder to be gone, and every process that was about it.
func (w *watched) traceless(t *testing.T) {
	t.Helper()
	found := folder.FindStringSubmatch(w.text.String())
	if found == nil {
		t.Fatalf("the tour does not name its folder:\n%s", w.text.String())
	}
	if _, err := os.Lstat(found[1]); err == nil {
		t.Errorf("%s is still there", found[1])
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		t.Fatalf("listing processes: %d, %v", len(processes), err)
	}
	for _, process := range processes {
		command, _ := os.ReadFile(filepath.Join(process, "cmdline")) // it may end meanwhile
		where, _ := os.Readlink(filepath.Join(process, "cwd"))
		if strings.Contains(string(command), found[1]) || strings.HasPrefix(where, found[1]) {
			t.Errorf("%s is still there: %q in %s", process, strings.ReplaceAll(string(command), "\x00", " "), where)
		}
	}
}

// bare leaves every part out.
func bare() []string { return []string{"--without", "all"} }

// toured runs a tour to its good end, within the tour's own limit.
func toured(t *testing.T, args []string, want string) string {
	t.Helper()
	var out watched
	if code := run(t.Context(), append(args, custody(t)), &out, &out); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out.text.String())
	}
	if !regexp.MustCompile(want).MatchString(out.lastLine()) {
		t.Errorf("the last line is %q, want %s", out.lastLine(), want)
	}
	if strings.Contains(out.text.String(), "\x1b") {
		t.Error("colour was used though this is no terminal")
	}
	out.traceless(t)
	return out.text.String()
}

func TestTourWithoutParts(t *testing.T) {
	t.Parallel()
	said := toured(t, bare(), `^demo: ok \([0-9]+ sign-ins, 0 refused, 7 rotations, 0 of 6 kinds of credential; .*\)$`)
	if got := strings.Count(said, "not shown: "); got != 6 {
		t.Errorf("the tour says %d times that something was not shown, want 6:\n%s", got, said)
	}
}

// Parts that are not here are named with how to have them, and nothing is built or fetched unasked.
func TestTourNamesWhatIsMissing(t *testing.T) {
	programs := t.TempDir()
	for _, name := range []string{"awk", "basename", "bash", "cat", "cp", "dirname", "git", "grep", "id", "mv", "rm", "sed", "sh", "sha256sum"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	binary := custody(t) // before there is no Go
	t.Setenv("PATH", programs)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	// PostgreSQL and Dovecot are found outside PATH too.
	var out watched
	if code := run(t.Context(), []string{"--without", "postgresql,dovecot", binary}, &out, &out); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out.text.String())
	}
	for _, want := range []string{
		"not shown: an API token (Gitea): not built here: `tools/install-parts gitea` builds it",
		"not shown: a cloud storage key (MinIO, by the S3 interface): not built here: `tools/install-parts minio` builds it",
		"not shown: a client of an identity provider (oidc-provider): not built here: `tools/install-parts oidc-provider` builds it",
		"not shown: a database account (PostgreSQL): as root, `tools/install-parts postgresql`", " 0 of 6 kinds",
	} {
		if !strings.Contains(out.text.String(), want) {
			t.Errorf("the tour does not say %q:\n%s", want, out.text.String())
		}
	}
}

// Every kind of credential is shown. What takes minutes to build is built first, where that was not done yet.
func TestTourWithParts(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		return // no real parts in the fast loop
	}
	for _, name := range []string{"oidc-provider", "minio", "gitea"} {
		if _, err := realparts.Build(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	said := toured(t, nil, `^demo: ok \([0-9]+ sign-ins, 0 refused, 13 rotations, 6 of 6 kinds of credential; .*\)$`)
	for _, want := range []string{
		"a database account (PostgreSQL)", "an API token (Gitea)", "a cloud storage key (MinIO, by the S3 interface)", "an SMTP password (Dovecot)",
		"a client of an identity provider (oidc-provider)", "a connection string (PostgreSQL)",
	} {
		if !strings.Contains(said, "ok  shown: "+want+"\n") {
			t.Errorf("%s was not shown:\n%s", want, said)
		}
	}
	for text, want := range map[string]int{
		"ok  the old one is refused": 5, "ok  the new one is accepted": 5, "by 4 clients meanwhile, refused sign-ins: 0": 4, "by 2 clients meanwhile, refused sign-ins: 0": 1,
		"by 8 clients meanwhile, refused sign-ins: 0": 2,
	} {
		if got := strings.Count(said, text); got != want {
			t.Errorf("%q was said %d times, want %d:\n%s", text, got, want, said)
		}
	}
}

// sampled chooses one of the cases, and all of them in the long run.
func sampled[C any](t *testing.T, cases map[string]C) []string {
	t.Helper()
	names := slices.Sorted(maps.Keys(cases))
	if thorough.Long() {
		return names
	}
	one := thorough.Random(t, t.Name()).IntN(len(names))
	return names[one : one+1]
}

// A custody that does something wrong is found out.
func TestTourFails(t *testing.T) {
	wrongs := map[string]string{
		"doctor finds something":      `[ "$1" = doctor ] && exit 3`,
		"a changed record is sound":   `case "$*" in *../copy*) echo "sound: of course"; exit 0;; esac`,
		"a value turns up":            `[ "$1" = inventory ] && cat run/imported/smtp-token.env`,
		"rotations change nothing":    `[ "$1" = rotate ] && exit 5`,
		"status says another phase":   `[ "$1" = status ] && { echo "phase:        4 (steady state)"; exit 0; }`,
		"lint takes whatever it gets": `[ "$1" = lint ] && exit 3`,
	}
	for _, name := range sampled(t, wrongs) {
		t.Run(name, func(t *testing.T) {
			fake := filepath.Join(t.TempDir(), "custody")
			text := fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", wrongs[name], custody(t))
			if err := realparts.WriteProgram(fake, []byte(text)); err != nil {
				t.Fatal(err)
			}
			var out watched
			if code := run(t.Context(), append(bare(), fake), &out, &out); code != 1 || out.lastLine() != "demo: failed" {
				t.Errorf("exit code %d, last line %q, want 1 and demo: failed\n%s", code, out.lastLine(), out.text.String())
			}
			out.traceless(t)
		})
	}
}

// A rotation that changes nothing though it says so is found out by the clients' own server.
func TestTourFailsAtAnExhibit(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		return // a real part is started
	}
	fake := filepath.Join(t.TempDir(), "custody")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1 $2\" = \"rotate orders-client\" ] && { echo run x completed; exit 0; }\nexec %s \"$@\"\n", custody(t))
	if err := realparts.WriteProgram(fake, []byte(text)); err != nil {
		t.Fatal(err)
	}
	var out watched
	code := run(t.Context(), []string{"--without", "postgresql,gitea,minio,dovecot,url", fake}, &out, &out)
	if code != 1 || !strings.Contains(out.text.String(), "failed: the new one is not accepted") || !strings.Contains(out.text.String(), "the end of the log of oidc-provider:") {
		t.Errorf("exit code %d:\n%s", code, out.text.String())
	}
	out.traceless(t)
}

func TestTourInterrupted(t *testing.T) {
	if testing.Short() {
		return // real parts are started
	}
	if _, err := realparts.Build(t.Context(), "oidc-provider"); err != nil {
		t.Fatal(err)
	}
	type interruption struct {
		args []string
		at   string
	}
	cases := map[string]interruption{
		"serving":                 {bare(), "$ custody serve &"},
		"while servers start":     {nil, "Phase 0: root of trust"},
		"while exhibits are used": {[]string{"--without", "gitea,minio,dovecot"}, "A client of an identity provider"},
	}
	for _, name := range sampled(t, cases) {
		test := cases[name]
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			out := watched{want: test.at, seen: interrupt}
			if code := run(ctx, append(test.args, custody(t)), &out, &out); code != 130 || out.lastLine() != "demo: interrupted" {
				t.Errorf("exit code %d, last line %q", code, out.lastLine())
			}
			out.traceless(t)
		})
	}
}
