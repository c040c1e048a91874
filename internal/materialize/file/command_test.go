// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/materializetest"
)

var event = Event{
	Secret: "mail/relay", Consumer: "app", File: "/srv/app.env",
	Version: authority.VersionID{Incarnation: "a", Run: "r", Number: 3},
}

func shell(t *testing.T, script string, timeout time.Duration, args ...string) *Command {
	t.Helper()
	c, err := NewCommand(CommandConfig{Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewCommandRefuses(t *testing.T) {
	for name, config := range map[string]CommandConfig{
		"Nothing":  {},
		"Relative": {Argv: []string{"true"}},
		"Empty":    {Argv: []string{""}},
		"NUL":      {Argv: []string{"/bin/true", "a\x00"}},
		"Timeout":  {Argv: []string{"/bin/true"}, Timeout: -1},
	} {
		if _, err := NewCommand(config); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestCommandEnvironment(t *testing.T) {
	t.Setenv("CUSTODY_TEST_LEAK", "leaked")
	file := filepath.Join(t.TempDir(), "env")
	err := shell(t, `env -0 > "$1"; pwd >> "$1"; cat >> "$1"`, 0, file).Reload(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	entries := strings.Split(string(data), "\x00")
	for _, entry := range entries[:len(entries)-1] {
		key, text, _ := strings.Cut(entry, "=")
		got[key] = text
	}
	delete(got, "PWD") // the shell's own
	delete(got, "_")
	want := map[string]string{
		"PATH": commandPath, "CUSTODY_SECRET": "mail/relay", "CUSTODY_CONSUMER": "app",
		"CUSTODY_FILE": "/srv/app.env", "CUSTODY_VERSION": "3.r.a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if got := entries[len(entries)-1]; got != "/\n" {
		t.Errorf("got folder and input %q, want / and nothing", got)
	}
}

// The commands that are to be ended sleep for a minute, so that a limit of 50 ms ends them on any machine.
func TestCommandFailures(t *testing.T) {
	const canary = "canary-79"
	missing, err := NewCommand(CommandConfig{Argv: []string{"/nonexistent/reload"}})
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.WriteFile(closed, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	notExecutable, err := NewCommand(CommandConfig{Argv: []string{closed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		command *Command
		is      error
		says    string
	}{
		"Missing":       {missing, fs.ErrNotExist, "/nonexistent/reload"},
		"NotExecutable": {notExecutable, fs.ErrPermission, closed},
		"NonZero":       {shell(t, "echo "+canary+"; echo "+canary+" >&2; exit 7", 0), nil, "exit status 7"},
		"Killed":        {shell(t, "echo "+canary+"; kill -9 $$", 0), nil, "signal: killed"},
		"Timeout":       {shell(t, "echo "+canary+"; sleep 60", 50*time.Millisecond), context.DeadlineExceeded, "50ms"},
	} {
		t.Run(name, func(t *testing.T) {
			_, checkErr := test.command.Check(t.Context(), event)
			for _, err := range []error{test.command.Reload(t.Context(), event), checkErr} {
				if err == nil || (test.is != nil && !errors.Is(err, test.is)) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want an error that says %q", err, test.says)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Error("got output in an error")
				}
			}
		})
	}
	t.Run("EndedContext", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := shell(t, "sleep 60", 0).Reload(ctx, event); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

// TestEndKillsGroup: what the command started goes with it when it is ended, which is how the timeout ends it too.
func TestEndKillsGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	command := shell(t, `sleep 600 & echo $! > "$1.new"; mv "$1.new" "$1"; wait`, 0, file)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- command.Reload(ctx, event) }()
	var pid int
	eventually(t, "the child has started", func() bool {
		data, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err == nil
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	eventually(t, "the child is gone", func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// TestCommandMayLeaveDaemon: a service that the command started keeps running and does not hold up the reload. The
// command ends at once; its limit of two minutes is far from that, and from the ten minutes that the service runs.
func TestCommandMayLeaveDaemon(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	report, err := shell(t, `echo 3.r.a; sleep 600 & echo $! > "$1"`, 2*time.Minute, file).Check(t.Context(), event)
	if err != nil || report.Version != "3.r.a" {
		t.Fatalf("got %+v, %v", report, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("got %v from ending the daemon, want it running", err)
	}
}

func TestCheckReportsFirstLine(t *testing.T) {
	for script, want := range map[string]string{
		"true":                                  "",
		"echo 3.r.a":                            "3.r.a",
		"printf '3.r.a\\r\\nmore'":              "3.r.a",
		"printf 3.r.a":                          "3.r.a",
		"echo 3.r.a >&2":                        "",
		"echo; echo 3.r.a":                      "",
		"echo 3.r.a; head -c 1000000 /dev/zero": "3.r.a",
	} {
		report, err := shell(t, script, 0).Check(t.Context(), event)
		if err != nil || report.Version != want {
			t.Errorf("%s: got %q, %v, want %q", script, report.Version, err, want)
		}
	}
	report, err := shell(t, "head -c 1000000 /dev/zero", 0).Check(t.Context(), event)
	if err != nil || len(report.Version) != outputLimit {
		t.Errorf("got %d bytes kept, %v, want %d", len(report.Version), err, outputLimit)
	}
}

// TestDeliverWithCommands goes through real programs: a process that reads the file when it is reloaded.
func TestDeliverWithCommands(t *testing.T) {
	config := config(t)
	running := filepath.Join(t.TempDir(), "running")
	config.Reload = shell(t, `set -eu; . "$CUSTODY_FILE"; echo "$APP_VERSION" > "$1"`, 0, running)
	config.Check = shell(t, `exec cat "$1"`, 0, running)
	c := open(t, config)
	for _, v := range []authority.Versioned{materializetest.Version(t, "a", "r", 1), materializetest.Version(t, "a", "s", 2)} {
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		proof, err := c.Prove(t.Context(), v)
		if err != nil || proof.Version != v.ID || proof.Level != materialize.Observed {
			t.Errorf("got %+v, %v, want %s observed", proof, err, v.ID)
		}
	}
	config.Check = shell(t, `exit 3`, 0)
	proof, err := open(t, config).Prove(t.Context(), materializetest.Version(t, "a", "s", 2))
	if err != nil || proof.Level != materialize.Delivered || !strings.Contains(proof.Missing, "exit status 3") {
		t.Errorf("got %+v, %v, want delivered and the failed check named", proof, err)
	}
}

// eventually polls until done, for at most two minutes: what it waits for is a shell's next step, which takes
// milliseconds, and a hundred times as long where the processor is shared by many.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited two minutes in vain: %s", what)
		case <-tick.C:
		}
	}
}
