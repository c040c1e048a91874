// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/transport"
)

// Endpoints lists every place to which an upstream sends credentials, as its document with defaults applied says: HOST:PORT,
// the path of a socket, or the origin of a URL, followed by what is not usual in how the server is identified. A change of
// either is another endpoint. What the host file says (programs, folders) is none.
func Endpoints(spec v1alpha1.UpstreamSpec) []string {
	name := TypeOf(spec)
	if name == "" {
		return nil
	}
	found := findKind(name).endpoints(spec)
	slices.Sort(found)
	return slices.Compact(found)
}

// ServerOf names the server that an upstream is at first: HOST:PORT, the path of a socket, or AWS's own, however its document
// writes that. Documents that name one server have the same. "" for a program, which may be at any.
func ServerOf(spec v1alpha1.UpstreamSpec) string {
	name := TypeOf(spec)
	if name == "" || spec.Exec != nil {
		return ""
	}
	all := findKind(name).endpoints(spec)
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

// ToldProgram is what the account's document tells a program of the host's, which may be an address; "" when that is nothing.
func ToldProgram(rotation *v1alpha1.RotationSpec) string {
	if rotation == nil || rotation.Exec == nil || len(rotation.Exec.Parameters) == 0 {
		return ""
	}
	return told(rotation.Exec.Parameters)
}

// addressOf is HOST:PORT or the path of a socket, with how the server there is identified.
func addressOf(host string, port int, tls, certificate string) string {
	if transport.Socket(host) {
		return host
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.Itoa(port)) + identified(tls, certificate)
}

// postgresAt is addressOf where the path is that of a folder of sockets.
func postgresAt(host string, port int, tls, certificate string) string {
	if transport.Socket(host) {
		return strings.TrimSuffix(host, "/") + "/.s.PGSQL." + strconv.Itoa(port)
	}
	return addressOf(host, port, tls, certificate)
}

// originOf is scheme, host and port of a URL, with how the server there is identified.
func originOf(text, certificate string) string {
	where, err := url.Parse(text)
	if err != nil {
		return text // reported by its rule
	}
	if where.Port() != "" {
		return where.Scheme + "://" + strings.ToLower(where.Host) + identified("", certificate)
	}
	port := "443"
	if where.Scheme == "http" {
		port = "80"
	}
	return where.Scheme + "://" + net.JoinHostPort(strings.ToLower(where.Hostname()), port) + identified("", certificate)
}

// identified is "" where the system's authorities vouch for the server's name.
func identified(tls, certificate string) string {
	text := ""
	switch tls {
	case "disable":
		return " without TLS"
	case "require":
		return " by any certificate"
	case "verify-ca":
		text = " under any name"
	}
	if certificate != "" {
		sum := sha256.Sum256([]byte(strings.TrimSpace(certificate)))
		text += " by CA " + hex.EncodeToString(sum[:16])
	}
	return text
}
