// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/server"
)

// Something that cleans up removed the socket: the server was ready, and no command reached it any more. Another state folder
// in the place of its own gets no socket, and the server says that it is not ready until its own is back. The waits end with
// what is waited for.
func TestSocketThatIsRemovedIsMadeAgain(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	folder, err := durable.Make(state)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	p := &parts{host: v1alpha1.HostSpec{State: state}, log: slog.New(slog.DiscardHandler), calls: outward.New(Now)}
	d := &door{path: SocketPath(state), mode: 0o600, who: gate{os.Geteuid(), -1, -1}.who, folder: folder, log: p.log}
	first, err := d.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	stop, cancel := context.WithCancel(t.Context())
	made, ended := make(chan net.Listener), make(chan struct{})
	go func() {
		defer close(ended)
		p.watchDoor(stop, time.Millisecond, d, func(again net.Listener) { made <- again })
	}()
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	again := <-made
	defer again.Close()
	if reached, err := server.Reach(t.Context(), d.path); err != nil || !reached {
		t.Errorf("reached: %t, %v", reached, err)
	}

	aside := state + ".old"
	move(t, state, aside)
	for p.unanswered() == "" {
		time.Sleep(time.Millisecond)
	}
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // dozens of looks
	if _, err := os.Lstat(d.path); err == nil {
		t.Error("a socket was made in a folder that is not the server's")
	}
	if why := p.unanswered(); !strings.Contains(why, "put it back") {
		t.Errorf("ready says %q", why)
	}
	move(t, state, state+".other")
	move(t, aside, state)
	for p.unanswered() != "" {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	d.remove()
	if _, err := os.Lstat(d.path); err == nil {
		t.Error("the socket was left behind")
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
