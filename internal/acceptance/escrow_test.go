// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAdminCandidatesAreInEscrow loses the authority after the admin credential has rotated itself, and signs in with
// what the root key finds beside it.
func TestAdminCandidatesAreInEscrow(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	defer clients.stop(t)
	for range 4 {
		r.rotate("database-admin")
	}
	r.escrowOpens(3)
	if !r.refused(r.admin) {
		t.Error("the bootstrap password of the admin still opens the database")
	}
}

// escrowOpens wants so many candidates of the database's admin in escrow, and signs in with what the root key finds in the
// newest.
func (r *rig) escrowOpens(want int) {
	t := r.t
	t.Helper()
	folder := filepath.Join(r.dir, "state", "escrow", "postgres", "main", "admin")
	kept, err := os.ReadDir(folder) // in order of name, and run ids sort by time
	if err != nil || len(kept) != want {
		t.Fatalf("%d candidates are kept, want the newest %d; %v", len(kept), want, err)
	}
	sealed, err := os.ReadFile(filepath.Join(folder, kept[len(kept)-1].Name()))
	if err != nil {
		t.Fatal(err)
	}
	candidate := r.opened(sealed)
	admin := credential{Username: candidate.ExposeText("username"), Password: candidate.ExposeText("password")}
	if admin.Username != adminUser || r.refused(admin) {
		t.Errorf("the newest candidate in escrow, of %s, does not open the database", admin.Username)
	}
}

// TestRootOpensTheAuthority loses the unseal key and puts the root key in its place.
func TestRootOpensTheAuthority(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	clients.stop(t)
	version := r.row("app-database").Version
	r.kill()
	rootKey, err := os.ReadFile(filepath.Join(r.dir, "keys", "root"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("keys/unseal", string(rootKey))
	r.serve()
	if got := r.row("app-database").Version; got != version {
		t.Errorf("the authority opened by the root holds version %s, want %s", got, version)
	}
}
