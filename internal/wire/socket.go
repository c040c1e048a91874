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
	"time"

	"custody.dev/custody/internal/server"
)

// socket is what commands reach the server by.
type socket struct {
	path string
	log  *slog.Logger
	made fs.FileInfo
}

// listen makes the socket in place of what is there.
func (s *socket) listen(ctx context.Context) (net.Listener, error) {
	listener, err := listenSocket(ctx, s.path, s.log)
	if err != nil {
		return nil, err
	}
	if s.made, err = os.Lstat(s.path); err != nil {
		return nil, errors.Join(fmt.Errorf("listening on the socket: %w", err), listener.Close())
	}
	return listener, nil
}

// again listens anew where the socket that was made is no longer there; nil where it is. The one before stays open for those
// who are connected.
func (s *socket) again(ctx context.Context) (net.Listener, error) {
	if there, err := os.Lstat(s.path); err == nil && os.SameFile(s.made, there) {
		return nil, nil
	}
	return s.listen(ctx)
}

// watch looks at the socket until stop comes: whoever removed it would have made a server that works unreachable for ever.
func (s *socket) watch(stop context.Context, serve func(net.Listener)) {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
		}
		listener, err := s.again(stop)
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			s.log.Error("the socket is gone and cannot be made again", "socket", s.path, "error", err)
		case listener != nil:
			said = ""
			s.log.Warn("the socket was gone and is made again", "socket", s.path)
			serve(listener)
		}
	}
}

// listenSocket listens on a Unix socket that only its owner can reach. A socket that a killed process left is replaced;
// the state folder's lock says that no live one is there.
func listenSocket(ctx context.Context, path string, log *slog.Logger) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replacing the socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on the socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the socket to others: %w", err), listener.Close())
	}
	return ownListener{listener, log, server.Peer}, nil
}

// ownListener takes connections of root and of the user that runs the platform alone, whatever became of the socket's mode.
type ownListener struct {
	net.Listener
	log  *slog.Logger
	peer func(net.Conn) (int, error)
}

// Accept implements net.Listener.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := l.peer(conn)
		if err == nil && (uid == 0 || uid == os.Geteuid()) {
			return conn, nil
		}
		l.log.Warn("connection refused", "user", uid, "error", err)
		_ = conn.Close()
	}
}
