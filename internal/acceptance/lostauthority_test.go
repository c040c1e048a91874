// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// TestAuthorityThatIsLostComesBackFromABackup backs ten credentials of a real database up, rotates them all once more, and loses the state
// folder, the root key on this machine and the unseal key. What the root's shares and the backup give back ends with every credential
// accepted by the database, and none of them the one that Git has.
func TestAuthorityThatIsLostComesBackFromABackup(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	const count = 10
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("service-%d", i))
		r.sql(fmt.Sprintf("CREATE ROLE service_%d LOGIN", i))
		r.sql(fmt.Sprintf("GRANT service_%d TO %s WITH ADMIN OPTION", i, adminUser))
		r.write(fmt.Sprintf("estate/service-%d.yaml", i), fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: service-%[1]d}
spec:
  purpose: Lets a service sign in to the main database
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: postgres/main/service-%[1]d
  origin: {generated: {type: password, length: 24}}
  rotation:
    policyRef: monthly
    upstreamRef: main-database
    allowInterruption: true
    postgres: {mode: overwrite, user: service_%[1]d}
  consumers:
    - name: service
      file: {folder: app, path: service-%[1]d.json, format: json, versionKey: version}
`, i))
	}
	r.begin(false).stop(t)
	r.steady()
	r.rotate("database-admin") // from here on, Git has the password of nothing
	if err := os.Mkdir(r.file("backups"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.ok("backup", "--to", r.file("backups"))
	r.ok("root", "split", "--key", r.file("keys/root"), "--shares", "3", "--threshold", "2", "--out-dir", r.file("shares"))
	for _, name := range names {
		r.rotate(name)
	}
	inUse := map[string]credential{}
	for _, name := range names {
		inUse[name] = decode[credential](t, r.read("app/"+name+".json"))
	}
	r.kill()
	for _, gone := range []string{r.file("state"), r.file("keys/root"), r.file("keys/unseal")} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}

	r.identity("unseal")
	r.ok("root", "combine", r.file("shares/root-share-1-of-3.txt"), r.file("shares/root-share-3-of-3.txt"), "--out", r.file("keys/root"))
	found, err := filepath.Glob(r.file("backups/*.age"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the backups are %q, %v", found, err)
	}
	r.ok("backup", "verify", found[0], "--identity", r.file("keys/root"))
	r.ok("restore", found[0], "--identity", r.file("keys/root"))
	r.serve()
	for _, name := range names {
		r.finding(name, reason.ConsumerNewer, "custody recover accept --reason TEXT")
	}
	r.fails(r.run("rotate", names[0], "--reason", "acceptance test"), server.Refused, "recovering")
	for _, name := range names {
		if got := decode[credential](t, r.read("app/"+name+".json")); got != inUse[name] || r.refused(got) {
			t.Errorf("%s: what is in use was changed while the platform is recovering", name)
		}
	}
	clients := r.startClient(false) // app-database, which nothing rotated since, is delivered to it under the new incarnation
	said := r.ok("recover", "accept", "--reason", "the disk was lost")
	if !strings.Contains(said, "database-admin: keeps") {
		t.Errorf("the acceptance says\n%s", said)
	}
	r.steady()
	clients.stop(t)
	for _, name := range names {
		got := decode[credential](t, r.read("app/"+name+".json"))
		if r.refused(got) {
			t.Errorf("%s: the database refuses what its consumer has", name)
		}
		if strings.Contains(got.Password, marker) || got == inUse[name] {
			t.Errorf("%s: its consumer has a password of Git, or none of its own", name)
		}
	}
	if !r.refused(r.admin) {
		t.Error("the database accepts the password that Git has")
	}
	r.sound()
	r.stop()
}
