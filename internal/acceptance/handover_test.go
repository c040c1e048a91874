// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// TestBootstrapValueIsNeverWrittenAgain is named after vault-config-operator #131 and #339, where a reconcile wrote the
// bootstrap password of an admin over the one it had rotated to, and locked everybody out. It is H1 to H3: handover
// happens once, and whatever Git says afterwards, a restart, the same estate again or another value, changes nothing.
func TestBootstrapValueIsNeverWrittenAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	handover := r.runs("database-admin", "handover")
	if len(handover) != 1 || handover[0].Result != "completed" {
		t.Fatalf("handovers %+v, want one that completed", handover)
	}
	first := r.row("database-admin").Version
	r.kill()
	r.serve()
	if got := r.row("database-admin").Version; got != first {
		t.Errorf("a restart made version %s of %s", got, first)
	}
	r.rotate("database-admin")
	if !r.refused(r.admin) {
		t.Fatal("the bootstrap password still opens the database after the admin rotated itself")
	}
	rotated := r.row("database-admin").Version
	const document = "estate/bootstrap/database-admin.yaml"
	sealed := r.read(document)
	for _, change := range []struct {
		name string
		do   func()
	}{
		{"the same estate again", func() { r.declare(); r.write(document, sealed) }},
		{"the same value sealed again", func() { r.seal("database-admin", r.admin) }},
		{"another value", func() { r.seal("database-admin", credential{Username: adminUser, Password: "planted-" + marker}) }},
		{"without the copy of the estate", func() {
			if err := os.RemoveAll(filepath.Join(r.file(r.state), "estate")); err != nil {
				t.Fatal(err)
			}
		}},
		{"without the bootstrap identity", func() {
			if err := os.Remove(r.file("keys/bootstrap")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(change.name, func(t *testing.T) {
			defer r.within(t)()
			r.stop()
			change.do()
			r.serve()
			r.steady()
			if row := r.row("database-admin"); row.Version != rotated || row.Authority != "authority" {
				t.Errorf("version %s of %s, want %s: Git was written over the authority", row.Version, row.Authority, rotated)
			}
			if runs := r.runs("database-admin", "handover"); len(runs) != 1 || runs[0].ID != handover[0].ID {
				t.Errorf("handovers %+v, want the first alone", runs)
			}
			if !r.refused(r.admin) || !r.refused(credential{Username: adminUser, Password: "planted-" + marker}) {
				t.Error("a password from Git opens the database")
			}
			r.rotate("app-database") // for which the admin's own credential must work
		})
	}
	r.rotate("database-admin")
	if standing := r.status().Standing; standing.Phase != 4 {
		t.Errorf("phase %s, waiting for %q; want 4: nothing in Git is left to decrypt", standing.Phase, standing.WaitsFor)
	}
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	r.sound()
}

// TestFailedHandoverIsSafeToRetry has the server away while the bootstrap value is to be verified, and killed processes
// between the tries.
func TestFailedHandoverIsSafeToRetry(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	if err := r.database.Stop(); err != nil {
		t.Fatal(err)
	}
	kills := 3
	if testing.Short() {
		kills = 1
	}
	for range kills {
		r.serve()
		r.waitsInGit("database-admin", reason.BootstrapUndecided)
		r.kill()
	}
	r.serve()
	if err := r.database.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.handedOver("database-admin")
	r.rotate("database-admin")
	if !r.refused(r.admin) {
		t.Error("the bootstrap password still opens the database after the admin rotated itself")
	}
}

// TestRefusedBootstrapValueStaysInGit has a password in Git that the server does not take.
func TestRefusedBootstrapValueStaysInGit(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	r.seal("database-admin", credential{Username: adminUser, Password: "outdated-" + marker})
	r.serve()
	r.waitsInGit("database-admin", reason.BootstrapRefused, "custody seal database-admin --field FIELD")
	eventually(t, "app-database to wait for the admin", func() bool { return r.row("app-database").Waiting != nil })
	if row := r.row("app-database"); row.Authority != "nobody" {
		t.Errorf("app-database: authority %s before its admin was handed over", row.Authority)
	}
	r.write("password", r.admin.Password)
	r.ok("seal", "database-admin", "--field", "password", "--from-file", r.file("password"))
	r.handedOver("database-admin")
	if status := r.status(); slices.ContainsFunc(status.Findings, func(f server.Finding) bool { return f.Is(reason.BootstrapRefused) }) {
		t.Errorf("once the right one is sealed, there still is %q", status.Findings)
	}
}
