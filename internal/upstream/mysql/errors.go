// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/go-sql-driver/mysql"
)

// answer is the number of an error that the server gave: the cause of what is made of it.
type answer uint16

// Error is the number in words.
func (n answer) Error() string { return "error " + strconv.Itoa(int(n)) }

// answerIn is the number of the server's error that is in err, 0 when the server said nothing.
func answerIn(err error) uint16 {
	n, _ := errors.AsType[answer](err)
	return uint16(n)
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
	errColumnDenied   = 1143
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
	e := fromServer(login.SigningIn, failure)
	e.Class = nil
	switch failure.Number {
	case errMariaDBBlocked:
		e.Next += "; Custody's next change unblocks it too"
	case errMySQLTemporary:
	default:
		return e
	}
	return &upstream.Later{After: max(lockOut, u.WrongEvery), Err: e}
}

// fromServer describes a server's error by its number. Its message, which could quote a statement, is not kept: what each
// number means is in the server's manual.
func fromServer(doing string, failure *mysql.MySQLError) *upstream.Error {
	e := &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: meaning[failure.Number], Cause: answer(failure.Number)}
	switch failure.Number {
	case errPrivilege, errDatabaseDenied, errTableDenied, errGrantRole:
		e.Next = nextGrants
	case errLockWait, errStatementTime, errMySQLDeadline, errInterrupted:
		e.Next = nextBusy
	case errMariaDBBlocked:
		e.Next = "wrong sign-ins have blocked the user: find who makes them, then FLUSH PRIVILEGES"
	case errMySQLTemporary:
		e.Next = "wrong sign-ins have locked the user: find who makes them, then ALTER USER … ACCOUNT UNLOCK"
	case errMariaDBLocked, errMySQLLocked:
		e.Next = "find who locked the account, and why; then ALTER USER … ACCOUNT UNLOCK"
	case errHostBlocked:
		e.Next = "the server blocks this host after broken connections: FLUSH HOSTS"
	case errHostUnknown:
		e.Next = "no account allows sign-ins from here: see the host part of the account"
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

// missingRight reports whether the server said that the admin may not do this, or that the role is not there to give.
func missingRight(number uint16) bool {
	switch number {
	case errPrivilege, errDatabaseDenied, errTableDenied, errColumnDenied, errGrantRole, errAccessDenied, errDeniedNoWord, errCannotUser:
		return true
	}
	return false
}

// mayHaveActed reports whether a statement that ended with this number may have taken effect all the same.
func mayHaveActed(number uint16) bool {
	switch number {
	case errShutdown, errInterrupted, errStatementTime, errMySQLDeadline, errKilled:
		return true
	}
	return false
}

// otherwise is what is told of one of the library's errors that is neither the network's nor about certificates.
func otherwise(err error) string {
	if errors.Is(err, mysql.ErrNoTLS) {
		return upstream.WithoutTLS
	}
	return "the connection broke, or the server and this client could not agree on TLS or on how to sign in"
}

// told names a failure on this side of the wire; see upstream.Told.
func told(err error) (detail string, cause error) { return upstream.Told(err, otherwise(err)) }

// unsent reports whether the driver says that nothing of the statement left this process.
func unsent(err error) bool { return errors.Is(err, driver.ErrBadConn) }

func foreign(doing, account, claim, next string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded,
		Detail: fmt.Sprintf("the marker of account %s is %s", account, claim), Next: next,
	}
}
