// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"custody.dev/custody/internal/server"
)

// TestBrokenStoreEndsTheProcess has every fdatasync of the running server fail, which is how the embedded authority commits: what it
// acknowledged after that might be lost. The process says that it is not ready, and leaves with an exit code that a service manager
// starts it again for; the next one goes on with what was acknowledged.
func TestBrokenStoreEndsTheProcess(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v\nhint: as root: tools/install-parts strace", err)
	}
	r := newRig(t, "50ms", alone)
	r.serve()
	r.steady()
	before := r.row("session-token").Version
	breaker := exec.Command(strace, "-f", "-qq", "-e", "signal=none", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO",
		"-o", filepath.Join(r.dir, "calls"), "-p", strconv.Itoa(r.serving.Process.Pid))
	if err := breaker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = breaker.Process.Kill(), breaker.Wait() }()
	ended, unready := r.ended, false
	for deadline := time.Now().Add(hang); ; { // strace takes a moment to hold every thread; until then changes succeed
		r.run("rotate", "session-token", "--reason", "acceptance test")
		if response, err := http.Get("http://" + r.address + "/readyz"); err == nil { // else it has left
			unready = unready || response.StatusCode == http.StatusServiceUnavailable
			_ = response.Body.Close()
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("the process goes on with a store that is broken")
			}
			continue
		}
		break
	}
	if !unready {
		t.Error("the process never said that it is not ready")
	}
	_ = r.serving.Wait()
	if code := r.serving.ProcessState.ExitCode(); code != server.Exit(&server.Problem{Class: server.Unavailable}) {
		t.Errorf("it left with exit code %d", code)
	}
	r.serve()
	r.steady()
	r.rotate("session-token")
	if got := r.row("session-token").Version; got == before {
		t.Errorf("the next process still has version %s", got)
	}
	r.sound()
}
