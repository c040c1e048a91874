// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"testing"
	"time"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/thorough"
)

// soon is in time for those that stop a service: they wait 30 s and longer. A quiet machine needs less than a second.
const soon = 20 * time.Second

// TestTerminatedInARun asks the server to stop in each step of a run: the step in hand finishes, the process ends with
// 0 and lets everything go, and the next one resumes.
func TestTerminatedInARun(t *testing.T) {
	t.Parallel()
	steps := thorough.Of([]string{"applied"}, runSteps, runSteps)
	r := newRig(t, "200ms")
	clients := r.begin(false)
	stopped := map[string]int{}
	for _, step := range steps {
		before, old := r.row("app-database").Version, r.current()
		r.drain()
		r.request("app-database")
		r.await(step)
		code, took := r.terminate()
		if code != 0 || took > soon {
			t.Errorf("in step %s: exit code %d after %s, want 0 soon\n%s", step, code, took, r.log())
		}
		stopped[r.lastStep()]++
		// Without a server a command takes the folder's lock itself; it could not if one were left.
		if status := r.ok("status", "-o", "json"); status == "" {
			t.Error("status without a server says nothing")
		}
		if r.refused(old) && r.refused(r.current()) {
			t.Errorf("stopped in step %s, neither the old nor the delivered credential works", step)
		}
		r.serve()
		r.settled("app-database", before)
	}
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	for _, run := range r.runs("app-database", "rotation") {
		if run.Result != "completed" {
			t.Errorf("run %s is %s", run.ID, run.Result)
		}
	}
	r.sound()
	t.Logf("stopped after step: %v", stopped)
}

// TestTerminatedWhileItWaits stops a server whose run waits for a proof that does not come.
func TestTerminatedWhileItWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", gated)
	r.serve()
	r.finding("session-token", reason.ProofMissing)
	if code, took := r.terminate(); code != 0 || took > soon {
		t.Errorf("exit code %d after %s: nothing was in hand", code, took)
	}
	live := decode[[]struct{ ID, Result string }](t, r.ok("run", "list", "--secret", "session-token", "-o", "json"))
	if len(live) != 1 || live[0].Result != "live" {
		t.Fatalf("runs %+v, want one that lives on", live)
	}
	r.serve()
	c := r.delivered("app/session.json")
	r.write("client/running", c.Version+"\n")
	r.steady()
	if runs := r.runs("session-token", "rotation"); len(runs) != 1 || string(runs[0].ID) != live[0].ID || runs[0].Result != "completed" {
		t.Errorf("runs %+v, want the one that was there to complete", runs)
	}
	r.sound()
}
