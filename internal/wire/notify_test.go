// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// manager is a service manager that listens, and the environment that it gives.
func manager(t *testing.T) (*net.UnixConn, map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, map[string]string{"NOTIFY_SOCKET": path}
}

// heard is the next message, "" when none comes within a time.
func heard(t *testing.T, conn *net.UnixConn, within time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 64)
	n, err := conn.Read(message)
	if err != nil {
		return ""
	}
	return string(message[:n])
}

func TestServiceManagerIsTold(t *testing.T) {
	conn, env := manager(t)
	n := newNotifier(func(name string) string { return env[name] }, 7, slog.New(slog.DiscardHandler))
	n.say("READY=1")
	if got := heard(t, conn, 10*time.Second); got != "READY=1" {
		t.Errorf("got %q", got)
	}
	quiet := newNotifier(func(string) string { return "" }, 7, nil)
	quiet.say("READY=1") // nobody asked, nobody is told
	quiet.watchdog(t.Context())
}

// A loop that hangs is one that the manager must start again, so it is told nothing more.
func TestWatchdogSpeaksForTheLoop(t *testing.T) {
	for name, test := range map[string]struct {
		of    string
		turns bool
		want  string
	}{
		"the loop turns":    {"7", true, "WATCHDOG=1"},
		"the loop hangs":    {"7", false, ""},
		"another process's": {"8", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, env := manager(t)
			env["WATCHDOG_USEC"], env["WATCHDOG_PID"] = "60000000", test.of // a minute, of which nothing here takes half
			n := newNotifier(func(name string) string { return env[name] }, 7, slog.New(slog.DiscardHandler))
			if test.turns {
				n.turned()
			}
			stop, cancel := context.WithCancel(t.Context())
			cancel() // after the first sign
			n.watchdog(stop)
			if got := heard(t, conn, 50*time.Millisecond); got != test.want { // it was sent already, or never is
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
