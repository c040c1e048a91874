// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/upstream"
)

// TypeOf returns the type of an upstream with its parameters, nil when it has none.
func (e *Estate) TypeOf(spec v1alpha1.UpstreamSpec) (t upstream.Type, server any) {
	name := spec.Server.Type()
	if t = e.Types.Find(name); t == nil {
		return nil, nil
	}
	return t, spec.Server[name]
}

// Endpoints lists every place to which an upstream of the estate sends credentials: HOST:PORT, the path of a socket, or the
// origin of a URL, followed by what is not usual in how the server is identified. A change of either is another endpoint. What
// the host file says (programs, folders) is none.
func (e *Estate) Endpoints(spec v1alpha1.UpstreamSpec) []string {
	t, server := e.TypeOf(spec)
	if t == nil {
		return nil
	}
	found := t.Endpoints(server)
	slices.Sort(found)
	return slices.Compact(found)
}

// ServerOf names the server that an upstream is at first: HOST:PORT, the path of a socket, or AWS's own, however its document
// writes that. Documents that name one server have the same. "" for a program, which may be at any.
func (e *Estate) ServerOf(spec v1alpha1.UpstreamSpec) string {
	t, server := e.TypeOf(spec)
	if t == nil || slices.ContainsFunc(t.Picks(server), func(p upstream.Pick) bool { return p.From == upstream.HostProgram }) {
		return ""
	}
	all := t.Endpoints(server)
	if len(all) == 0 {
		return ""
	}
	at, _, _ := strings.Cut(all[0], " ") // how it is identified comes after it
	if _, rest, is := strings.Cut(at, "://"); is {
		at = rest
	}
	host, port, err := net.SplitHostPort(at)
	switch {
	case strings.HasPrefix(at, "/"):
		return path.Clean(at)
	case err != nil: // named in words
		return all[0]
	}
	host = strings.TrimSuffix(host, ".")
	if address, err := netip.ParseAddr(host); err == nil {
		host = address.Unmap().String()
	}
	return net.JoinHostPort(host, port)
}

// Told is what the account's document tells a program of the host's, which may be an address; "" when that is nothing.
func (e *Estate) Told(rotation *v1alpha1.RotationSpec) string {
	if rotation == nil {
		return ""
	}
	name := rotation.Account.Type()
	if t := e.Types.Find(name); t != nil {
		return t.Told(rotation.Account[name])
	}
	return ""
}
