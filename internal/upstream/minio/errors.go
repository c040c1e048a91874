// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"errors"
	"net/http"
	"time"

	"custody.dev/custody/internal/upstream"
)

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

	// slowFor is how long to wait when the server asks to be asked less.
	slowFor = 10 * time.Second
)

// refusesCredential reports whether the server said that the credential which signed is not one of its own.
func (a answer) refusesCredential() bool {
	return a.Status == http.StatusForbidden && (a.code == codeUnknownKey || a.code == codeSignature)
}

// busy reports whether the server took no look at the request.
func (a answer) busy() bool {
	return a.Status == http.StatusTooManyRequests ||
		a.Status == http.StatusServiceUnavailable && (a.code == codeSlow || a.code == codeManyRequests || a.code == codeStarting)
}

// failure describes an answer that is not what was asked for. Only what the server surely refused is not applied.
func (a answer) failure(doing string) *upstream.Error {
	e := &upstream.Error{Doing: doing, Said: a.code}
	if e.Said == "" {
		e.Detail = "HTTP status " + http.StatusText(a.Status) + " with an answer that is not MinIO's"
	}
	switch {
	case a.busy():
		e.Class, e.Cause = upstream.ErrNotApplied, &upstream.Later{After: slowFor, Err: errors.New("the server asks to be asked later")}
	case a.code == codeBadSecret || a.code == codeBadKey:
		e.Class, e.Next = upstream.ErrRefusedCandidate, nextRule
	case a.Status >= 400 && a.Status < 500 && a.code != "":
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

const broke = "the connection broke, or the server and this client could not agree on TLS"
