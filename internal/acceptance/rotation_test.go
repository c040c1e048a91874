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
	"custody.dev/custody/internal/thorough"
)

// begin serves, lets handover and the first issue happen, and starts the clients.
func (r *rig) begin(ignoresReload bool) *running {
	r.t.Helper()
	r.serve()
	eventually(r.t, "the first credential to be delivered", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "app", "held.json"))
		return err == nil
	})
	clients := r.startClient(ignoresReload)
	r.settled("app-database", "")
	return clients
}

// TestRotateUnderSignIns rotates an alternating credential again and again while clients keep signing in, half of which
// hold what they read until they are reloaded.
func TestRotateUnderSignIns(t *testing.T) {
	t.Parallel()
	rotations := thorough.Of(3, 10, 200)
	r := newRig(t, "200ms")
	clients := r.begin(false)
	began := time.Now()
	var old []credential
	for i := range rotations {
		old = append(old, r.current())
		r.rotate("app-database")
		if i%20 == 4 {
			r.rotate("database-admin")
		}
	}
	took := time.Since(began)
	stats := clients.stop(t)
	if stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	// Each client signs in five times a second where it gets the processor, and a rotation takes most of a second.
	if want := int64(rotations); stats.SignIns < want {
		t.Errorf("only %d sign-ins in %s: the clients were not busy", stats.SignIns, took)
	}
	for i, c := range old {
		if !r.refused(c) {
			t.Errorf("the credential before rotation %d still opens the database", i+1)
		}
	}
	if c := r.current(); r.refused(c) {
		t.Errorf("the credential of record is refused: %s", c.Username)
	}
	fmt.Printf("acceptance: %d rotations in %s under sign-ins: %d, %d refused, longest %s\n",
		rotations, took.Round(time.Second), stats.SignIns, stats.Refused, stats.Longest.Round(time.Millisecond))
}

// TestIgnoredReloadHoldsRevocation shows that a client which does not take the new version keeps the old one alive.
func TestIgnoredReloadHoldsRevocation(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms")
	clients := r.begin(true)
	before := r.current()
	r.request("app-database")
	eventually(t, "the run to wait for proof", func() bool {
		row := r.row("app-database")
		return row.Live != nil && row.Waiting.Is(reason.ProofMissing) && strings.Contains(row.Waiting.Args["consumers"], "holding")
	})
	time.Sleep(2 * time.Second) // many times the settle time
	if r.refused(before) {
		t.Error("the old credential was revoked although a consumer still runs on it")
	}
	if r.refused(r.current()) {
		t.Error("the new credential is refused")
	}
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d sign-ins were refused, the first by %s", stats.Refused, stats.First)
	}
	version := r.row("app-database").Version
	again := r.startClient(false) // the operator restarts the stubborn process
	r.settled("app-database", version)
	if !r.refused(before) {
		t.Error("the old credential still opens the database after every consumer moved")
	}
	again.stop(t)
}

// TestKillInEveryStep kills the serving process in every step of a run, under sign-ins; in the long run three times in each.
// A run is staged by the write that plans it.
func TestKillInEveryStep(t *testing.T) {
	t.Parallel()
	times := thorough.Of(1, 1, 3)
	r := newRig(t, "200ms")
	clients := r.begin(false)
	killed := map[string]int{}
	var old []credential
	for _, step := range []string{"staged", "applied", "verified", "promoted", "delivered", "revoked"} {
		for tries := 0; killed[step] < times; tries++ {
			if tries > 100*times { // the step was over each time: on a quiet machine that is one kill in three at most
				t.Fatalf("could not kill in step %s more than %d times", step, killed[step])
			}
			old = append(old, r.current())
			before := r.row("app-database").Version
			r.drain()
			r.request("app-database")
			r.await(step)
			r.kill()
			killed[r.lastStep()]++
			r.serve()
			r.settled("app-database", before)
		}
	}
	stats := clients.stop(t)
	if stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	for i, c := range old {
		if c != r.current() && !r.refused(c) {
			t.Errorf("the credential before kill %d still opens the database", i+1)
		}
	}
	roles := r.sql("SELECT rolname FROM pg_authid WHERE rolname LIKE 'app%' AND rolcanlogin AND rolpassword IS NOT NULL")
	if len(roles) != 1 {
		t.Errorf("%v can sign in, want one of the pair", roles)
	}
	if status, err := r.client.Doctor(t.Context()); err != nil || len(status.Violations) > 0 {
		t.Errorf("doctor: %v, %v", status.Violations, err)
	}
	fmt.Printf("acceptance: killed in step: %v; %d sign-ins, %d refused\n", killed, stats.SignIns, stats.Refused)
}

// drain forgets the steps seen so far.
func (r *rig) drain() {
	for {
		select {
		case <-r.seen:
		default:
			r.mu.Lock()
			r.steps = nil
			r.mu.Unlock()
			return
		}
	}
}

// await returns as soon as the serving process has logged the step.
func (r *rig) await(step string) {
	r.t.Helper()
	timeout := time.After(hang)
	for {
		select {
		case seen := <-r.seen:
			if seen == step {
				return
			}
		case <-timeout:
			r.t.Fatalf("step %s never began:\n%s", step, r.log())
		}
	}
}
