// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
)

func TestPostgresLivesAndDies(t *testing.T) {
	server := realparts.Postgres(t, realparts.PostgresOptions{})
	if _, err := server.Exec(t.Context(), "CREATE TABLE kept (n int)"); err != nil {
		t.Fatal(err)
	}
	wrong, err := secret.Text(map[string]string{"username": server.Admin.ExposeText("username"), "password": "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := server.Connect(t.Context(), wrong, "postgres"); err == nil {
		t.Error("a wrong password signs in")
		_ = conn.Close(t.Context())
	}
	for name, end := range map[string]func() error{"stop": server.Stop, "kill": server.Kill} {
		pid := postmaster(t, server)
		for range 2 {
			if err := end(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if _, err := os.Stat("/proc/" + pid); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: process %s is still there: %v", name, pid, err)
		}
		if _, err := server.Connect(t.Context(), server.Admin, "postgres"); err == nil {
			t.Errorf("%s: the server still answers", name)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Exec(t.Context(), "SELECT n FROM kept"); err != nil {
		t.Errorf("data did not outlive stop, kill and restart: %v", err)
	}
}

// Clusters of one process begin alike, and have nothing in common after that.
func TestPostgresAnotherBeginsEmpty(t *testing.T) {
	first := realparts.Postgres(t, realparts.PostgresOptions{})
	if _, err := first.Exec(t.Context(), "CREATE ROLE of_the_first"); err != nil {
		t.Fatal(err)
	}
	second := realparts.Postgres(t, realparts.PostgresOptions{})
	for server, want := range map[*realparts.Server]string{first: "1", second: "0"} {
		roles, err := server.Exec(t.Context(), "SELECT count(*)::text FROM pg_roles WHERE rolname = 'of_the_first'")
		if err != nil || len(roles) != 1 || roles[0] != want {
			t.Errorf("%v roles (%v), want %s", roles, err, want)
		}
	}
}

// The owner process is this test binary, run again; it dies without cleaning up.
func TestPostgresDiesWithItsOwner(t *testing.T) {
	const variable = "CUSTODY_TEST_ABANDON"
	if dir := os.Getenv(variable); dir != "" {
		server, err := realparts.StartPostgres(t.Context(), dir, realparts.PostgresOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/pid", []byte(postmaster(t, server)), 0o600); err != nil {
			t.Fatal(err)
		}
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		_ = self.Kill()
		select {}
	}
	dir, err := os.MkdirTemp("", "custody-pg-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	owner.Env = append(os.Environ(), variable+"="+dir)
	out, _ := owner.CombinedOutput() // it is killed: the error says no more
	pid, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatalf("the owner did not start a server: %v: %s", err, out)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for { // a server that outlives its owner ends with this process's time
		if _, err := os.Stat("/proc/" + string(pid)); errors.Is(err, os.ErrNotExist) {
			return
		}
		<-tick.C
	}
}

func TestPostgresNotInstalled(t *testing.T) {
	_, err := realparts.StartPostgres(t.Context(), t.TempDir(), realparts.PostgresOptions{Bin: t.TempDir()})
	if !errors.Is(err, realparts.ErrNoPostgres) || !strings.Contains(err.Error(), "install the package postgresql") {
		t.Errorf("got %v, want what to install", err)
	}
}

func postmaster(t *testing.T, server *realparts.Server) string {
	t.Helper()
	rows, err := server.Exec(t.Context(), "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
	if err != nil || len(rows) != 1 {
		t.Fatalf("reading the process id: %v", err)
	}
	if _, err := strconv.Atoi(rows[0]); err != nil {
		t.Fatal(err)
	}
	return rows[0]
}
