// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// Uses lists the open sessions of old's user, as the server itself sees them: program, address and database. The last use
// is now for a session at work or within a transaction, else when it last became idle. Behind a pooler the address is the
// pooler's. Only alternate can tell: sessions of one user do not say which password they came with.
func (u *Upstream) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	const doing = "looking for uses"
	user := old.ExposeText(login.Username)
	switch {
	case u.kind().Evidence == nil:
		return nil, &upstream.Error{Doing: doing, Detail: "this account's document asks for no usage evidence, or its mode has none", Next: "mode alternate with usage: true has some"}
	case user == "":
		return nil, &upstream.Error{Doing: doing, Detail: "a credential needs the field username"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	conn, err := u.admin(ctx, doing)
	if err != nil {
		return nil, err
	}
	defer hangUp(conn)
	s := &session{ctx: ctx, conn: conn, doing: doing}
	// Who lacks the right sees sessions without what is asked for here, and so none.
	rows, err := s.query(`SELECT (pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') OR coalesce((SELECT
		pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = $1), true))::text, quote_ident(current_user)`, user)
	if err != nil {
		return nil, err
	}
	if rows[0][0] != "true" {
		return nil, &upstream.Error{
			Doing: doing, Detail: "the admin does not see the sessions of " + user,
			Next: fmt.Sprintf("GRANT pg_read_all_stats TO %s, or leave usage out of the Upstream document", rows[0][1]),
		}
	}
	rows, err = s.query(`SELECT coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(datname, ''),
		CASE WHEN state = 'idle' THEN extract(epoch FROM clock_timestamp() - state_change)
			WHEN state IS NULL THEN extract(epoch FROM clock_timestamp() - backend_start) ELSE 0 END::text
		FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid() AND coalesce(application_name, '') <> $2`, user, applicationName)
	if err != nil {
		return nil, err
	}
	sessions := make([]login.Session, len(rows))
	for i, row := range rows {
		sessions[i] = login.Session{Program: row[0], Address: row[1], Database: row[2], Idle: row[3]}
	}
	uses, err := login.Uses(sessions, u.Clock(), since)
	if err != nil {
		return nil, s.refuse(err.Error(), "")
	}
	return uses, nil
}
