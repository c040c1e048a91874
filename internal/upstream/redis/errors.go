// SPDX-License-Identifier: Apache-2.0

package redis

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
	// Node is the address of the server that it is about; "" when it is about none.
	Node string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Code is the first word of the server's error reply, "" when the server said nothing. The rest of such a reply may
	// quote what was sent and is dropped.
	Code  string
	Cause error
	// Next is the operator's next move.
	Next string
}

// Error is the one-line message, without the hint.
func (e *Error) Error() string {
	parts := []string{e.Doing}
	if e.Node != "" {
		parts[0] += " at " + e.Node
	}
	if e.Class != nil {
		parts = append(parts, e.Class.Error())
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Code != "" {
		parts = append(parts, "the server says "+e.Code)
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

// Codes of error replies that decide.
const (
	codeWrongPassword = "WRONGPASS"
	codeNoPermission  = "NOPERM"
)

const nextRights = "give the admin what the page of this upstream lists: ACL SETUSER admin +acl|list +acl|setuser +acl|save"

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
	if errors.Is(err, errProtocol) {
		return errProtocol.Error(), nil
	}
	return "the connection broke, or the server and this client could not agree on TLS", nil
}

func foreign(node, user string) *Error {
	return &Error{
		Node: node, Class: upstream.ErrSuperseded, Detail: fmt.Sprintf("user %q carries another claim", user),
		Next: fmt.Sprintf("if nobody else rotates it, take the entries that begin with #%s off the user (ACL LIST shows them, ACL SETUSER %s !… removes one)", marked, user),
	}
}
