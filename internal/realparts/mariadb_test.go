// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
)

func TestMariaDBLivesAndDies(t *testing.T) {
	server := realparts.MariaDB(t, realparts.MariaDBOptions{Settings: map[string]string{"general-log": ""}})
	if _, err := server.Exec(t.Context(), "CREATE DATABASE kept; CREATE TABLE kept.kept (n int); INSERT INTO kept.kept VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	wrong, err := secret.Text(map[string]string{"username": server.Admin.ExposeText("username"), "password": "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if _, done, err := server.Connect(t.Context(), wrong, "test"); err == nil {
		t.Error("a wrong password signs in")
		done()
	}
	for name, end := range map[string]func() error{"stop": server.Stop, "kill": server.Kill} {
		for range 2 {
			if err := end(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if _, done, err := server.Connect(t.Context(), server.Admin, "test"); err == nil {
			t.Errorf("%s: the server still answers", name)
			done()
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := server.Exec(t.Context(), "SELECT 1; SELECT n FROM kept.kept")
	if err != nil || len(rows) != 1 || rows[0] != "7" {
		t.Errorf("data did not outlive stop and kill: %v, %v", rows, err)
	}
	if !strings.Contains(server.Log(), "SELECT n FROM kept.kept") {
		t.Error("the log does not show statements")
	}
}

func TestMariaDBNotInstalled(t *testing.T) {
	_, err := realparts.StartMariaDB(t.Context(), t.TempDir(), realparts.MariaDBOptions{Bin: t.TempDir()})
	if !errors.Is(err, realparts.ErrNoMariaDB) || !strings.Contains(err.Error(), "install the package mariadb-server") {
		t.Errorf("got %v, want what to install", err)
	}
}
