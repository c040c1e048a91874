// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"custody.dev/custody/internal/upstream"
)

// Error is what went wrong, in words that hold no password and no hash. It wraps Class, and Cause where that is one of
// Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Code is what the mail server or the database answered, "" when it said nothing.
	Code  string
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
	for _, part := range []string{e.Detail, e.Code} {
		if part != "" {
			parts = append(parts, part)
		}
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

func notApplied(doing, detail, next string) *Error {
	return &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// describe names a client-side failure without quoting what a library made of it: only network and certificate errors,
// which hold addresses and names, are passed on.
func describe(ctx context.Context, err error) (detail string, cause error) {
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
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
	return "the connection broke, or the server and this client could not agree on TLS or on how to sign in", nil
}

func foreign(doing, login, claim string) *Error {
	return &Error{
		Doing: doing, Class: upstream.ErrSuperseded, Detail: fmt.Sprintf("the marker of %q is %s", login, claim),
		Next: "if nobody else rotates it, clear that marker",
	}
}
