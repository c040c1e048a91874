// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
)

func TestPgBouncerLivesAndDies(t *testing.T) {
	server := realparts.Postgres(t, realparts.PostgresOptions{})
	pooler := realparts.PgBouncer(t, realparts.PgBouncerOptions{Server: server})
	conn, err := pooler.Connect(t.Context(), server.Admin, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		t.Error(err)
	}
	_ = conn.Close(t.Context())
	wrong, err := secret.Text(map[string]string{"username": server.Admin.ExposeText("username"), "password": "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := pooler.Connect(t.Context(), wrong, "postgres"); err == nil {
		t.Error("a wrong password signs in")
		_ = conn.Close(t.Context())
	}
	for range 2 {
		if err := pooler.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if conn, err := pooler.Connect(t.Context(), server.Admin, "postgres"); err == nil {
		t.Error("the pooler still answers")
		_ = conn.Close(t.Context())
	}
	if err := pooler.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pooler.Log(), "listening on") {
		t.Error("the log is empty")
	}
}

func TestPgBouncerNotInstalled(t *testing.T) {
	_, err := realparts.StartPgBouncer(t.Context(), t.TempDir(), realparts.PgBouncerOptions{Server: &realparts.Server{}, Bin: t.TempDir()})
	if !errors.Is(err, realparts.ErrNoPgBouncer) || !strings.Contains(err.Error(), "install the package pgbouncer") {
		t.Errorf("got %v, want what to install", err)
	}
}
