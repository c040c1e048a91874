// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	r.request("app-database")
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
