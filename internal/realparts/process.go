// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A server that is still starting is waited for as long as it lives: what ends the wait is that it takes sign-ins, that it
// exits, or that the caller's context ends. A machine that is busy with something else makes a start slow, and no start
// wrong. These bounds are for what hangs.
const (
	// hangLimit ends a wait for a server that will never be ready, with what its log holds. It is shorter than what package
	// testing gives a package's tests in `make test`, whose end tells nothing of the server, and more than thirty times what
	// the slowest start takes on two quiet cores (half a minute, RabbitMQ's).
	hangLimit = 20 * time.Minute
	// probeLimit ends one look at whether a server is ready, after which it is looked at again: an answer that is lost while
	// it starts must not be waited for. A server that is ready answers within milliseconds.
	probeLimit = time.Minute
	// pressAfter is how long a server may take to end by itself before it is killed. Servers write what they hold first,
	// which takes seconds; one that is killed may lose what the next start needs.
	pressAfter = 5 * time.Minute
	// pollInterval lies between two looks.
	pollInterval = 100 * time.Millisecond
)

// shortDir is a folder whose path leaves room for the name of a socket; it goes with the test.
func shortDir(t testing.TB, prefix string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing %s: %v", prefix, err)
		}
	})
	return dir
}

// untilEnd stops a server when the test ends; one that could not be started fails the test.
func untilEnd[S interface{ Stop() error }](t testing.TB, name string, server S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stopping %s: %v", name, err)
		}
	})
	return server
}

// onFreePort sets port and starts a server there, elsewhere again when it exits while it starts: another process may take
// the port between the choice and the start.
func onFreePort(ctx context.Context, port *int, start func(context.Context) error) (err error) {
	for range portAttempts {
		if *port, err = freePort(ctx); err != nil {
			return err
		}
		if err = start(ctx); err == nil || !errors.Is(err, errExited) {
			return err
		}
	}
	return err
}

// servant is the user that a server runs as which refuses to run as root, and dir is then given to; nil is the caller's
// own, who is not root. A user that is missing comes with what to install.
func servant(name, dir, install string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("choosing the server's user: %w: install the package %s", err, install)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("choosing the server's user: %w", err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("choosing the server's user: %w", err)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("giving the folder to the server's user: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// writeAs makes a file that as owns, and nobody else may read.
func writeAs(as *syscall.Credential, path, text string) error {
	err := os.WriteFile(path, []byte(text), 0o600)
	if err == nil && as != nil {
		err = os.Chown(path, int(as.Uid), int(as.Gid))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}

// writeAllAs makes files beneath dir, by name.
func writeAllAs(as *syscall.Credential, dir string, files map[string]string) error {
	for name, text := range files {
		if err := writeAs(as, filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// runAs runs cmd to its end as that user, in a process group of its own. With this process it dies by the signal orphan.
func runAs(as *syscall.Credential, cmd *exec.Cmd, orphan syscall.Signal) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: orphan, Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}

func findProgram(given, name string, missing error, places ...string) (string, error) {
	if given != "" {
		places = []string{given}
	} else if path, err := exec.LookPath(name); err == nil {
		places = append([]string{path}, places...)
	}
	for _, path := range places {
		if executable(path) {
			return path, nil
		}
	}
	return "", missing
}

func randomText() (string, error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("drawing a password: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

func readLog(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "reading the log: " + err.Error()
	}
	return string(data)
}

// foreground is a server that this process watches. A nil one is not running.
type foreground struct {
	name    string
	process *os.Process
	exited  chan struct{} // closed when process has been waited for
	mu      sync.Mutex
}

// startForeground starts cmd in a process group of its own, its output appended to logFile; a credential in cmd is kept.
// With this process it dies by the signal orphan.
func startForeground(cmd *exec.Cmd, logFile string, orphan syscall.Signal) (*foreground, error) {
	name := filepath.Base(cmd.Path)
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the server has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = orphan, true
	started, f := make(chan error, 1), &foreground{name: name, exited: make(chan struct{})}
	go func() {
		// The death signal is tied to the thread that forks, which must therefore live as long as the server.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(f.exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in the log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	f.process = cmd.Process
	return f, nil
}

// await returns when ready says so, with what the log holds when the server exits first, or when ctx ends; it then ends
// the server. As long as the server lives, it is waited for.
func (f *foreground) await(ctx context.Context, log func() string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := f.probe(ctx, ready)
		if err == nil {
			return nil
		}
		select {
		case <-f.exited:
			return fmt.Errorf("%s: %w: %s", f.name, errExited, log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for %s: %w (%w): %s", f.name, ctx.Err(), err, log()), f.end(syscall.SIGKILL))
		case <-tick.C:
		}
	}
}

// probe looks once, until the server exits or probeLimit has passed.
func (f *foreground) probe(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	go func() {
		select {
		case <-f.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ready(ctx)
}

func (f *foreground) alive() bool {
	if f == nil {
		return false
	}
	select {
	case <-f.exited:
		return false
	default:
		return true
	}
}

// end asks with signal, then presses, and leaves nothing of the process group behind.
func (f *foreground) end(signal syscall.Signal) error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.alive() {
		return nil
	}
	// What was killed is gone as soon as the kernel has come to it.
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{signal, pressAfter}, {syscall.SIGKILL, hangLimit}} {
		if err := f.process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signalling %s: %w", f.name, err)
		}
		timer := time.NewTimer(step.wait)
		select {
		case <-f.exited:
			timer.Stop()
			_ = syscall.Kill(-f.process.Pid, syscall.SIGKILL) // children that outlived it
			return nil
		case <-timer.C:
		}
	}
	return fmt.Errorf("stopping %s: it is still there after SIGKILL", f.name)
}
