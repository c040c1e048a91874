// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/reason"
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
	status, err := r.client.Status(t.Context(), server.Filter{})
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
	r.rotate("database-admin")
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
		r.finding("", reason.Recovering, "elsewhere/checkpoint", "older state was restored", "app-database: consumer", "custody recover accept --reason TEXT")
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
	r.escrowOpens(1) // a loss of the authority now is no loss of its admin
	r.finding("app-database", reason.RecoveryRotates, "custody rotate app-database --reason TEXT")
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
	r.rotate("database-admin")
	r.escrowOpens(2)
	r.stop()
	r.serve()
	r.steady()
	r.soundBut(1)
}

// TestMachineThatIsPutBackWhole puts everything back but the database, as a snapshot of the machine does: no checkpoint and no
// consumer tells of something newer. The account's marker does, and the run that would set the password that is in use waits
// for a person.
func TestMachineThatIsPutBackWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	r.begin(false).stop(t)
	r.stop()
	folders := map[string]string{r.file("state"): r.file("older-state"), r.file("app"): r.file("older-app")}
	for folder, older := range folders {
		copyFolder(t, folder, older)
	}
	r.serve()
	clients := r.startClient(false)
	r.rotate("app-database")
	clients.stop(t)
	inUse := r.current()
	r.stop()
	for folder, older := range folders {
		swap(t, folder, older)
	}
	r.serve()
	r.request("app-database")
	r.finding("app-database", reason.AccountMarkerUnknown, "custody run force")
	live := r.row("app-database").Live
	if live == nil || r.refused(inUse) || r.current() == inUse {
		t.Fatalf("run %v is live, and the password that is in use is refused: %t", live, r.refused(inUse))
	}
	if said := r.ok("run", "force", string(live.ID), "--reason", "nobody uses it"); !strings.Contains(said, "changed the account") {
		t.Errorf("the command says %q, want it to name what was waived", said)
	}
	clients = r.startClient(false)
	r.steady()
	clients.stop(t)
	if r.refused(r.current()) {
		t.Error("what was delivered in the end is refused")
	}
	r.sound()
}

// TestOlderStateThatWentOn puts everything back while the checkpoint's folder is away: nothing shows, and the record grows past
// what was put back. At the next start the folder is there. That start stopped at the record, so nothing answered, and nothing
// could be accepted.
func TestOlderStateThatWentOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone, func(s *setup) { s.checkpoint = "elsewhere/checkpoint" })
	r.write("elsewhere/keep", "")
	r.serve()
	r.steady()
	r.stop()
	folders := map[string]string{r.file("state"): r.file("older-state"), r.file("app"): r.file("older-app")}
	for folder, older := range folders {
		copyFolder(t, folder, older)
	}
	r.serve()
	r.rotate("session-token")
	r.stop()
	for folder, older := range folders {
		swap(t, folder, older)
	}
	rename(t, r.file("elsewhere"), r.file("away"))
	r.serve()
	for range 2 { // more events than the checkpoint covers
		r.rotate("session-token")
	}
	r.stop()
	rename(t, r.file("away"), r.file("elsewhere"))
	checkpoint := r.content("elsewhere")
	for range 2 { // a restart is no acceptance
		r.serve()
		r.finding("", reason.Recovering, "elsewhere/checkpoint", "events that the record does not have", "custody recover accept --reason TEXT")
		if doctor := r.run("doctor"); !strings.Contains(doctor.out+doctor.err, "recovering") {
			t.Errorf("doctor does not say that the platform is recovering: %s%s", doctor.out, doctor.err)
		}
		r.fails(r.run("rotate", "session-token", "--reason", "acceptance test"), server.Refused, "recovering")
		r.stop()
	}
	r.unchanged("elsewhere", checkpoint)
	r.serve()
	if said := r.ok("recover", "accept", "--reason", "it went on"); !strings.Contains(said, "session-token") {
		t.Errorf("the acceptance says %q", said)
	}
	r.rotate("session-token")
	r.stop()
	r.serve()
	r.steady()
	r.soundBut(1)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
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
