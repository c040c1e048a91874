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
	"unsafe"

	"golang.org/x/sys/unix"
)

// Credentials are who is at the other end of a Unix socket, as the kernel knew them when they connected.
type Credentials struct {
	UID int
	// Groups are all that the process was in, the first among them.
	Groups []int
}

// Peer returns who is at the other end of a Unix socket.
func Peer(conn net.Conn) (Credentials, error) {
	connection, ok := conn.(*net.UnixConn)
	if !ok {
		return Credentials{}, fmt.Errorf("asking who is connected: %w", errors.ErrUnsupported)
	}
	raw, err := connection.SyscallConn()
	if err != nil {
		return Credentials{}, fmt.Errorf("asking who is connected: %w", err)
	}
	var is Credentials
	var asked error
	err = raw.Control(func(fd uintptr) {
		var peer *syscall.Ucred
		if peer, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); asked != nil {
			return
		}
		is.UID, is.Groups = int(peer.Uid), []int{int(peer.Gid)}
		var more []int
		more, asked = peerGroups(fd)
		is.Groups = append(is.Groups, more...)
	})
	if err := errors.Join(err, asked); err != nil {
		return Credentials{}, fmt.Errorf("asking who is connected: %w", err)
	}
	return is, nil
}

// peerGroups are the supplementary groups of the peer; none on a kernel that does not tell (before 4.13).
func peerGroups(fd uintptr) ([]int, error) {
	for size := uint32(64); ; {
		groups := make([]uint32, size)
		length := size * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&length)), 0)
		switch {
		case errno == unix.ERANGE && length/4 > size:
			size = length / 4
			continue
		case errno == unix.ENOPROTOOPT:
			return nil, nil
		case errno != 0:
			return nil, errno
		}
		var out []int
		for _, group := range groups[:length/4] {
			out = append(out, int(group))
		}
		return out, nil
	}
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
	peer, err := Peer(conn)
	if err != nil {
		return err
	}
	return peer.owns(folder)
}

// owns says why a server that the peer runs is not the one of the folder's owner.
func (c Credentials) owns(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return fmt.Errorf("looking at the folder of the socket: %w", err)
	}
	status, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return fmt.Errorf("looking at %s: %w", folder, errors.ErrUnsupported)
	}
	if int(status.Uid) != c.UID {
		return &Problem{
			Class: Refused, Text: fmt.Sprintf("the server on the socket in %s runs as user %d, and the folder belongs to user %d", folder, c.UID, status.Uid),
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
