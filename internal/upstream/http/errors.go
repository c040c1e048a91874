// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
)

// Error is what went wrong, in words that hold nothing of an answer's body and no value. It wraps Class, and Cause where
// that is one of Custody's own or a context's.
type Error struct {
	Doing string
	// Step is the place in the recipe, "" when no step was reached.
	Step string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	Cause  error
	// Next is the operator's next move.
	Next string
}

// Error is the one-line message, without the hint.
func (e *Error) Error() string {
	parts := []string{e.Doing}
	if e.Step != "" {
		parts = append(parts, e.Step)
	}
	if e.Class != nil {
		parts = append(parts, e.Class.Error())
	}
	if e.Status != 0 {
		parts = append(parts, "the upstream answered "+strconv.Itoa(e.Status))
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
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

// lacks says that a value cannot be used as it is.
func lacks(doing, field string) *Error {
	return &Error{
		Doing: doing, Detail: "a credential needs the field " + field,
		Next: "hand the value in with that field as well: `custody seal SECRET --field " + field + "`",
	}
}

// describe names a client-side failure without quoting what a library made of it, addresses with their query above all:
// only network and certificate errors, which hold host names, are passed on.
func describe(err error) (detail string, cause error) {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return "", known
		}
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate.Error(), nil
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name.Error(), nil
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network.Error(), nil
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return record.Error(), nil
	}
	return "the connection broke before an answer came", nil
}
