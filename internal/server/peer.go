// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Peer returns the user at the other end of a Unix socket, as the kernel knows them.
func Peer(conn net.Conn) (uid int, err error) {
	connection, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("asking who is connected: %w", errors.ErrUnsupported)
	}
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("asking who is connected: %w", err)
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		var peer *syscall.Ucred
		if peer, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); asked == nil {
			uid = int(peer.Uid)
		}
	})
	if err := errors.Join(err, asked); err != nil {
		return 0, fmt.Errorf("asking who is connected: %w", err)
	}
	return uid, nil
}

// connect connects to the server on a socket, and wants it to be run by the owner of the folder that the socket is in:
// nobody else is given what is handed in.
func connect(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := owned(conn, filepath.Dir(socket)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func owned(conn net.Conn, folder string) error {
	uid, err := Peer(conn)
	if err != nil {
		return err
	}
	info, err := os.Stat(folder)
	if err != nil {
		return fmt.Errorf("looking at the state folder: %w", err)
	}
	status, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return fmt.Errorf("looking at %s: %w", folder, errors.ErrUnsupported)
	}
	if int(status.Uid) != uid {
		return &Problem{
			Class: Refused, Text: fmt.Sprintf("the server on the socket in %s runs as user %d, and the folder belongs to user %d", folder, uid, status.Uid),
			Hint: "find out who listens there: `ss -xlp`. Nothing was sent to it",
		}
	}
	return nil
}

// Reach reports whether a server answers on a socket; the error is of one that must not be spoken to.
func Reach(ctx context.Context, socket string) (bool, error) {
	conn, err := connect(ctx, socket)
	if problem, is := errors.AsType[*Problem](err); is {
		return false, problem
	}
	if err != nil {
		return false, nil //nolint:nilerr // nobody listens
	}
	return true, conn.Close()
}
