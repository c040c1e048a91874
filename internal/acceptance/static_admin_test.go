// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// TestStaticAdminIsTriedAtWhatItOpens has an admin credential that no run rotates: only people change it. What is handed in for it is
// tried at the database that it opens, so that a mistyped one is refused; and doctor finds that it was changed there by hand, with
// the command that ends it.
func TestStaticAdminIsTriedAtWhatItOpens(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	document := r.read("estate/database.yaml")
	from := strings.LastIndex(document, "  rotation:\n")
	r.write("estate/database.yaml", document[:from])
	clients := r.begin(false)
	supply := func(password string) answer {
		t.Helper()
		r.write("username", adminUser)
		r.write("password", password)
		return r.run("supply", "database-admin", "--reason", "acceptance test",
			"--from-file", "username="+r.file("username"), "--from-file", "password="+r.file("password"))
	}
	version := r.row("database-admin").Version
	r.fails(supply("mistyped"), server.Refused, "the upstream that it opens refuses it", "custody supply database-admin")
	if row := r.row("database-admin"); row.Version != version || row.Live != nil {
		t.Errorf("version %s, run %+v after a value that the database refuses; want version %s and none", row.Version, row.Live, version)
	}

	r.sql("ALTER ROLE " + adminUser + " PASSWORD 'set-by-hand'")
	if doctor := r.ok("doctor"); !containsAll(doctor, []string{"[admin-refused]", "custody supply database-admin --reason TEXT"}) {
		t.Errorf("doctor does not find it:\n%s", doctor)
	}
	r.finding("database-admin", reason.AdminRefused, "custody supply database-admin --reason TEXT") // status says the same
	if got := supply("set-by-hand"); got.code != 0 {
		t.Fatal(got.err)
	}
	r.settled("database-admin", version)
	if doctor := r.ok("doctor"); strings.Contains(doctor, "admin-refused") {
		t.Errorf("doctor still finds it:\n%s", doctor)
	}
	if status := r.ok("status"); strings.Contains(status, "admin-refused") {
		t.Errorf("status still finds it:\n%s", status)
	}
	r.rotate("app-database")
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d sign-ins were refused, the first by %s", stats.Refused, stats.First)
	}
	r.sound()
}
