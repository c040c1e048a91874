// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/server"
)

// TestSupplyOfAnotherRole hands in the password of another role of the same PostgreSQL, which signs in there: it was taken for
// the secret's own, delivered, and the application was somebody else. Then the application's own is reset there by hand: doctor
// finds it, explain says the same, and the command that both name ends it.
func TestSupplyOfAnotherRole(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false) // refused for a while: the password is reset behind its back
	defer clients.stop(t)
	r.sql("CREATE ROLE billing LOGIN PASSWORD 'billing-password'")
	mine := r.current()
	supply := func(user, password string) answer {
		t.Helper()
		for name, text := range map[string]string{"username": user, "password": password} {
			if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return r.run("supply", "app-database", "--reason", "acceptance test",
			"--from-file", "username="+r.file("username"), "--from-file", "password="+r.file("password"))
	}
	r.fails(supply("billing", "billing-password"), server.Refused, `it is of role "billing"`)
	if row := r.row("app-database"); row.Live != nil || r.current() != mine {
		t.Errorf("run %+v began, or the file was changed", row.Live)
	}

	r.sql("ALTER ROLE " + mine.Username + " PASSWORD 'set-by-hand'")
	doctor := r.run("doctor")
	if doctor.code != server.Exit(&server.Problem{Class: server.Found}) || !containsAll(doctor.out, []string{"record-is-honoured: app-database", "custody supply app-database --reason TEXT"}) {
		t.Errorf("doctor: exit code %d\n%s%s", doctor.code, doctor.out, doctor.err)
	}
	if explained := r.ok("explain", "app-database"); !containsAll(explained, []string{"its upstream has refused the current value", "custody supply app-database --reason TEXT"}) {
		t.Errorf("doctor found it refused, and explain says:\n%s", explained)
	}
	before := r.row("app-database").Version
	if got := supply(mine.Username, "set-by-hand"); got.code != 0 {
		t.Fatal(got.err)
	}
	r.settled("app-database", before)
	if got := r.current(); got.Username != mine.Username || !strings.HasPrefix(got.Password, "set-by-hand") {
		t.Errorf("%s is delivered, want what was set by hand", got.Username)
	}
	r.sound()
}
