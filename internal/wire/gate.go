// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trust"
)

// gate says what a user may do over the sockets, by what the kernel says of them. Root and the user that runs the platform may
// do everything.
type gate struct {
	own int
	// readers and operators are groups, -1 for none.
	readers, operators int
}

// newGate looks up the groups that the host file names.
func newGate(own int, socket *v1alpha1.Socket) (gate, error) {
	g := gate{own, -1, -1}
	if socket == nil {
		return g, nil
	}
	for _, named := range []struct {
		setting, group string
		id             *int
	}{{"readers", socket.Readers, &g.readers}, {"operators", socket.Operators, &g.operators}} {
		if named.group == "" {
			continue
		}
		found, err := user.LookupGroup(named.group)
		if err == nil {
			*named.id, err = strconv.Atoi(found.Gid)
		}
		if err != nil {
			return gate{}, &server.Problem{
				Class: server.Found, Text: fmt.Sprintf("the host file names the group %q as socket.%s, and this machine has none", named.group, named.setting),
				Hint: "make it with `groupadd --system " + named.group + "`, or correct the host file",
			}
		}
	}
	return g, nil
}

func (g gate) role(is server.Credentials) server.Role {
	in := func(group int) bool { return group >= 0 && slices.Contains(is.Groups, group) }
	switch {
	case is.UID == 0 || is.UID == g.own || in(g.operators):
		return server.Operator
	case in(g.readers):
		return server.Reader
	}
	return server.Nobody
}

// who says who connected, and what they may do.
func (g gate) who(conn net.Conn) (uid int, role server.Role, err error) {
	is, err := server.Peer(conn)
	if err != nil {
		return 0, server.Nobody, err
	}
	return is.UID, g.role(is), nil
}

// note is for http.Server.ConnContext.
func (g gate) note(ctx context.Context, conn net.Conn) context.Context {
	uid, role, err := g.who(conn)
	if err != nil {
		return ctx
	}
	return server.WithCaller(ctx, "user "+userName(uid), role)
}

// sockets are where the server may be reached: in its state folder, and where the host file opens it to groups.
func sockets(host v1alpha1.HostSpec) []string {
	if host.Socket == nil {
		return []string{SocketPath(host.State)}
	}
	return []string{SocketPath(host.State), host.Socket.Path}
}

// reach returns the socket on which the server answers, "" when it answers on none.
func reach(ctx context.Context, host v1alpha1.HostSpec) (string, error) {
	if err := trustShared(host); err != nil {
		return "", err
	}
	for _, socket := range sockets(host) {
		if serving, err := server.Reach(ctx, socket); err != nil || serving {
			return socket, err
		}
	}
	return "", nil
}

// trustShared wants that nobody but root, this user and the one whose state folder it is could put another socket in the place
// of the one that is open to groups: whoever could would be given what is handed in.
func trustShared(host v1alpha1.HostSpec) error {
	if host.Socket == nil {
		return nil
	}
	trusted := []int{os.Geteuid()}
	if owner, err := ownerOf(host.State); err == nil {
		trusted = append(trusted, owner)
	}
	folder := filepath.Dir(host.Socket.Path)
	if _, err := trust.Check(folder, trusted...); err != nil && !errors.Is(err, os.ErrNotExist) {
		return refused("the folder of the socket, "+folder+", is not safe", err)
	}
	return nil
}
