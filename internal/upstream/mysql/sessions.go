// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"errors"

	"github.com/go-sql-driver/mysql"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

var _ upstream.SessionEnder = (*Upstream)(nil)

const (
	// errNoSuchThread is the answer to ending a session that has ended.
	errNoSuchThread = 1094

	nextEnding = "GRANT PROCESS, CONNECTION_ADMIN ON *.* TO the admin (MariaDB: GRANT PROCESS, CONNECTION ADMIN)"
)

// EndSessions ends every session of old's user but this call's own. The server does not tell with which of two passwords a session
// began, nor, by a right that the admin needs not have, at which host part: those of all accounts of that user name end.
func (u *Upstream) EndSessions(ctx context.Context, old secret.Value) (int, error) {
	const doing = "ending sessions"
	user := old.ExposeText(login.Username)
	if !u.account.Manages(user) {
		return 0, &upstream.Error{Doing: doing, Detail: "the user is not named in this account's document", Next: "end its sessions by hand (KILL)"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	made, err := u.admin(ctx, doing)
	if err != nil {
		return 0, err
	}
	defer made.hangUp()
	s := &session{ctx: ctx, conn: made, doing: doing, product: u.Server.Product}
	if err := s.exec("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'"); err != nil {
		return 0, err
	}
	// Without PROCESS the list of sessions is merely shorter; this table says no.
	if _, err := s.query("SELECT COUNT(*) FROM information_schema.INNODB_TRX"); err != nil {
		return 0, withNext(err, nextEnding)
	}
	rows, err := s.query("SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER = " + quoteText(user))
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		err := s.conn.exec(ctx, "KILL CONNECTION "+row[0])
		if failure, answered := errors.AsType[*mysql.MySQLError](err); answered {
			if failure.Number == errNoSuchThread {
				continue
			}
			return 0, withNext(fromServer(doing, failure), nextEnding)
		}
		if err != nil {
			return 0, &upstream.Error{Doing: doing, Cause: err}
		}
	}
	return len(rows), nil
}

func withNext(err error, next string) error {
	if failure, ok := errors.AsType[*upstream.Error](err); ok && failure.Next == "" {
		failure.Next = next
	}
	return err
}
