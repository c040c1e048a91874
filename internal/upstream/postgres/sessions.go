// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"strconv"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

var _ upstream.SessionEnder = (*Upstream)(nil)

// endEach bounds, in milliseconds, how long the server waits for one session to end.
const endEach = "3000"

// EndSessions ends every session of old's user but this call's own, whatever program it says it is. In mode overwrite clients with the
// new password sign in again. Behind a pooler its sessions end, and it makes others.
func (u *Upstream) EndSessions(ctx context.Context, old secret.Value) (int, error) {
	const doing = "ending sessions"
	user := old.ExposeText(login.Username)
	if !u.account.Manages(user) {
		return 0, &upstream.Error{Doing: doing, Detail: "the user is not named in this account's document", Next: "end its sessions by hand (pg_terminate_backend)"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	conn, err := u.admin(ctx, doing)
	if err != nil {
		return 0, err
	}
	defer hangUp(conn)
	s := &session{ctx: ctx, conn: conn, doing: doing}
	rows, failure, err := s.try(`SELECT pg_terminate_backend(pid, $2::bigint)::text FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()`, user, endEach)
	if failure != nil {
		said := fromServer(doing, failure, true)
		said.Next = "GRANT pg_signal_backend TO the admin"
		return 0, said
	}
	if err != nil {
		return 0, err
	}
	left, err := s.query(`SELECT count(*)::text FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()`, user)
	if err != nil {
		return 0, err
	}
	if count, err := strconv.Atoi(left[0][0]); err != nil || count > 0 {
		return 0, s.refuse(left[0][0]+" sessions of "+user+" are left", "Custody tries again; some are clients that signed in again with a valid password")
	}
	return len(rows), nil
}
