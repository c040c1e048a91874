// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/realparts"
)

// minioAlone leaves all out but MinIO, which has to be built.
func minioAlone() []string {
	return []string{"--install", "--without", "postgresql,gitea,dovecot,oidc,url"}
}

// compiler takes the place of Go, with nothing built so far: script says what a build does, $out is the program wanted.
func compiler(t *testing.T, script string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "go")
	text := "#!/bin/sh\n[ \"$1\" != build ] && exec go \"$@\"\nwhile [ \"$1\" != -o ]; do shift; done\nout=$2\n" + script + "\n"
	if err := realparts.WriteProgram(file, []byte(text)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GO", file)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

// What has to be built is built beside the tour, which says so first and meanwhile, and shows it then.
func TestTourBuilds(t *testing.T) {
	if testing.Short() {
		return // a real part is started
	}
	minio, err := realparts.Build(t.Context(), "minio")
	if err != nil {
		t.Fatal(err)
	}
	binary := custody(t)
	compiler(t, fmt.Sprintf("sleep 3; cp %s \"$out\"", minio))
	var out watched
	code := run(t.Context(), append(minioAlone(), binary), &out, &out)
	said := out.text.String()
	if code != 0 || !strings.Contains(out.lastLine(), " 1 of 6 kinds") {
		t.Fatalf("exit code %d:\n%s", code, said)
	}
	for _, want := range []string{"  minio: Go module, about 5 minutes\nthere is no terminal to ask on: going on\n", "meanwhile: building minio, once, for ", "ok  shown: a cloud storage key (MinIO"} {
		if !strings.Contains(said, want) {
			t.Errorf("the tour does not say %q:\n%s", want, said)
		}
	}
	out.traceless(t)
}

// A part that cannot be built is left out, and the tour says why.
func TestTourWithoutWhatCannotBeBuilt(t *testing.T) {
	binary := custody(t)
	compiler(t, "echo no module proxy >&2; exit 1")
	var out watched
	code := run(t.Context(), append(minioAlone(), binary), &out, &out)
	said := out.text.String()
	if want := "not shown: a cloud storage key (MinIO, by the S3 interface): building minio failed; try 'go build "; code != 0 || !strings.Contains(said, want) {
		t.Errorf("exit code %d, want 0 and %q:\n%s", code, want, said)
	}
	out.traceless(t)
}

// Interrupting the tour ends its builds.
func TestTourInterruptedWhileBuilding(t *testing.T) {
	binary, noted := custody(t), filepath.Join(t.TempDir(), "compiler")
	// As the real one does, it has children.
	compiler(t, fmt.Sprintf("sleep 1000 & echo $! >%[1]s.new; mv %[1]s.new %[1]s; wait", noted))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := watched{want: "$ custody serve &", seen: func() {
		for { // until the build is under way, which is another goroutine's
			if _, err := os.Stat(noted); err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		interrupt()
	}}
	if code := run(ctx, append(minioAlone(), binary), &out, &out); code != 130 || out.lastLine() != "demo: interrupted" {
		t.Errorf("exit code %d, last line %q:\n%s", code, out.lastLine(), out.text.String())
	}
	data, err := os.ReadFile(noted)
	if err != nil {
		t.Fatalf("nothing was being built: %v\n%s", err, out.text.String())
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child)); err == nil && !strings.Contains(string(state), ") Z ") {
		t.Errorf("the compiler's child is still there: %s", state)
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	out.traceless(t)
}

// A build may take longer than the tour: its time is not counted. A server that does not start has the tour's limit.
func TestTourLimit(t *testing.T) {
	for name, test := range map[string]struct {
		building string
		want     error
	}{"a long build": {"gitea", nil}, "a server that hangs": {"", errTooLong}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var out strings.Builder
				tour := newTour(ctx, newTerminal(&out))
				tour.limit = time.AfterFunc(limit, func() { cancel(errTooLong) })
				defer tour.limit.Stop()
				tour.parts.begin(test.building)
				e := &exhibit{started: make(chan struct{})}
				time.AfterFunc(2*limit+time.Millisecond, func() { close(e.started) })
				tour.awaitPart(e)
				if got := context.Cause(ctx); !errors.Is(got, test.want) {
					t.Errorf("the tour ended by %v, want %v", got, test.want)
				}
				if reminded := strings.Count(out.String(), "waiting: building gitea, once, for "); (reminded == int(2*limit/reminder)) != (test.building != "") {
					t.Errorf("it said %d times what it waits for:\n%s", reminded, out.String())
				}
			})
		})
	}
}
