// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"

	"custody.dev/custody/internal/transport"
)

// TLS modes, as documents write them.
const (
	VerifyFull = "verify-full"
	Disable    = "disable"
)

// Server says where the broker is and how its identity is checked.
type Server struct {
	// Host name or address of the AMQP listener.
	Host string
	// Port of the AMQP listener. Default 5671, without TLS 5672.
	Port int
	// ManagementHost defaults to Host.
	ManagementHost string
	// ManagementPort defaults to 15671, without TLS 15672.
	ManagementPort int
	// ManagementPath is the prefix of the management interface's paths, "" or beginning with a slash.
	ManagementPath string
	// TLS is verify-full (default) or disable, which wants loopback.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
}

// endpoints are where to connect, and how; the TLS configurations are nil without TLS.
type endpoints struct {
	amqp, management       string
	amqpTLS, managementTLS *tls.Config
	// base is the URL of the management interface, without a slash at its end.
	base string
}

func (s Server) endpoints() (endpoints, error) {
	var none endpoints
	amqpPort, managementPort, scheme := 5671, 15671, "https"
	switch s.TLS {
	case "", VerifyFull:
	case Disable:
		amqpPort, managementPort, scheme = 5672, 15672, "http"
	default:
		return none, fmt.Errorf("TLS mode %q: want verify-full or disable", s.TLS)
	}
	if s.ManagementPath != "" && !isPath(s.ManagementPath) {
		return none, fmt.Errorf("path %q: want one that begins with a slash", s.ManagementPath)
	}
	var out endpoints
	var err error
	if out.amqp, out.amqpTLS, err = s.listener(s.Host, s.Port, amqpPort); err != nil {
		return none, err
	}
	if out.management, out.managementTLS, err = s.listener(cmp.Or(s.ManagementHost, s.Host), s.ManagementPort, managementPort); err != nil {
		return none, err
	}
	out.base = scheme + "://" + out.management + s.ManagementPath
	return out, nil
}

// listener is one of the broker's two, of which usual is the port where none is given.
func (s Server) listener(host string, port, usual int) (address string, config *tls.Config, err error) {
	if transport.Host(host) != nil || transport.Socket(host) {
		return "", nil, fmt.Errorf("host %q: want a name or an address", host)
	}
	if err := transport.Port(port); err != nil {
		return "", nil, err
	}
	if config, err = transport.Verified(host, s.CACertificate); err != nil {
		return "", nil, err
	}
	if s.TLS == Disable {
		config, err = nil, transport.Plain(host)
	}
	return net.JoinHostPort(host, strconv.Itoa(cmp.Or(port, usual))), config, err
}

// isPath reports whether text is a path that others can be appended to, and nothing more.
func isPath(text string) bool {
	return strings.HasPrefix(text, "/") && !strings.HasSuffix(text, "/") && !strings.ContainsAny(text, "?#%\\ ") &&
		!strings.Contains(text, "//") && !strings.Contains(text, "..")
}
