// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/reason"
)

// leave takes the application's secret out of the estate. What only it refers to goes with the same commit.
func (r *rig) leave() (back func()) {
	r.t.Helper()
	kept := r.read("estate/app.yaml")
	if err := os.Remove(filepath.Join(r.dir, "estate/app.yaml")); err != nil {
		r.t.Fatal(err)
	}
	return func() { r.write("estate/app.yaml", kept) }
}

// TestSecretEndsAtARealServer removes the application's document, and asks for its end: a server that is down, a process that is killed
// again and again and a consumer whose file somebody changed put the end off, and nothing of it is left in the end.
func TestSecretEndsAtARealServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, "200ms")
	r.replace("estate/policies.yaml", "quietWindow:", "onRemoval: {grace: 1s}, quietWindow:")
	clients := r.begin(false)
	first := r.current()
	r.rotate("app-database") // both users of the pair have had a credential
	clients.stop(t)
	last := r.current()
	if r.refused(last) {
		t.Fatal("the credential of record is refused")
	}

	back := r.leave()
	r.finding("app-database", reason.LeavingConfirm)
	if r.refused(last) || r.current() != last {
		t.Error("a secret whose document was removed is not in force")
	}
	back()
	r.steady()
	if now := r.current(); now != last {
		t.Errorf("a secret that is declared again went to version %s", now.Version)
	}

	// Its server is away: the consumers lose it, and the rest waits.
	r.leave()
	r.finding("app-database", reason.LeavingConfirm)
	if err := r.database.Stop(); err != nil {
		t.Fatal(err)
	}
	r.ok("retire", "app-database", "--reason", "the app is gone", "--yes")
	r.finding("app-database", reason.RetireNotRevoked)
	if files, err := filepath.Glob(filepath.Join(r.dir, "app", "*.json")); err != nil || len(files) > 0 {
		t.Errorf("files are left: %q %v", files, err)
	}
	if err := r.database.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Killed at whatever it does.
	for range 3 {
		time.Sleep(300 * time.Millisecond) // somewhere in the middle: no step is waited for
		r.kill()
		r.serve()
	}
	eventually(t, "the secret to be retired", func() bool {
		runs := r.runs("app-database", "retirement")
		return len(runs) == 1 && runs[0].Result == "completed"
	})
	if !r.refused(last) || !r.refused(first) {
		t.Error("a credential is accepted though its secret was retired")
	}
	eventually(t, "the estate to let it go", func() bool {
		for _, finding := range r.status().Findings {
			if finding.Secret == "app-database" {
				return false
			}
		}
		return true
	})
	left, err := filepath.Glob(filepath.Join(r.dir, "app", "*.json"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %q %v", left, err)
	}
	said := r.ok("audit", "log", "--secret", "app-database")
	if strings.Count(said, "its values are destroyed") != 1 || !strings.Contains(said, "the app is gone") {
		t.Errorf("the record says\n%s", said)
	}
	r.sound()
	fmt.Printf("acceptance: a secret ended at its server, through %d starts of the server\n", 4)
}
