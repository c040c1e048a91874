// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServiceManagerIsTold: systemd waits for READY=1 before it starts what needs the secrets, and for RELOADING=1 and another
// READY=1 before `systemctl reload` ends.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone)
	path := filepath.Join(r.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	heard := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 256)
		n, err := conn.Read(message)
		if err != nil {
			t.Fatalf("the service manager was told nothing more: %v\n%s", err, r.log())
		}
		return string(message[:n])
	}
	r.env = []string{"NOTIFY_SOCKET=" + path}
	r.serve()
	if got := heard(); got != "READY=1" {
		t.Fatalf("at the start it is told %q, want READY=1", got)
	}

	r.steady()
	before := r.row("session-token")
	r.replace("estate/secrets.yaml", "Signs the shop's sessions", "Signs the sessions of the shop")
	if err := r.serving.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	first, at, ok := strings.Cut(heard(), "\nMONOTONIC_USEC=")
	if usec, err := strconv.ParseInt(at, 10, 64); first != "RELOADING=1" || !ok || err != nil || usec <= 0 {
		t.Fatalf("at a reload it is told %q, %q, want RELOADING=1 and the time of the clock that systemd compares with", first, at)
	}
	if got := heard(); got != "READY=1" {
		t.Fatalf("after the reload it is told %q, want READY=1", got)
	}
	// The reload has ended, so the changed document is in force without another wait.
	if got := r.row("session-token").Purpose; got != "Signs the sessions of the shop" {
		t.Errorf("after the reload the purpose is %q (before: %q)", got, before.Purpose)
	}

	if code, took := r.terminate(); code != 0 || took > soon {
		t.Errorf("exit code %d after %s", code, took)
	}
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("at the end it is told %q, want STOPPING=1", got)
	}
}
