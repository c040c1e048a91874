// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/upstream"
)

// Error is what went wrong, in words that hold no secret and no token. It wraps Class, and Cause where that is one of
// Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Status is the provider's, 0 when it said nothing; Code the standard's word for the error, "" when it gave none.
	Status int
	Code   string
	Cause  error
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
	if e.Status != 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(e.Status))
	}
	if e.Code != "" {
		parts = append(parts, e.Code)
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

// classless takes the claim off err that nothing was applied. When to ask again, and what to do, stays.
func classless(err error) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	bare := *failure
	bare.Class, bare.Cause = nil, classless(bare.Cause)
	if wait, says := errors.AsType[*upstream.Later](err); says {
		return &upstream.Later{After: wait.After, Err: &bare}
	}
	return &bare
}

// Words of RFC 6749 and RFC 7591 that decide.
const (
	codeInvalidClient      = "invalid_client"
	codeUnauthorizedClient = "unauthorized_client"
	codeInvalidGrant       = "invalid_grant"
	codeInvalidScope       = "invalid_scope"
	codeInvalidTarget      = "invalid_target"
)

// metadataCodes are the provider's way to say that it will not register such a client.
var metadataCodes = []string{
	"invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement", "unapproved_software_statement", codeInvalidScope,
}

const (
	nextReach    = "see that the provider runs, and that issuer and caCertificate in the Upstream document are right"
	nextEndpoint = "name the addresses as the provider serves them; Custody follows no redirect with a credential"
)

// defaultLater is waited for when the provider does not say how long; maxLater bounds what it says.
const (
	defaultLater = 30 * time.Second
	maxLater     = time.Hour
)

// later wraps err for a provider that wants to be left alone. Now is when its answer came.
func later(err error, header http.Header, now time.Time) error {
	wait := defaultLater
	text := header.Get("Retry-After")
	if seconds, failed := strconv.Atoi(text); failed == nil {
		wait = time.Duration(min(max(seconds, 0), int(maxLater/time.Second))) * time.Second
	} else if at, failed := http.ParseTime(text); failed == nil {
		// Both times are the provider's, if it tells its own.
		if date, failed := http.ParseTime(header.Get("Date")); failed == nil {
			now = date
		}
		wait = at.Sub(now)
	}
	return &upstream.Later{After: min(max(wait, 0), maxLater), Err: err}
}

var codeForm = regexp.MustCompile(`^[a-z_]{1,64}$`)

// describe names a client-side failure without quoting what a library made of it: only network and certificate errors,
// which hold addresses and names, are passed on.
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
	return "the connection broke, or the provider does not speak HTTP as expected", nil
}
