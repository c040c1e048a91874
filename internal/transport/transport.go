// SPDX-License-Identifier: Apache-2.0

// Package transport defines, for all upstreams and for the checks of documents, how the identity of a server is
// verified and where that is not necessary, and whether an HTTP request without an answer may have been sent. From the
// process's environment it uses only the proxy, for every upstream that speaks HTTP: see HTTP.
package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Roots are the authorities of a document: PEM. Without any they are nil, which means the system's.
func Roots(certificates string) (*x509.CertPool, error) {
	if certificates == "" {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(certificates)) {
		return nil, errors.New("the CA certificate is not PEM")
	}
	return roots, nil
}

// Verified is TLS 1.2 or later to host, whose chain and name are checked; certificates are as for Roots.
func Verified(host, certificates string) (*tls.Config, error) {
	roots, err := Roots(certificates)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: roots}, nil
}

// ChainOnly is Verified without the name: any server that the authorities vouch for is believed.
func ChainOnly(host, certificates string) (*tls.Config, error) {
	config, err := Verified(host, certificates)
	if err != nil {
		return nil, err
	}
	roots := config.RootCAs
	config.InsecureSkipVerify = true // the chain is checked below
	config.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	return config, nil
}

func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, certificate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// Socket reports whether host is the path of a Unix socket, or of its folder.
func Socket(host string) bool { return filepath.IsAbs(host) }

// Local reports whether host is loopback or a socket: what is sent there never leaves the machine.
func Local(host string) bool {
	address, err := netip.ParseAddr(host)
	return Socket(host) || strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

// Plain returns why TLS cannot be left out to host, nil where it can.
func Plain(host string) error {
	if Local(host) {
		return nil
	}
	return fmt.Errorf("TLS cannot be disabled to %q, which is neither loopback nor a socket", host)
}

// Host returns why host cannot be the one host of a document: a name, an address or the path of a socket.
func Host(host string) error {
	if host == "" || strings.ContainsAny(host, ",\x00") || !Socket(host) && strings.ContainsAny(host, "/@?# ") {
		return fmt.Errorf("host %q: want one name, address or path of a socket", host)
	}
	return nil
}

// Address takes HOST or HOST:PORT apart; port is that of one that names none. The path of a socket is a host without a port. An error
// says why it has no port that is granted as it is dialled: a name would be looked up where it is dialled.
func Address(text string, port int) (string, int, error) {
	if Socket(text) {
		return text, 0, nil
	}
	host, named, err := net.SplitHostPort(text)
	if err != nil {
		return strings.Trim(text, "[]"), port, nil //nolint:nilerr // a host alone
	}
	number, err := strconv.ParseUint(named, 10, 16)
	if err != nil || number == 0 || strconv.FormatUint(number, 10) != named {
		return host, 0, fmt.Errorf("port %q: want a number from 1 to 65535", named)
	}
	return host, int(number), nil
}

// Port returns why number cannot be a document's port, of which 0 is the default.
func Port(number int) error {
	if number < 0 || number > 65535 {
		return fmt.Errorf("port %d is out of range", number)
	}
	return nil
}

// Endpoint returns why text cannot be the address of an HTTP interface: a URL of scheme and host alone, https, or http to
// loopback.
func Endpoint(text string) error {
	where, err := url.Parse(text)
	if err != nil || where.Hostname() == "" || where.User != nil || strings.Trim(where.Path, "/") != "" || where.RawQuery != "" || where.Fragment != "" {
		return errors.New("an endpoint must be a URL of scheme and host alone")
	}
	if where.Scheme != "https" && (where.Scheme != "http" || !Local(where.Hostname())) {
		return fmt.Errorf("endpoint of scheme %q: want https, or http to loopback", where.Scheme)
	}
	return nil
}

// HTTP is the one transport of requests to upstreams. It follows HTTPS_PROXY and NO_PROXY as they are now, and never for loopback:
// they are the operator's own, as the host file is, and a proxy learns no more than the names of servers, since TLS is agreed
// with those through it. It opens a connection for each request: one that was idle may be gone, and what was sent on it in
// doubt.
func HTTP(config *tls.Config) *http.Transport {
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	return &http.Transport{
		Proxy:           func(request *http.Request) (*url.URL, error) { return proxy(request.URL) },
		TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true,
	}
}

// Client speaks HTTP to servers that the authorities vouch for; certificates are as for Roots. It follows no redirect,
// since a credential is for one server.
func Client(certificates string) (*http.Client, error) {
	config, err := Verified("", certificates)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     HTTP(config),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
