// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"

	"custody.dev/custody/internal/transport"
)

// Error is what went wrong upstream, in words that hold no part of a credential and nothing that a library or the other
// side made of one. It wraps Class, and Cause where that is one of Custody's own errors or a context's.
type Error struct {
	Doing string
	// At is the place that it is about where there are several: a node, a step. "" for none.
	At string
	// Class is one of this package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Said is what the other side answered, as far as it may be shown: a status, a code. "" when it said nothing.
	Said  string
	Cause error
	// Next is the operator's next move.
	Next string
}

// Error is the one-line message, without the hint.
func (e *Error) Error() string {
	var class, cause string
	if e.Class != nil {
		class = e.Class.Error()
	}
	if e.Cause != nil {
		cause = e.Cause.Error()
	}
	at := ""
	if e.At != "" {
		at = " at " + e.At
	}
	return Join(e.Doing+at, class, e.Detail, e.Said, cause)
}

// Hint is the operator's next move: its own, else the cause's.
func (e *Error) Hint() string {
	if e.Next == "" {
		return hintOf(e.Cause)
	}
	return e.Next
}

// hintOf is the operator's next move that an error in err's chain names, "" for none.
func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Class, e.Cause} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}

// Classless takes the claim off err that nothing was applied, for a call that had another effect before. When to ask
// again, and what to do, stays.
func Classless(err error) error {
	if !classed(err) {
		return err
	}
	bare := &Error{Doing: err.Error(), Next: hintOf(err)}
	if failure, ok := errors.AsType[*Error](err); ok {
		*bare = *failure
		bare.Class, bare.Cause = nil, Classless(failure.Cause)
	}
	if wait, says := errors.AsType[*Later](err); says {
		return &Later{After: wait.After, Err: bare}
	}
	return bare
}

// classed reports whether err is of any class.
func classed(err error) bool {
	return errors.Is(err, ErrNotApplied) || errors.Is(err, ErrSuperseded) || errors.Is(err, ErrRefusedCandidate)
}

const (
	// WithoutTLS is told of a server that was asked for TLS and speaks without it.
	WithoutTLS = "the server does not speak TLS at this port: " + tlsMove
	// silentTLS is told of one that answers nothing to a client that begins with TLS.
	silentTLS = "the server took the connection and did not answer when TLS was asked for; if it does not speak TLS at this port: " + tlsMove
	tlsMove   = "turn TLS on there, or name the port that has it. The Upstream document may leave TLS out " +
		"(tls: disable, or an http:// address) only to loopback or a socket"
)

// Told names a failure on this side of the wire without quoting what a library made of it: only network and certificate
// errors, which hold addresses and names, are passed on. The cause is a context's error, and then all there is to say. Of
// any other failure, otherwise is what is said.
func Told(err error, otherwise string) (detail string, cause error) {
	handshake, undecided := errors.AsType[*transport.HandshakeError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return "", context.Canceled
	case errors.Is(err, context.DeadlineExceeded) && undecided:
		return silentTLS, context.DeadlineExceeded
	case errors.Is(err, context.DeadlineExceeded):
		return "", context.DeadlineExceeded
	}
	if transport.NoTLS(err) {
		return WithoutTLS, nil
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate.Error(), nil
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		if undecided && network.Timeout() {
			return silentTLS, nil
		}
		return network.Error(), nil
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name.Error(), nil
	}
	if undecided && (errors.Is(handshake, io.EOF) || errors.Is(handshake, io.ErrUnexpectedEOF)) {
		return silentTLS, nil
	}
	return otherwise, nil
}

// Join puts colons between those of the parts that say something.
func Join(parts ...string) string {
	said := parts[:0:0]
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, ": ")
}
