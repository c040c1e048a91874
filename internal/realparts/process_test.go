// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestStartsElsewhereWhenThePortIsTaken(t *testing.T) {
	broken := errors.New("broken")
	taken := fmt.Errorf("server: %w", errExited)
	for _, test := range []struct {
		name   string
		errs   []error // of each start, the last one again and again
		starts int
		want   error
	}{
		{"at once", []error{nil}, 1, nil},
		{"the second time", []error{taken, nil}, 2, nil},
		{"never", []error{taken}, portAttempts, errExited},
		{"for another reason", []error{broken}, 1, broken},
	} {
		port, tried := 0, map[int]bool{}
		err := onFreePort(t.Context(), &port, func(context.Context) error {
			tried[port] = true
			return test.errs[min(len(tried), len(test.errs))-1]
		})
		if !errors.Is(err, test.want) || len(tried) != test.starts || !tried[port] {
			t.Errorf("%s: got %v after the ports %v, the last %d; want %v after %d", test.name, err, tried, port, test.want, test.starts)
		}
	}
}

// script starts a shell's script as a server.
func script(t *testing.T, text string) *foreground {
	t.Helper()
	f, err := startForeground(exec.Command("/bin/sh", "-c", text), filepath.Join(t.TempDir(), "log"), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.end(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	return f
}

func nothing() string { return "" }

var errNotYet = errors.New("not yet")

// A look that gets no answer does not hide that the server has exited; were it so, this would take probeLimit.
func TestExitEndsTheWait(t *testing.T) {
	began := time.Now()
	err := script(t, "exit 3").await(t.Context(), nothing, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if took := time.Since(began); !errors.Is(err, errExited) || took >= probeLimit {
		t.Errorf("got %v after %s, want that the server exited, at once", err, took)
	}
}

// The caller's end ends the wait, and the server with it. Before, it is looked at again and again.
func TestCallerEndsTheWait(t *testing.T) {
	f := script(t, "exec sleep 600")
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	err := f.await(ctx, nothing, func(context.Context) error {
		if looks++; looks == 5 {
			cancel()
		}
		return errNotYet
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errNotYet) || f.alive() {
		t.Errorf("got %v, the server alive: %v; want the caller's end, and the server's", err, f.alive())
	}
}
