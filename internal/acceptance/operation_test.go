// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// held waits until the live run of session-token waits for its consumer's proof, and returns its id and version.
func (r *rig) held() string {
	r.t.Helper()
	r.finding("session-token", reason.ProofMissing, "web")
	return string(r.row("session-token").Live.ID)
}

// confirm lets the check of session-token's consumer pass.
func (r *rig) confirm() {
	r.t.Helper()
	r.write("client/running", r.delivered("app/session.json").Version+"\n")
	r.steady()
}

// TestRequestIsTakenOnce repeats a request by its id: while it is open, after its run, and after a kill.
func TestRequestIsTakenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", gated)
	r.serve()
	r.held()
	r.confirm()
	ask := []string{"rotate", "session-token", "--reason", "case 4711", "--id", "case-4711", "-o", "json"}
	first := decode[map[string]any](t, r.ok(ask...))
	r.ok(ask...)
	r.held()
	r.ok(ask...)
	r.kill()
	r.serve()
	r.ok(ask...)
	r.held()
	r.confirm()
	last := decode[map[string]any](t, r.ok(ask...))
	if first["id"] != "case-4711" || first["at"] != last["at"] || last["run"] == nil {
		t.Errorf("first answer %v, last %v; want the same request, served", first, last)
	}
	if runs := r.runs("session-token", "rotation"); len(runs) != 2 || runs[0].Reason != "case 4711" || string(runs[0].ID) != last["run"] {
		t.Errorf("runs %+v, want the first issue and one for the request", runs)
	}
	requested := 0
	for _, event := range decode[[]map[string]any](t, r.ok("audit", "log", "-o", "json")) {
		if event["step"] == "requested" {
			requested++
		}
	}
	if requested != 1 {
		t.Errorf("the request is on record %d times", requested)
	}
	r.fails(r.run("rotate", "session-token", "--reason", ""), server.Usage)
	r.fails(r.run("rotate", "mail-password", "--reason", "none makes a successor"), server.Refused, "no upstream")
	r.sound()
}

// TestForcePastAMissingProof waives a proof that does not come. It is on record who did, and what was waived.
func TestForcePastAMissingProof(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", gated)
	r.serve()
	r.held()
	r.confirm()
	r.request("session-token")
	run := r.held()
	r.fails(r.run("run", "abort", run, "--reason", "too late"), server.Refused, "only goes forward")
	r.fails(r.run("run", "force", "0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77", "--reason", "unknown"), server.NotFound)
	time.Sleep(200 * time.Millisecond) // many times the settle time: nothing but force goes on
	if row := r.row("session-token"); row.Live == nil {
		t.Fatal("the run ended without its proof")
	}
	r.ok("run", "force", run, "--reason", "the web host was scrapped")
	eventually(t, "the forced run to end", func() bool { return r.row("session-token").Live == nil })
	row := r.row("session-token")
	if row.Last == nil || string(row.Last.Run) != run || row.Last.Result != "completed" || !strings.Contains(row.Last.Forced, "the web host was scrapped") {
		t.Errorf("last run %+v, want it completed and forced", row.Last)
	}
	steps := map[string]string{}
	waived := ""
	for _, event := range decode[server.Run](t, r.ok("run", "show", run, "-o", "json")).Events {
		steps[event.Step] = event.Detail
		if event.Consumer != "" && event.Version != nil {
			waived = event.Step + ": " + event.Reason
		}
	}
	if !containsAll(waived, []string{"the web host was scrapped", "waived-consumer", "web"}) {
		t.Errorf("the record says %q about the force", steps)
	}
	if _, ok := steps["delivered"]; ok {
		t.Error("the record says that delivery was proved")
	}
	if log := r.ok("audit", "log", "--secret", "session-token"); !containsAll(log, []string{"abort-refused", "force", "too late"}) {
		t.Errorf("the record does not say who tried what:\n%s", log)
	}
	r.fails(r.run("run", "force", run, "--reason", "again"), server.Refused, "has ended")
	r.sound()
}

// TestAbortBeforeVerify takes a run back that has not been verified: its upstream is away.
func TestAbortBeforeVerify(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	before, version := r.current(), r.row("app-database").Version
	if err := r.database.Stop(); err != nil {
		t.Fatal(err)
	}
	r.request("app-database")
	eventually(t, "the run to wait for the server", func() bool {
		row := r.row("app-database")
		return row.Live != nil && row.Waiting != nil
	})
	run := string(r.row("app-database").Live.ID)
	r.ok("run", "abort", run, "--reason", "wrong database")
	if err := r.database.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run to be undone", func() bool { return r.row("app-database").Live == nil })
	row := r.row("app-database")
	if row.Version != version || row.Last.Result != "undone" || !containsAll(row.Last.Detail, []string{"aborted by", "wrong database"}) {
		t.Errorf("version %s, last %+v; want the run undone and the version kept", row.Version, row.Last)
	}
	if r.refused(before) || r.current() != before {
		t.Error("the current credential does not work any more")
	}
	if left := r.sql("SELECT rolname FROM pg_authid WHERE rolname LIKE 'app\\__' AND rolcanlogin AND rolpassword IS NOT NULL"); len(left) != 1 {
		t.Errorf("%v can sign in, want one of the pair", left)
	}
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	r.sound()
}

// TestMetrics reads what an alert needs.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", gated)
	r.serve()
	r.held()
	shown := func(want ...string) { // they are put together a while after what they show
		t.Helper()
		for _, line := range want {
			pattern := regexp.MustCompile(`(?m)^` + strings.NewReplacer("{", `\{`, "}", `\}`).Replace(line) + `$`)
			eventually(t, "metrics to say "+line, func() bool {
				_, metrics := r.get("/metrics")
				return pattern.MatchString(metrics)
			})
		}
	}
	shown("custody_ready 1", "custody_phase 3", "custody_findings 1", `custody_secrets{state="issuing"} 1`, `custody_secrets{state="steady"} 1`,
		"custody_summary_timestamp_seconds [0-9.e+]+")
	r.confirm()
	r.rotateGated()
	shown("custody_ready 1", "custody_phase 4", "custody_findings 0", `custody_secrets{state="steady"} 2`,
		`custody_secret_expiry_timestamp_seconds{secret="session-token"} [0-9.e+]+`,
		`custody_secret_rotated_timestamp_seconds{secret="mail-password"} [0-9.e+]+`,
		`custody_run_steps_total{step="promoted"} 2`, `custody_run_steps_total{step="revoked"} 2`, "process_open_fds [0-9]+")
	if code, body := r.get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := r.get("/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
}

// rotateGated rotates session-token and lets the check pass.
func (r *rig) rotateGated() {
	r.t.Helper()
	r.request("session-token")
	r.held()
	r.confirm()
}
