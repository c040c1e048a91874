// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"strconv"
	"strings"

	"custody.dev/custody/internal/transport"
)

// Address is HOST:PORT or the path of a socket, with how the server there is identified where that is not usual.
func Address(host string, port int, tls, certificate string) string {
	if transport.Socket(host) {
		return host
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.Itoa(port)) + identified(tls, certificate)
}

// PostgresAddress is Address where the path is that of a folder of sockets.
func PostgresAddress(host string, port int, tls, certificate string) string {
	if transport.Socket(host) {
		return strings.TrimSuffix(host, "/") + "/.s.PGSQL." + strconv.Itoa(port)
	}
	return Address(host, port, tls, certificate)
}

// OriginOf is scheme, host and port of a URL, with how the server there is identified where that is not usual.
func OriginOf(text, certificate string) string {
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

// Claims names each part of a server that belongs to one secret; parts that are empty are none. A claim is the same whichever
// Upstream document names the server.
func Claims(server string, parts ...string) []string {
	var out []string
	for _, part := range parts {
		if part != "" {
			out = append(out, server+"/"+part)
		}
	}
	return out
}
