// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"errors"
	"net/http"
	"time"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

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
		o.code = accesskey.Code(answered.ErrorCode())
	}
	switch o.code {
	case codeSignature, codeExpired, codeSkewed:
		o.skewed = o.timed && a.date.Sub(a.signed).Abs() > skewAllowed
	}
	return o
}

// refusesCredential reports whether AWS said that the key which signed is not one that it honours.
func (o outcome) refusesCredential() bool {
	return o.status == http.StatusForbidden && (o.code == codeUnknownKey || o.code == codeSignature && o.timed && !o.skewed)
}

func (o outcome) throttled() bool {
	_, throttled := retry.DefaultThrottleErrorCodes[o.code]
	return throttled || o.status == http.StatusTooManyRequests
}

const broke = "the connection broke, or what answered is not AWS"

// failure describes what went wrong. Only what AWS surely refused, and what never left, is not applied.
func (o outcome) failure(doing string) *upstream.Error {
	e := &upstream.Error{Doing: doing, Said: o.code}
	switch {
	case o.throttled():
		e.Class, e.Cause = upstream.ErrNotApplied, &upstream.Later{After: throttledFor, Err: errors.New("AWS asks to be asked less often")}
	case o.code != "" && o.status >= 400 && o.status < 500:
		e.Class = upstream.ErrNotApplied
	case o.code != "":
		e.Detail = "AWS failed; the request may have taken effect"
	case !o.sent:
		e.Class = upstream.ErrNotApplied
		e.Detail, e.Cause = upstream.Told(o.err, broke)
		e.Detail = upstream.Join("AWS is unreachable", e.Detail)
	default:
		e.Detail, e.Cause = upstream.Told(o.err, broke)
		e.Detail = upstream.Join("no answer that is AWS's; the request may have taken effect", e.Detail)
	}
	switch o.code {
	case codeDenied:
		e.Next = nextRights
	case codeNoEntity:
		e.Next = nextUser
	}
	return e
}
