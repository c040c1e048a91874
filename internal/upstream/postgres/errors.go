// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"fmt"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/jackc/pgx/v5/pgconn"
)

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
	stateTooMany              = "53300"
)

const (
	nextGrants = "the admin needs CREATEROLE, and from PostgreSQL 16 ADMIN OPTION on roles that it did not create: GRANT owner, user_a, user_b TO admin WITH ADMIN OPTION"
	nextMethod = "pg_hba.conf needs a line that fits this role, database and way in, and asks for the role's password (scram-sha-256)"
	nextLimit  = "Custody signs in beside the consumers: raise what the message names by one, max_connections or the CONNECTION LIMIT of the role or the database"
	nextBusy   = "another run or session holds this account; the call is repeated"
)

// said is what may be shown of a server's error whatever the statement held.
func said(failure *pgconn.PgError) string { return "SQLSTATE " + failure.Code }

// fromServer describes a server's error by its state. The message is kept where the statement held no secret.
func fromServer(doing string, failure *pgconn.PgError, message bool) *upstream.Error {
	e := &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Said: said(failure)}
	if message {
		e.Detail = failure.Message
	}
	switch failure.Code {
	case statePrivilege:
		e.Next = nextGrants
	case stateInvalidAuthorization:
		e.Next = nextMethod
	case stateLockTimeout, stateCanceled:
		e.Next = nextBusy
	case stateReadOnly:
		e.Next = "the server is a standby or read-only: name the primary in the Upstream document"
	}
	return e
}

// broken is what is told of a library's errors that are neither the network's nor about certificates.
const broken = "the connection broke, or the server and this client could not agree on TLS or on how to sign in"

// unanswered is the error of a sign-in that the server did not answer.
func unanswered(err error) *upstream.Error {
	detail, cause := upstream.Told(err, broken)
	return &upstream.Error{Doing: login.SigningIn, Detail: detail, Cause: cause}
}

// undecided is the error of a sign-in whose answer says nothing of the credential.
func undecided(failure *pgconn.PgError) *upstream.Error {
	e := &upstream.Error{Doing: login.SigningIn, Detail: failure.Message, Said: said(failure)}
	switch failure.Code {
	case stateInvalidAuthorization:
		e.Next = nextMethod
	case stateTooMany:
		e.Next = nextLimit
	}
	return e
}

// refusesCredential reports whether failure says that the credential itself is wrong. The server gives 28P01 where it
// compared the role's password, and 28000 for all else: no line of pg_hba.conf fits, or the line asks something else than
// that password (peer, ident, cert, ldap, pam). Of those only one is about the role: it is not there, or may not log in;
// the routine that raised it tells.
func refusesCredential(failure *pgconn.PgError) bool {
	switch failure.Code {
	case stateInvalidPassword:
		return true
	case stateInvalidAuthorization:
		return failure.Routine == "InitializeSessionUserId"
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

func foreign(doing, role, claim string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded,
		Detail: fmt.Sprintf("the comment on role %q is %s", role, claim),
		Next:   fmt.Sprintf("if nobody else rotates it, clear the comment: COMMENT ON ROLE %s IS NULL", quoteName(role)),
	}
}
