// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"custody.dev/custody/internal/upstream"
)

// Error is what went wrong, in words that hold no part of a credential. It wraps Class, and Cause where that is one of
// Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Code is the server's name of its error, "" when it said nothing.
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

func notApplied(doing, detail string) *Error {
	return &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: detail}
}

// Codes that decide.
const (
	codeSkewed       = "RequestTimeTooSkewed"
	codeUnknownKey   = "InvalidAccessKeyId"
	codeSignature    = "SignatureDoesNotMatch"
	codeDenied       = "AccessDenied"
	codeRegion       = "AuthorizationHeaderMalformed"
	codeBadSecret    = "XMinioAdminInvalidSecretKey"
	codeBadKey       = "XMinioAdminInvalidAccessKey"
	codeNoUser       = "XMinioAdminNoSuchUser"
	codeNoAccount    = "XMinioInvalidIAMCredentials"
	codeSlow         = "SlowDown"
	codeManyRequests = "TooManyRequests"
	codeStarting     = "XMinioServerNotInitialized"
)

const (
	nextRights    = "let the admin be the user itself or one of its keys, or give it admin:CreateServiceAccount, admin:ListServiceAccounts and admin:RemoveServiceAccount"
	nextUser      = "create the user, or correct it in the document"
	nextRegion    = "set region in the Upstream document to the server's"
	nextRule      = "let the secret's generate rule make 8 to 40 characters"
	nextReachable = "see that the server runs, and that endpoint and caCertificate in the Upstream document are right"
	nextAdmin     = "make another access key for the admin and hand it in, as the secret that adminRef names: `custody supply SECRET`"

	// slowFor is how long to wait when the server asks to be asked less.
	slowFor = 10 * time.Second
)

// refusesCredential reports whether the server said that the credential which signed is not one of its own.
func (a answer) refusesCredential() bool {
	return a.status == http.StatusForbidden && (a.code == codeUnknownKey || a.code == codeSignature)
}

// busy reports whether the server took no look at the request.
func (a answer) busy() bool {
	return a.status == http.StatusTooManyRequests ||
		a.status == http.StatusServiceUnavailable && (a.code == codeSlow || a.code == codeManyRequests || a.code == codeStarting)
}

// failure describes an answer that is not what was asked for. Only what the server surely refused is not applied.
func (a answer) failure(doing string) *Error {
	e := &Error{Doing: doing, Code: a.code}
	if e.Code == "" {
		e.Detail = "HTTP status " + http.StatusText(a.status) + " with an answer that is not MinIO's"
	}
	switch {
	case a.busy():
		e.Class, e.Cause = upstream.ErrNotApplied, &upstream.Later{After: slowFor, Err: errors.New("the server asks to be asked later")}
	case a.code == codeBadSecret || a.code == codeBadKey:
		e.Class, e.Next = upstream.ErrRefusedCandidate, nextRule
	case a.status >= 400 && a.status < 500 && a.code != "":
		e.Class = upstream.ErrNotApplied
	}
	switch a.code {
	case codeDenied:
		e.Next = nextRights
	case codeNoUser:
		e.Next = nextUser
	case codeRegion:
		e.Next = nextRegion
	}
	return e
}

var errBroke = errors.New("the connection broke, or the server and this client could not agree on TLS")

// describe names a client-side failure without quoting what a library made of it: only network and certificate errors,
// which hold addresses and names, are passed on.
func describe(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name
	}
	return errBroke
}
