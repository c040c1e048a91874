// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// Whoever was signed in with a compromised credential stayed so after it was revoked.
func TestEndSessionsOfTheOldUserAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	thief, err := r.server.Connect(t.Context(), first, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Exec(t.Context(), "SET application_name = 'custody'").ReadAll(); err != nil { // it may say that it is anybody
		t.Fatal(err)
	}
	moved, err := r.server.Connect(t.Context(), second, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		t.Fatalf("revoking ended the session: %v", err)
	}
	var said *upstream.Error
	if _, err := u.EndSessions(t.Context(), first); !errors.As(err, &said) || !strings.Contains(said.Hint(), "pg_signal_backend") {
		t.Fatalf("an admin who may not: got %v, want an error with the grant", err)
	}
	r.sql("GRANT pg_signal_backend TO custody_admin")
	if ended, err := u.EndSessions(t.Context(), first); err != nil || ended != 1 {
		t.Errorf("ended %d, %v, want 1", ended, err)
	}
	if _, err := thief.Exec(t.Context(), "SELECT 1").ReadAll(); err == nil {
		t.Error("the session of the old credential is open")
	}
	if _, err := moved.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		t.Errorf("the session of the new credential: %v", err)
	}
	if ended, err := u.EndSessions(t.Context(), first); err != nil || ended != 0 {
		t.Errorf("again: ended %d, %v, want none", ended, err)
	}
	if _, err := u.EndSessions(t.Context(), r.admin); err == nil {
		t.Error("sessions of a user that the account does not name were ended")
	}
}
