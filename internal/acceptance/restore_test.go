// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/server"
)

// TestOlderAuthorityIsNotActedOn puts an older copy of the authority back, as a restore from backup does. What it lacks
// is on record, so nothing is seeded, rotated or delivered until the newest copy is back.
func TestOlderAuthorityIsNotActedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	clients.stop(t)
	r.kill()
	folder := filepath.Join(r.dir, "state", "authority")
	older, newest := filepath.Join(r.dir, "older"), filepath.Join(r.dir, "newest")
	copyFolder(t, folder, older)

	r.serve()
	clients = r.startClient(false)
	r.rotate("app-database")
	clients.stop(t)
	r.kill()
	copyFolder(t, folder, newest)
	delivered := r.current()

	swap(t, folder, older)
	r.serve()
	status, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if waits := strings.Join(status.Standing.WaitsFor, "; "); !strings.Contains(waits, "older copy") {
		t.Errorf("status waits for %q, want it to name the older copy", waits)
	}
	r.fails(r.run("rotate", "app-database", "--reason", "acceptance test"), server.Refused, "recovering", "custody recover accept")
	time.Sleep(time.Second)
	if row := r.row("app-database"); row.Live != nil {
		t.Errorf("run %s began on an older authority", row.Live.ID)
	}
	if got := r.current(); got != delivered {
		t.Error("an older version was delivered over a newer one")
	}
	r.kill()

	swap(t, folder, newest)
	r.serve()
	clients = r.startClient(false)
	r.rotate("app-database")
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d sign-ins were refused, the first by %s", stats.Refused, stats.First)
	}
}

// TestOlderStateThatIsAccepted puts the whole state folder of an earlier day back, as after the loss of a disk. The checkpoint
// that was kept elsewhere, and what the consumers were given, tell of something newer: nothing is done until a person
// accepts the older state, and what they then have to do is said, and is enough.
func TestOlderStateThatIsAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", func(s *setup) { s.checkpoint = "elsewhere/checkpoint" })
	r.write("elsewhere/keep", "")
	r.begin(false).stop(t)
	r.stop()
	state, older := filepath.Join(r.dir, "state"), filepath.Join(r.dir, "older")
	copyFolder(t, state, older)
	r.serve()
	clients := r.startClient(false)
	r.rotate("app-database")
	clients.stop(t)
	r.stop()
	delivered, checkpoint := r.current(), r.content("elsewhere")
	swap(t, state, older)
	r.serve()
	for range 2 { // a restart is no acceptance
		r.finding("recovering", "elsewhere/checkpoint", "older state was put back", "app-database: consumer", "custody recover accept --reason TEXT")
		r.fails(r.run("rotate", "app-database", "--reason", "acceptance test"), server.Refused, "recovering")
		r.ok("recover", "accept", "--reason", "acceptance test", "--dry-run")
		if verified := r.run("audit", "verify"); verified.code != 3 {
			t.Errorf("audit verify: exit code %d, want it to find the older record", verified.code)
		}
		if doctor := r.run("doctor"); !strings.Contains(doctor.out+doctor.err, "recovering") {
			t.Errorf("doctor does not say that the platform is recovering: %s%s", doctor.out, doctor.err)
		}
		r.kill()
		r.serve()
	}
	if code, why := r.get("/readyz"); code != 503 || !strings.Contains(why, "recovering") {
		t.Errorf("readyz: %d %q", code, why)
	}
	if got := r.current(); got != delivered {
		t.Error("an older version was delivered over a newer one")
	}
	r.unchanged("elsewhere", checkpoint)

	said := r.ok("recover", "accept", "--reason", "the disk was lost")
	for _, words := range []string{"database-admin: keeps", "app-database: needs a person", "next: custody rotate app-database --reason TEXT"} {
		if !strings.Contains(said, words) {
			t.Errorf("the acceptance does not say %q:\n%s", words, said)
		}
	}
	r.finding("app-database", "custody rotate app-database --reason TEXT")
	if got := r.current(); got != delivered {
		t.Error("a value that its upstream refuses was delivered")
	}
	clients = r.startClient(false)
	r.rotate("app-database") // which sets the password of the user that is in use
	clients.stop(t)
	clients = r.startClient(false)
	r.rotate("app-database")
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d sign-ins were refused, the first by %s", stats.Refused, stats.First)
	}
	r.stop()
	r.serve()
	r.steady()
	r.sound()
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
}

func swap(t *testing.T, folder, with string) {
	t.Helper()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, with, folder)
}
