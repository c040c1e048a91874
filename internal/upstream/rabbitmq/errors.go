// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"custody.dev/custody/internal/upstream"
)

// Error is what went wrong, in words that hold no password and no hash of one. It wraps Class, and Cause where that is
// one of Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Code is the broker's: an HTTP status, or the reply code of AMQP; 0 when it said nothing. The words that came with
	// it may quote what was sent and are dropped.
	Code  int
	Cause error
	// Next is the operator's next move.
	Next string
}

// Error is the one-line message, without the hint.
func (e *Error) Error() string {
	parts := []string{e.Doing}
	if e.Class != nil {
		parts = append(parts, e.Class.Error())
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Code != 0 {
		parts = append(parts, fmt.Sprintf("the broker answers %d", e.Code))
	}
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	return strings.Join(parts, ": ")
}

// Hint is the operator's next move.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var wrapped []error
	if e.Class != nil {
		wrapped = append(wrapped, e.Class)
	}
	if e.Cause != nil {
		wrapped = append(wrapped, e.Cause)
	}
	return wrapped
}

const (
	nextAdmin     = "give the admin the tag administrator: rabbitmqctl set_user_tags ADMIN administrator"
	nextReachable = "see that the broker runs with the management plugin, and that hosts, ports and TLS in the Upstream document are right"
)

// describe names a failure on the client's side without quoting what a library made of it: only network and certificate
// errors, which hold addresses and names, are passed on.
func describe(err error) (detail string, cause error) {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return "", known
		}
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate.Error(), nil
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network.Error(), nil
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name.Error(), nil
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return record.Error(), nil
	}
	for _, known := range []error{errProtocol, errTooLarge, errForm} {
		if errors.Is(err, known) {
			return known.Error(), nil
		}
	}
	return "the connection broke, or broker and client could not agree on TLS or on a protocol", nil
}

func foreign(doing, user, claim string) *Error {
	return &Error{
		Doing: doing, Class: upstream.ErrSuperseded, Detail: fmt.Sprintf("user %q carries the claim of %s", user, claim),
		Next: "if nobody else rotates it, take the tags that begin with " + tagPrefix + " off the user",
	}
}
