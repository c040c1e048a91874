// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"database/sql"
	"errors"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// Whoever was signed in with a compromised credential stayed so after it was revoked: app is such a session.
func testSessionsEnd(r *rig, u *mysql.Upstream, first secret.Value, app *sql.Conn) {
	r.Helper()
	second := upstreamtest.Issue(r, u, "run-2", first)
	moved, finished, err := r.server.Connect(r.Context(), second, "moved on")
	if err != nil {
		r.Fatal(err)
	}
	defer finished()
	if err := moved.PingContext(r.Context()); err != nil {
		r.Fatal(err)
	}
	var missing *upstream.Error
	if _, err := u.EndSessions(r.Context(), first); !errors.As(err, &missing) || !strings.Contains(missing.Hint(), "CONNECTION_ADMIN") {
		r.Errorf("an admin who may not end sessions: got %v, want an error with the grant", err)
	}
	right := "CONNECTION_ADMIN"
	if u.Server.Product == mysql.MariaDB {
		right = "CONNECTION ADMIN"
	}
	r.sql("GRANT " + right + " ON *.* TO custody_admin@'%'")
	if ended, err := u.EndSessions(r.Context(), first); err != nil || ended < 1 {
		r.Errorf("ending sessions: %d, %v", ended, err)
	}
	if _, err := app.ExecContext(r.Context(), "SELECT 1"); err == nil {
		r.Error("the session of the old credential is open")
	}
	if _, err := moved.ExecContext(r.Context(), "SELECT 1"); err != nil {
		r.Errorf("the session of the new credential: %v", err)
	}
}
