// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary plays the clients and their check too, as the demo does.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "play-client":
			os.Exit(playClient(os.Args[2]))
		case "play-check":
			os.Exit(playCheck(os.Args[2]))
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

// traceless wants the tour's folder to be gone.
func (w *watched) traceless(t *testing.T) {
	t.Helper()
	found := folder.FindStringSubmatch(w.text.String())
	if found == nil {
		t.Fatalf("the tour does not name its folder:\n%s", w.text.String())
	}
	if _, err := os.Lstat(found[1]); err == nil {
		t.Errorf("%s is still there", found[1])
	}
}

func TestTour(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"without PostgreSQL", []string{"--without-postgresql"}, `^demo: ok \(without PostgreSQL: install the package postgresql\)$`},
		{"with PostgreSQL", nil, `^demo: ok \([0-9]+ sign-ins, 0 refused, [0-9]+ rotations; .*\)$`},
	} {
		if testing.Short() && test.args == nil {
			continue // no real parts in the fast loop
		}
		t.Run(test.name, func(t *testing.T) {
			var out watched
			began := time.Now()
			if code := run(t.Context(), append(test.args, custody(t)), &out, &out); code != 0 {
				t.Fatalf("exit code %d:\n%s", code, out.text.String())
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("the tour took %s, more than a minute", took)
			}
			if !regexp.MustCompile(test.want).MatchString(out.lastLine()) {
				t.Errorf("the last line is %q, want %s", out.lastLine(), test.want)
			}
			if strings.Contains(out.text.String(), "\x1b") {
				t.Error("colour was used though this is no terminal")
			}
			out.traceless(t)
		})
	}
}

// A custody that does something wrong is found out.
func TestTourFails(t *testing.T) {
	for name, script := range map[string]string{
		"doctor finds something":      `[ "$1" = doctor ] && exit 3`,
		"a changed record is sound":   `case "$*" in *../copy*) echo "sound: of course"; exit 0;; esac`,
		"a value turns up":            `[ "$1" = inventory ] && cat run/imported/smtp-token.env`,
		"rotations change nothing":    `[ "$1" = rotate ] && exit 5`,
		"status says another phase":   `[ "$1" = status ] && { echo "phase:        4 (steady state)"; exit 0; }`,
		"lint takes whatever it gets": `[ "$1" = lint ] && exit 3`,
	} {
		t.Run(name, func(t *testing.T) {
			fake := filepath.Join(t.TempDir(), "custody")
			text := fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", script, custody(t))
			if err := os.WriteFile(fake, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			var out watched
			if code := run(t.Context(), []string{"--without-postgresql", fake}, &out, &out); code != 1 || out.lastLine() != "demo: failed" {
				t.Errorf("exit code %d, last line %q, want 1 and demo: failed\n%s", code, out.lastLine(), out.text.String())
			}
			out.traceless(t)
		})
	}
}

func TestTourInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := watched{want: "$ custody serve &", seen: interrupt}
	if code := run(ctx, []string{"--without-postgresql", custody(t)}, &out, &out); code != 130 || out.lastLine() != "demo: interrupted" {
		t.Errorf("exit code %d, last line %q", code, out.lastLine())
	}
	out.traceless(t)
}
