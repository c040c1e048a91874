// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// ErrNoTLS is a server's own word that it does not offer TLS.
var ErrNoTLS = errors.New("the server offers no TLS")

// HandshakeError is a connection that was made, and over which no TLS was agreed. Err is the library's.
type HandshakeError struct{ Err error }

// Error quotes a library: it is for those who unwrap it.
func (e *HandshakeError) Error() string { return "agreeing on TLS: " + e.Err.Error() }

// Unwrap gives what the library said.
func (e *HandshakeError) Unwrap() error { return e.Err }

// Secure agrees on TLS over a connection that was made, within ctx. On an error, a *HandshakeError, raw is closed.
func Secure(ctx context.Context, raw net.Conn, config *tls.Config) (*tls.Conn, error) {
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake failed already
		return nil, &HandshakeError{err}
	}
	return secured, nil
}

// NoTLS reports whether err shows that a server which was asked for TLS speaks without it: by its own word, or because what
// it answered is no TLS.
func NoTLS(err error) bool {
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return plain || errors.Is(err, ErrNoTLS) || errors.Is(err, http.ErrSchemeMismatch)
}

// Heard keeps the first bytes that a server sends, which of a protocol that begins without TLS say whether it offers it.
type Heard struct {
	net.Conn
	kept []byte
}

const mostHeard = 4 << 10

// Read implements net.Conn.
func (h *Heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.kept = append(h.kept, p[:min(n, mostHeard-len(h.kept))]...)
	return n, err
}

// First returns the first bytes, a few thousand at most. It is not to be called while something reads.
func (h *Heard) First() []byte { return h.kept }
