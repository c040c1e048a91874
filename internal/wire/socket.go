// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/server"
)

// door is the socket by which commands reach this process, in its state folder. Something may remove it while the process
// runs, or put another folder in the state folder's place.
type door struct {
	path string
	mode fs.FileMode
	// who says who connected, and what they may do.
	who    func(net.Conn) (uid int, role server.Role, err error)
	folder *durable.Folder
	log    *slog.Logger
	made   atomic.Pointer[fs.FileInfo] // the socket as it was made
}

// open listens on the socket. A socket that a killed process left is replaced; the state
// folder's lock says that no live one is there.
func (d *door) open(ctx context.Context) (net.Listener, error) {
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replacing the socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", d.path)
	if err != nil {
		return nil, fmt.Errorf("listening on the socket: %w", err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // it may not be the one at that path any more
	err = os.Chmod(d.path, d.mode)
	made, found := os.Lstat(d.path)
	if err := errors.Join(err, found); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the mode of the socket: %w", err), listener.Close())
	}
	d.made.Store(&made)
	return knownListener{listener, d.log, d.who}, nil
}

// lost reports whether the path leads to the socket no more.
func (d *door) lost() bool {
	there, err := os.Lstat(d.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(there, *d.made.Load())
}

// remove takes the socket away, if it is still there.
func (d *door) remove() {
	if d.lost() {
		return
	}
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("removing the socket", "error", err)
	}
}

// watchDoor makes the socket again where something removed it, and has serve listen there: it looks every so often until
// stop comes. In a folder that is not this process's any more it makes none, and /readyz says so. A state folder that hangs
// holds up no more than this.
func (p *parts) watchDoor(stop context.Context, every time.Duration, d *door, serve func(net.Listener)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
		}
		displaced := d.folder.Displaced()
		if displaced != p.displaced.Swap(displaced) && displaced {
			p.log.Error("not ready", "why", p.unanswered())
		}
		if displaced || !d.lost() {
			continue
		}
		listener, err := d.open(stop)
		if err != nil {
			p.log.Error("making the socket again, which something removed", "error", err)
			continue
		}
		p.log.Warn("the socket was removed, and is made again", "socket", d.path)
		serve(listener)
	}
}

// knownListener takes connections of those alone who may do something, whatever became of the socket's mode.
type knownListener struct {
	net.Listener
	log *slog.Logger
	who func(net.Conn) (uid int, role server.Role, err error)
}

// Accept implements net.Listener.
func (l knownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, role, err := l.who(conn)
		if err == nil && role != server.Nobody {
			return conn, nil
		}
		l.log.Warn("connection refused", "user", uid, "error", err)
		_ = conn.Close()
	}
}
