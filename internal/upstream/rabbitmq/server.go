// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
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
	if s.ManagementHost == "" {
		s.ManagementHost = s.Host
	}
	amqpPort, managementPort, scheme := 5671, 15671, "https"
	switch s.TLS {
	case "", VerifyFull:
	case Disable:
		amqpPort, managementPort, scheme = 5672, 15672, "http"
	default:
		return none, fmt.Errorf("TLS mode %q: want verify-full or disable", s.TLS)
	}
	if s.Port == 0 {
		s.Port = amqpPort
	}
	if s.ManagementPort == 0 {
		s.ManagementPort = managementPort
	}
	for _, host := range []string{s.Host, s.ManagementHost} {
		if host == "" || strings.ContainsAny(host, "/,@?# \x00") {
			return none, fmt.Errorf("host %q: want a name or an address", host)
		}
		if s.TLS == Disable && !loopback(host) {
			return none, fmt.Errorf("TLS cannot be disabled to %q, which is not loopback", host)
		}
	}
	for _, port := range []int{s.Port, s.ManagementPort} {
		if port < 0 || port > 65535 {
			return none, fmt.Errorf("port %d is out of range", port)
		}
	}
	if s.ManagementPath != "" && (!strings.HasPrefix(s.ManagementPath, "/") || strings.ContainsAny(s.ManagementPath, "?#%\\ ")) {
		return none, fmt.Errorf("path %q: want one that begins with a slash", s.ManagementPath)
	}
	var roots *x509.CertPool
	if s.CACertificate != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(s.CACertificate)) {
			return none, errors.New("the CA certificate is not PEM")
		}
	}
	out := endpoints{
		amqp:       net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		management: net.JoinHostPort(s.ManagementHost, strconv.Itoa(s.ManagementPort)),
	}
	out.base = scheme + "://" + out.management + strings.TrimSuffix(s.ManagementPath, "/")
	if s.TLS != Disable {
		out.amqpTLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Host, RootCAs: roots}
		out.managementTLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ManagementHost, RootCAs: roots}
	}
	return out, nil
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}
