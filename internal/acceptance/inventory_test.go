// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/server"
)

// TestInventoryAnswers asks the four questions: which secrets exist, who owns each, which services depend on it, which
// expire and when.
func TestInventoryAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	r.rotate("app-database")
	r.steady()
	type answers struct{ Name, Owner, Contact, DependedOnBy, Opens, Origin, State string }
	want := []answers{
		{"app-database", "shop", "shop@example.org", "polling, holding", "", "generated", "steady"},
		{"database-admin", "platform", "platform@example.org", "", "main-database", "bootstrap database-admin", "steady"},
	}
	rows := decode[[]inventory.Row](t, r.ok("inventory", "-o", "json"))
	var got []answers
	for _, row := range rows {
		got = append(got, answers{row.Secret, row.Team, row.Contact, strings.Join(row.Consumers, ", "), strings.Join(row.Opens, ", "), row.Origin, row.State})
		if row.Expires.Sub(row.Rotated) != 30*24*time.Hour || row.ExpiresBy != "policy" || row.Expired {
			t.Errorf("%s: rotated %s, expires %s by %q; want 30 days by policy", row.Secret, row.Rotated, row.Expires, row.ExpiresBy)
		}
		if row.Expires.Sub(row.Due) != 5*24*time.Hour {
			t.Errorf("%s: due %s, want 5 days before %s", row.Secret, row.Due, row.Expires)
		}
		if age := time.Since(row.Rotated); age < 0 || age > time.Minute {
			t.Errorf("%s: rotated %s ago", row.Secret, age)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	for _, line := range []string{"app-database", "shop", "polling, holding", "upstream main-database", rows[0].Expires.UTC().Format(time.RFC3339)} {
		if table := r.ok("inventory"); !strings.Contains(table, line) {
			t.Errorf("the table does not say %q:\n%s", line, table)
		}
	}

	explained := decode[server.Explanation](t, r.ok("explain", "app-database", "-o", "json"))
	switch {
	case explained.Purpose != "Lets the application sign in to the main database", explained.Authority != "authority", explained.Upstream != "main-database":
		t.Errorf("explain: purpose %q, authority %q, upstream %q", explained.Purpose, explained.Authority, explained.Upstream)
	case explained.Last == nil || explained.Last.Result != "completed" || explained.Last.Trigger.Reason != "acceptance test" || explained.Last.Trigger.Kind != "manual":
		t.Errorf("explain: last run %+v, want one that somebody asked for", explained.Last)
	case explained.Next != "rotation at "+explained.Due.UTC().Format(time.RFC3339):
		t.Errorf("explain: next is %q, due %s", explained.Next, explained.Due)
	case explained.Enforced == nil || explained.Enforced.Name != "monthly":
		t.Errorf("explain: enforced policy %+v", explained.Enforced)
	}
	var steps []string
	for _, event := range explained.Events {
		steps = append(steps, event.Step)
	}
	if diff := cmp.Diff([]string{"planned", "staged", "applied", "verified", "promoted", "delivered", "revoked", "completed"}, steps); diff != "" {
		t.Errorf("explain: the last run's transitions (-want +got):\n%s", diff)
	}
	text := r.ok("explain", "app-database")
	for _, said := range []string{explained.Purpose, "shop (shop@example.org)", "polling, holding", explained.Version, "acceptance test", explained.Next} {
		if !strings.Contains(text, said) {
			t.Errorf("explain does not say %q:\n%s", said, text)
		}
	}
	r.fails(r.run("explain", "nobody-knows"), server.NotFound, "nobody-knows")

	plan := decode[[]server.Step](t, r.ok("plan", "-o", "json"))
	if len(plan) != 2 || plan[0].What != "rotate" || plan[0].When.Before(time.Now()) {
		t.Errorf("plan: %+v, want two rotations in time to come", plan)
	}
	clients.stop(t)
}

// TestPhasesAreWalked starts from nothing and puts in place, one after the other, what each phase waits for.
func TestPhasesAreWalked(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", gated)
	policies, key := r.read("estate/policies.yaml"), r.read("keys/bootstrap")
	r.write("estate/policies.yaml", "not: a document\n")
	if err := os.Remove(r.file("keys/bootstrap")); err != nil {
		t.Fatal(err)
	}
	at := func(phase int, waitsFor ...string) {
		t.Helper()
		var got server.Status
		defer func() {
			if t.Failed() {
				t.Logf("%+v", got.Standing)
			}
		}()
		eventually(t, fmt.Sprintf("phase %d", phase), func() bool {
			got = decode[server.Status](t, r.ok("status", "-o", "json"))
			return int(got.Standing.Phase) == phase && containsAll(strings.Join(got.Standing.WaitsFor, "; "), waitsFor)
		})
		if len(got.Standing.Evidence) != phase+1 {
			t.Errorf("phase %d rests on %q, want a line for each phase entered", phase, got.Standing.Evidence)
		}
		for i, line := range got.Standing.Evidence {
			if !strings.HasPrefix(line, fmt.Sprintf("phase %d: ", i)) {
				t.Errorf("evidence %q, want it to be of phase %d", line, i)
			}
		}
		if (len(got.Standing.WaitsFor) == 0) != (phase == 4) {
			t.Errorf("phase %d waits for %q", phase, got.Standing.WaitsFor)
		}
		if text := r.ok("status"); !strings.Contains(text, fmt.Sprintf("%d (", phase)) || !containsAll(text, waitsFor) {
			t.Errorf("the table does not say phase %d and %q:\n%s", phase, waitsFor, text)
		}
	}
	if standing := decode[server.Status](t, r.ok("status", "-o", "json")).Standing; standing.Phase > 0 || !containsAll(strings.Join(standing.WaitsFor, ""), []string{"an estate that lints", "policies.yaml"}) {
		t.Errorf("phase %d waits for %q; want an estate that lints", standing.Phase, standing.WaitsFor)
	}
	r.fails(r.run("serve"), server.Found, "policies.yaml") // phases are entered in order: no authority without an estate
	r.write("estate/policies.yaml", policies)
	r.serve()
	at(1, "the bootstrap identity", "mail-password")
	if code, body := r.get("/readyz"); code != 200 {
		t.Errorf("readyz: %d %q", code, body)
	}
	r.write("keys/bootstrap", key)
	at(3, "a first value of session-token")
	r.handedOver("mail-password")
	r.write("client/running", r.delivered("app/session.json").Version+"\n")
	at(4)
	for _, row := range r.status().Secrets {
		if row.Authority != "authority" || row.State != "steady" {
			t.Errorf("%s: authority %s, state %s in phase 4", row.Secret, row.Authority, row.State)
		}
	}
	r.stop()
	at(4)
}
