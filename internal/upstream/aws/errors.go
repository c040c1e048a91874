// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"custody.dev/custody/internal/upstream"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// Error is what went wrong, in words that hold no secret. It wraps Class, and Cause where that is one of Custody's own
// or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Code is AWS's name of its error, "" when it said nothing.
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

// unissued says of an error before a key was asked for that none was issued.
func unissued(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Class == nil {
		changed := *e
		changed.Class = upstream.ErrNotApplied
		return &changed
	}
	return err
}

// Codes that decide.
const (
	codeUnknownKey = "InvalidClientTokenId"
	codeSignature  = "SignatureDoesNotMatch"
	codeExpired    = "RequestExpired"
	codeSkewed     = "RequestTimeTooSkewed"
	codeNoEntity   = "NoSuchEntity"
	codeLimit      = "LimitExceeded"
	codeDenied     = "AccessDenied"
)

const (
	nextRights = "give the admin the policy on the page of this upstream: custody upstream explain aws"
	nextUser   = "create the user, or correct it in the document"
	nextAdmin  = "make another access key for the admin and hand it in, as the secret that adminRef names: `custody supply SECRET`"

	// throttledFor is how long to wait when AWS asks to be asked less.
	throttledFor = 30 * time.Second
	// skewAllowed is how far clocks may differ before a wrong signature may be the clock's fault. AWS allows five minutes.
	skewAllowed = 4 * time.Minute
)

// outcome is what became of one request.
type outcome struct {
	err    error // nil when it succeeded; nobody is shown it
	sent   bool
	status int
	code   string
	// skewed: refused because the clocks differ, or because of a signature while they do.
	skewed bool
	// timed: AWS told its time, without which a wrong signature may be the clock's fault.
	timed bool
}

func (a *attempt) outcome(err error) outcome {
	o := outcome{err: err, sent: a.sent, status: a.status, timed: !a.date.IsZero()}
	if answered, ok := errors.AsType[smithy.APIError](err); ok {
		o.code = plain(answered.ErrorCode())
	}
	switch o.code {
	case codeSignature, codeExpired, codeSkewed:
		o.skewed = o.timed && a.date.Sub(a.signed).Abs() > skewAllowed
	}
	return o
}

// plain keeps what can be the name of an error, so that an answer cannot put other words into a message.
func plain(code string) string {
	if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.'
	}) {
		return ""
	}
	return code
}

// refusesCredential reports whether AWS said that the key which signed is not one that it honours.
func (o outcome) refusesCredential() bool {
	return o.status == http.StatusForbidden && (o.code == codeUnknownKey || o.code == codeSignature && o.timed && !o.skewed)
}

func (o outcome) throttled() bool {
	_, throttled := retry.DefaultThrottleErrorCodes[o.code]
	return throttled || o.status == http.StatusTooManyRequests
}

// failure describes what went wrong. Only what AWS surely refused, and what never left, is not applied.
func (o outcome) failure(doing string) *Error {
	e := &Error{Doing: doing, Code: o.code}
	switch {
	case o.throttled():
		e.Class, e.Cause = upstream.ErrNotApplied, &upstream.Later{After: throttledFor, Err: errors.New("AWS asks to be asked less often")}
	case o.code != "" && o.status >= 400 && o.status < 500:
		e.Class = upstream.ErrNotApplied
	case o.code != "":
		e.Detail = "AWS failed; the request may have taken effect"
	case !o.sent:
		e.Class, e.Detail, e.Cause = upstream.ErrNotApplied, "AWS is unreachable", describe(o.err)
	default:
		e.Detail, e.Cause = "no answer that is AWS's; the request may have taken effect", describe(o.err)
	}
	switch o.code {
	case codeDenied:
		e.Next = nextRights
	case codeNoEntity:
		e.Next = nextUser
	}
	return e
}

var errBroke = errors.New("the connection broke, or what answered is not AWS")

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
