// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"errors"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// ownMark names a lock that a session of Custody's holds while it signs in to verify, so that Uses can leave it out.
func ownMark(id, function, more string) string {
	return function + "(CONCAT('custody.verify.', " + id + ")" + more + ")"
}

const nextUsage = "GRANT PROCESS ON *.* TO the admin, or leave usage out of the Upstream document"

// Uses lists the open sessions of old's user: address, database and, where the server keeps it (performance_schema),
// the program's name. The last use is now for a session at work or within a transaction, else when it became idle. Only
// mode alternate can tell: where both passwords are one user's, so are the sessions.
func (u *Upstream) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	const doing = "looking for uses"
	user := old.ExposeText(login.Username)
	switch {
	case u.Kind().Evidence == nil:
		return nil, &upstream.Error{Doing: doing, Detail: "this account's document asks for no usage evidence, or its mode has none", Next: "mode alternate with usage: true has some"}
	case user == "":
		return nil, &upstream.Error{Doing: doing, Detail: "a credential needs the field username"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	made, err := u.admin(ctx, doing)
	if err != nil {
		return nil, err
	}
	defer made.hangUp()
	s := &session{ctx: ctx, conn: made, doing: doing, product: u.Server.Product}
	if err := s.exec("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'"); err != nil {
		return nil, err
	}
	// Without PROCESS the list of sessions is merely shorter; this table says no.
	if _, err := s.query("SELECT COUNT(*) FROM information_schema.INNODB_TRX"); err != nil {
		if failure, ok := errors.AsType[*upstream.Error](err); ok && missingRight(answerIn(err)) {
			failure.Detail, failure.Next = "the admin does not see the sessions of others", nextUsage
		}
		return nil, err
	}
	sessions, err := u.sessions(s, user)
	if err != nil {
		return nil, err
	}
	uses, err := login.Uses(sessions, u.Clock(), since)
	if err != nil {
		return nil, s.refuse(err.Error(), "")
	}
	return uses, nil
}

// sessions returns each session that is not Custody's own. What counts from when the state changed is idle time only of a
// session that waits for its client, and holds no transaction open.
func (u *Upstream) sessions(s *session, user string) ([]login.Session, error) {
	idle := "p.TIME"
	if s.product == MariaDB {
		idle = "p.TIME_MS / 1000"
	}
	idle = "CASE WHEN p.COMMAND = 'Sleep' AND NOT EXISTS (SELECT 1 FROM information_schema.INNODB_TRX t WHERE t.trx_mysql_thread_id = p.ID) THEN " + idle + " ELSE 0 END"
	where := " WHERE p.USER = " + quoteText(user) + " AND NOT (" + ownMark("p.ID", "IS_USED_LOCK", "") + " <=> p.ID)"
	columns := "p.HOST, COALESCE(p.DB, ''), " + idle
	rows, err := s.query("SELECT COALESCE(a.ATTR_VALUE, ''), " + columns + ` FROM information_schema.PROCESSLIST p
		LEFT JOIN performance_schema.session_connect_attrs a ON a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name'` + where)
	if missingRight(answerIn(err)) {
		rows, err = s.query("SELECT '', " + columns + " FROM information_schema.PROCESSLIST p" + where)
	}
	sessions := make([]login.Session, len(rows))
	for i, row := range rows {
		sessions[i] = login.Session{Program: row[0], Address: row[1], Database: row[2], Idle: row[3]}
	}
	return sessions, err
}
