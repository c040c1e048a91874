// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/upstream"

	"github.com/go-sql-driver/mysql"
)

// Error is what went wrong, in words that hold no password and no hash. It wraps Class, and Cause where that is one of
// Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Number is the server's, 0 when the server said nothing.
	Number uint16
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
	if e.Number != 0 {
		parts = append(parts, "error "+strconv.Itoa(int(e.Number)))
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

// Numbers that decide. Those of 3000 and above differ between MySQL (3…) and MariaDB (4…).
const (
	errTooMany        = 1040
	errDatabaseDenied = 1044
	errAccessDenied   = 1045
	errShutdown       = 1053
	errSyntax         = 1064
	errHostBlocked    = 1129
	errHostUnknown    = 1130
	errTableDenied    = 1142
	errNoTable        = 1146
	errLockWait       = 1205
	errUserLimit      = 1203
	errUserResources  = 1226
	errPrivilege      = 1227
	errReadOnly       = 1290
	errInterrupted    = 1317
	errCannotUser     = 1396
	errDeniedNoWord   = 1698
	errPasswordRule   = 1819
	errMustChange     = 1820
	errGrantRole      = 1959
	errStatementTime  = 1969
	errMySQLDeadline  = 3024
	errMySQLLocked    = 3118
	errOtherPlugin    = 3894
	errMySQLTemporary = 3955
	errMariaDBBlocked = 4150
	errMariaDBLocked  = 4151
	errKilled         = 1927
)

const (
	nextGrants = "the admin needs: GRANT CREATE USER ON *.* TO admin; for a role: GRANT role TO admin WITH ADMIN OPTION"
	nextBusy   = "another run or session holds this account; the call is repeated"
)

// lockOut is how long after a lock-out asking again makes no sense: people or days end it.
const lockOut = 10 * time.Minute

// refusesCredential reports whether a sign-in's error says that the credential itself is wrong.
func refusesCredential(number uint16) bool {
	return number == errAccessDenied || number == errDeniedNoWord
}

// lockedAccount reports whether a sign-in's error says that the account is locked, by ACCOUNT LOCK. Whose password was
// right is not told.
func lockedAccount(number uint16) bool { return number == errMySQLLocked || number == errMariaDBLocked }

// undecided describes a sign-in's error that says nothing of the credential.
func (u *Upstream) undecided(failure *mysql.MySQLError) error {
	e := fromServer(signingIn, failure)
	e.Class = nil
	switch failure.Number {
	case errMariaDBBlocked:
		e.Next = "wrong sign-ins have blocked the user: find who makes them, then FLUSH PRIVILEGES; Custody's next change unblocks it too"
		return &upstream.Later{After: max(lockOut, u.WrongEvery), Err: e}
	case errMySQLTemporary:
		e.Next = "wrong sign-ins have locked the user: find who makes them, then ALTER USER … ACCOUNT UNLOCK"
		return &upstream.Later{After: max(lockOut, u.WrongEvery), Err: e}
	case errMariaDBLocked, errMySQLLocked:
		e.Next = "find who locked the account, and why; then ALTER USER … ACCOUNT UNLOCK"
	case errHostBlocked:
		e.Next = "the server blocks this host after broken connections: FLUSH HOSTS"
	case errHostUnknown:
		e.Next = "no account allows sign-ins from here: see the host part of the account"
	}
	return e
}

// fromServer describes a server's error by its number. Its message, which could quote a statement, is not kept: what each
// number means is in the server's manual.
func fromServer(doing string, failure *mysql.MySQLError) *Error {
	e := &Error{Doing: doing, Class: upstream.ErrNotApplied, Number: failure.Number, Detail: meaning[failure.Number]}
	switch failure.Number {
	case errPrivilege, errDatabaseDenied, errTableDenied, errGrantRole:
		e.Next = nextGrants
	case errLockWait, errStatementTime, errMySQLDeadline, errInterrupted:
		e.Next = nextBusy
	case errOtherPlugin:
		e.Next = "a password can only be kept beside another of the same plugin: ALTER USER … IDENTIFIED WITH caching_sha2_password BY …, once, with the current password and when its clients can sign in by it; or use mode alternate"
	case errReadOnly:
		e.Next = "the server is a replica, read-only, or checks passwords itself: name the primary in the Upstream document, or set sendPassword"
	}
	return e
}

var meaning = map[uint16]string{
	errTooMany:        "too many connections",
	errDatabaseDenied: "the right is missing",
	errAccessDenied:   "access denied",
	errShutdown:       "the server is shutting down",
	errHostBlocked:    "the server blocks this host",
	errHostUnknown:    "no account allows this host",
	errTableDenied:    "a right on a table is missing",
	errNoTable:        "the table does not exist",
	errLockWait:       "waiting for a lock took too long",
	errUserLimit:      "the user has too many connections",
	errUserResources:  "the user has used up a limit of its account",
	errPrivilege:      "the right is missing",
	errReadOnly:       "an option of the server forbids it",
	errInterrupted:    "the statement was interrupted",
	errCannotUser:     "the account could not be changed",
	errMustChange:     "the password has expired",
	errGrantRole:      "the role is not granted",
	errStatementTime:  "the deadline passed while the statement waited",
	errMariaDBLocked:  "the account is locked",
	errMySQLLocked:    "the account is locked",
	errOtherPlugin:    "the account checks its password by another plugin",
	errMySQLTemporary: "the account is locked after wrong sign-ins",
	errMariaDBBlocked: "the account is blocked after wrong sign-ins",
}

// mayHaveActed reports whether a statement that ended with this number may have taken effect all the same.
func mayHaveActed(number uint16) bool {
	switch number {
	case errShutdown, errInterrupted, errStatementTime, errMySQLDeadline, errKilled:
		return true
	}
	return false
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
	if errors.Is(err, mysql.ErrNoTLS) {
		return "the server offers no TLS", nil
	}
	return "the connection broke, or the server and this client could not agree on TLS or on how to sign in", nil
}

// unsent reports whether the driver says that nothing of the statement left this process.
func unsent(err error) bool { return errors.Is(err, driver.ErrBadConn) }

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

func foreign(doing, account, claim, next string) *Error {
	return &Error{
		Doing: doing, Class: upstream.ErrSuperseded,
		Detail: fmt.Sprintf("the marker of account %s is %s", account, claim), Next: next,
	}
}
