// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A cleaner removed the socket of a running server: no command reached it again, and none could open the state beside it.
func TestRemovedSocketIsMadeAgain(t *testing.T) {
	folder, err := os.MkdirTemp("", "custody-socket-") // short, for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	commands := &socket{path: filepath.Join(folder, "s"), log: slog.New(slog.DiscardHandler)}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), ReadHeaderTimeout: time.Second}
	serve := func(listener net.Listener) { go func() { _ = web.Serve(listener) }() }
	first, err := commands.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	serve(first)
	t.Cleanup(func() { _ = web.Close() })
	for _, spoil := range []func() error{
		func() error { return os.Remove(commands.path) },
		func() error { return os.Rename(commands.path, commands.path+".away") },
	} {
		if again, err := commands.again(t.Context()); err != nil || again != nil {
			t.Fatalf("a socket that is there is made again: %v, %v", again, err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		again, err := commands.again(t.Context())
		if err != nil || again == nil {
			t.Fatalf("it is not made again: %v", err)
		}
		serve(again)
		if got := ask(t, commands.path); got != "here" {
			t.Errorf("the server answers %q", got)
		}
	}
}

func ask(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Get("http://custody/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A socket that cannot be made again is said once, and tried again until it can be.
func TestSocketThatCannotBeMadeIsTriedAgain(t *testing.T) {
	folder, err := os.MkdirTemp("", "custody-socket-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	state := filepath.Join(folder, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	var said counter
	commands := &socket{path: filepath.Join(state, "s"), log: slog.New(slog.NewTextHandler(&said, nil))}
	first, err := commands.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if err := os.Rename(state, state+".away"); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		stop, cancel := context.WithCancel(t.Context())
		made := 0
		go commands.watch(stop, func(again net.Listener) { made++; _ = again.Close() })
		time.Sleep(10 * reloadEvery)
		synctest.Wait()
		if made != 0 || said != 1 {
			t.Errorf("made %d times and said %d times while it cannot be", made, said)
		}
		if err := os.Rename(state+".away", state); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(commands.path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * reloadEvery)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if made == 0 {
			t.Error("it is not made again")
		}
	})
}

// counter counts lines of a log.
type counter int

func (c *counter) Write(line []byte) (int, error) { *c++; return len(line), nil }
