// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// Error is what went wrong, in words that hold no password and no verifier. It wraps Class, and Cause where that is
// one of Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// State is the server's SQLSTATE, "" when the server said nothing.
	State string
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
	if e.State != "" {
		parts = append(parts, "SQLSTATE "+e.State)
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

// SQLSTATEs that decide.
const (
	stateInvalidPassword      = "28P01"
	stateInvalidAuthorization = "28000"
	stateInvalidParameter     = "22023"
	stateRaised               = "P0001"
	statePrivilege            = "42501"
	stateLockTimeout          = "55P03"
	stateCanceled             = "57014"
	stateReadOnly             = "25006"
	stateCompletionUnknown    = "40003"
)

const (
	nextGrants = "the admin needs CREATEROLE, and from PostgreSQL 16 ADMIN OPTION on roles that it did not create: GRANT owner, user_a, user_b TO admin WITH ADMIN OPTION"
	nextBusy   = "another run or session holds this account; the call is repeated"
)

// fromServer describes a server's error by its state. The message is kept where the statement held no secret.
func fromServer(doing string, failure *pgconn.PgError, message bool) *Error {
	e := &Error{Doing: doing, Class: upstream.ErrNotApplied, State: failure.Code}
	if message {
		e.Detail = failure.Message
	}
	switch failure.Code {
	case statePrivilege:
		e.Next = nextGrants
	case stateLockTimeout, stateCanceled:
		e.Next = nextBusy
	case stateReadOnly:
		e.Next = "the server is a standby or read-only: name the primary in the Upstream document"
	}
	return e
}

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
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return record.Error(), nil
	}
	return "the connection broke, or the server and this client could not agree on TLS or on how to sign in", nil
}

// refusesCredential reports whether failure says that the credential itself is wrong. 28000 is also how the server says
// that no line of pg_hba.conf fits, which is about the network; the routine that raised it tells them apart.
func refusesCredential(failure *pgconn.PgError) bool {
	switch failure.Code {
	case stateInvalidPassword:
		return true
	case stateInvalidAuthorization:
		return failure.Routine == "auth_failed" || failure.Routine == "InitializeSessionUserId"
	}
	return false
}

// refusesCandidate reports whether failure, raised while a password was set, is a password rule speaking.
func refusesCandidate(failure *pgconn.PgError) bool {
	switch failure.Code {
	case stateInvalidParameter, stateInvalidPassword, stateInvalidAuthorization, stateRaised:
		return true
	}
	return false
}

func foreign(doing, role, claim string) *Error {
	return &Error{
		Doing: doing, Class: upstream.ErrSuperseded,
		Detail: fmt.Sprintf("the comment on role %q is %s", role, claim),
		Next:   fmt.Sprintf("if nobody else rotates it, clear the comment: COMMENT ON ROLE %s IS NULL", quoteName(role)),
	}
}
