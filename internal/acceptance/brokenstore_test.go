// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/server"
)

// The embedded authority commits with two fdatasyncs: of what is new, then of the page that makes it the present. These are strace's
// words for failing each, and for failing every second one of a thread, which sooner or later is that of such a page.
const (
	everySync  = "fdatasync:error=EIO"
	secondSync = "fdatasync:error=EIO:when=2+2"
)

// injure has calls of the serving process fail, soon after it returns, until heal is called. Idempotent.
func (r *rig) injure(inject string) (heal func()) {
	r.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		r.t.Fatalf("%v\nhint: as root: tools/install-parts strace", err)
	}
	command := exec.Command(strace, "-f", "-qq", "-e", "signal=none", "-e", "trace=fdatasync", "-e", "inject="+inject,
		"-o", filepath.Join(r.dir, "calls"), "-p", strconv.Itoa(r.serving.Process.Pid))
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	return func() { _, _ = command.Process.Signal(syscall.SIGTERM), command.Wait() }
}

// TestDiskThatFailsForAWhile: as long as nothing new reaches the disk, a command is told that nothing was written; the same process
// works again when the disk does, with nothing lost.
func TestDiskThatFailsForAWhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", alone)
	r.serve()
	r.steady()
	heal := r.injure(everySync)
	defer heal()
	var got answer
	for deadline := time.Now().Add(hang); got.code == 0; { // strace takes a moment to hold every thread; until then commands succeed
		if time.Now().After(deadline) {
			t.Fatal("commands succeed on a disk that fails")
		}
		got = r.run("rotate", "session-token", "--reason", "acceptance test")
	}
	r.fails(got, server.Unavailable, "nothing was written")
	heal()
	r.steady()
	r.rotate("session-token")
	r.sound()
}

// TestBrokenStoreEndsTheProcess: a commit that failed at its last write may be the present after a restart or not. The process
// leaves with an exit code that a service manager starts it again for; the next one goes on with what is on disk.
func TestBrokenStoreEndsTheProcess(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", alone)
	r.serve()
	r.steady()
	before := r.row("session-token").Version
	heal := r.injure(secondSync)
	defer heal()
	ended, deadline := r.ended, time.Now().Add(hang)
	for left := false; !left; {
		r.run("rotate", "session-token", "--reason", "acceptance test")
		select {
		case <-ended:
			left = true
		case <-time.After(between):
			if time.Now().After(deadline) {
				t.Fatalf("the process goes on with a store that is broken:\n%s", r.log())
			}
		}
	}
	_ = r.serving.Wait()
	if code := r.serving.ProcessState.ExitCode(); code != server.Exit(&server.Problem{Class: server.Unavailable}) {
		t.Errorf("it left with exit code %d", code)
	}
	if want := "nothing more can be written by this process"; !strings.Contains(r.log(), want) {
		t.Errorf("it does not say %q:\n%s", want, r.log())
	}
	r.serve()
	r.steady()
	r.rotate("session-token")
	if got := r.row("session-token").Version; got == before {
		t.Errorf("the next process still has version %s", got)
	}
	r.sound()
}
