// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/thorough"
)

// TestDatabaseDownInARun takes the server away in the middle of a run, under sign-ins.
func TestDatabaseDownInARun(t *testing.T) {
	t.Parallel()
	away := thorough.Of(time.Second, 3*time.Second, 20*time.Second)
	r := newRig(t, "100ms")
	clients := r.begin(false)
	before, old := r.row("app-database").Version, r.current()
	r.drain()
	r.request("app-database")
	r.await("staged")
	if err := r.database.Stop(); err != nil {
		t.Fatal(err)
	}
	down := time.Now()
	if last := r.lastStep(); last == "completed" {
		t.Fatal("the run was over before the server was down")
	}
	if !testing.Short() {
		// What it waits for depends on how far the run had come.
		r.oneOf("app-database", []reason.Code{
			reason.CandidateNotApplied, reason.CandidateEffectUnknown, reason.CandidateUndecided, reason.AccountMarkerUnread, reason.NewCredentialUndecided, reason.OldNotRevoked,
		}, "connection refused")
	}
	time.Sleep(time.Until(down.Add(away)))
	if row := r.row("app-database"); row.Live == nil {
		t.Errorf("the run ended while the server was down: %+v", row.Last)
	}
	if err := r.database.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled("app-database", before)
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	if !r.refused(old) || r.refused(r.current()) {
		t.Error("after the run the old credential must be refused and the new one taken")
	}
	if runs := r.runs("app-database", "rotation"); len(runs) != 2 || runs[0].Result != "completed" {
		t.Errorf("runs: %+v, want the first issue and one that completed", runs)
	}
	r.sound()
}

// TestRefusedPasswordIsNotRetriedForEver is named after vault PR 28989: a generated password that the server's rule
// refuses is tried a few times, further and further apart, and then waits for a person.
func TestRefusedPasswordIsNotRetriedForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", func(s *setup) {
		s.sendPassword = true
		s.postgres = realparts.PostgresOptions{Settings: map[string]string{"shared_preload_libraries": "passwordcheck"}}
	})
	clients := r.begin(false)
	good, version := r.current(), r.row("app-database").Version
	r.kill()
	r.rule = "{type: password, length: 40, classes: [digit]}" // the server wants letters, too
	r.declare()
	r.serve()
	undone := func(attempt int) server.Run {
		t.Helper()
		eventually(t, "the run to be undone", func() bool {
			runs := r.runs("app-database", "rotation")
			return len(runs) == attempt+1 && runs[0].Result == "undone" && r.row("app-database").Waiting != nil
		})
		return r.runs("app-database", "rotation")[0]
	}
	r.request("app-database")
	first := undone(1)
	if !strings.Contains(first.Detail, "password rule") {
		t.Errorf("the run's detail is %q, which does not name the rule", first.Detail)
	}
	row := r.row("app-database")
	at, rest := row.Waiting.Until, row.Waiting.Cause
	if !row.Waiting.Is(reason.RetryLater) || at.Sub(row.Last.Ended) < 30*time.Second || !strings.Contains(rest, "password rule") {
		t.Errorf("it waits for %q, want a next attempt a minute away and its reason", row.Waiting.Text)
	}
	if row.Version != version || row.Live != nil || r.current() != good || r.refused(good) {
		t.Errorf("after the undone run: version %s, live %v; the credential before it must stay", row.Version, row.Live)
	}
	attempts := 5
	if testing.Short() {
		attempts = 2
	}
	for attempt := 2; attempt <= attempts; attempt++ { // a person's request need not wait
		r.request("app-database")
		undone(attempt)
	}
	if attempts == 5 {
		r.finding("app-database", reason.RetryHeld, "5")
		r.kill()
		r.serve()
		r.finding("app-database", reason.RetryHeld, "5")
		if runs := r.runs("app-database", "rotation"); len(runs) != 6 {
			t.Errorf("%d runs, want the first issue and 5 attempts: it must wait for a person", len(runs))
		}
	}
	if refused := regexp.MustCompile(`[0-9]{40}`); refused.MatchString(r.database.Log()) || refused.MatchString(r.log()) {
		t.Error("a refused password is in the server's log or in custody's")
	}
	r.kill()
	r.rule = "{type: password, length: 24}"
	r.declare()
	r.serve()
	r.request("app-database")
	r.settled("app-database", version)
	if stats := clients.stop(t); stats.Refused != 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s", stats.Refused, stats.SignIns, stats.First)
	}
	r.sound()
}

// TestTrustIsNeverOnboarded has a server that lets the application's users in with any password.
func TestTrustIsNeverOnboarded(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", func(s *setup) {
		s.postgres.HBA = "host all custody_test_root,custody_admin 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
	})
	r.sql(`CREATE ROLE app; CREATE ROLE app_a LOGIN; CREATE ROLE app_b LOGIN; GRANT app TO app_a, app_b;
		ALTER ROLE app_a SET role TO app; ALTER ROLE app_b SET role TO app;
		GRANT app, app_a, app_b TO custody_admin WITH ADMIN OPTION`)
	r.serve()
	r.finding("app-database", reason.DecoyAccepted)
	if row := r.row("app-database"); row.Authority != "nobody" || row.Version != "" {
		t.Errorf("authority %s, version %q: a value was issued", row.Authority, row.Version)
	}
	if set := r.sql("SELECT rolname FROM pg_authid WHERE rolname IN ('app_a', 'app_b') AND rolpassword IS NOT NULL"); len(set) > 0 {
		t.Errorf("passwords of %v were set", set)
	}
	if _, err := os.Stat(r.file("app/polled.json")); err == nil {
		t.Error("a credential was delivered")
	}
	r.sound()
}

// TestTrustOverAccountsThatCustodyMakes: such a server refuses users that are not there and lets anybody in as one that
// is. What was applied is neither promoted nor delivered.
func TestTrustOverAccountsThatCustodyMakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", func(s *setup) {
		s.postgres.HBA = "host all custody_test_root,custody_admin 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
	})
	r.serve()
	r.finding("app-database", reason.DecoyAccepted)
	if row := r.row("app-database"); row.Authority != "nobody" || row.Version != "" {
		t.Errorf("authority %s, version %q: a value was issued", row.Authority, row.Version)
	}
	if _, err := os.Stat(r.file("app/polled.json")); err == nil {
		t.Error("a credential was delivered")
	}
	r.sound()
}

// TestRemovedDocumentRevokesNothing takes a secret's document out of the estate: by itself that ends nothing.
func TestRemovedDocumentRevokesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms")
	clients := r.begin(false)
	before, version := r.current(), r.row("app-database").Version
	r.kill()
	if err := os.Remove(r.file("estate/app.yaml")); err != nil {
		t.Fatal(err)
	}
	r.serve()
	row := r.row("app-database")
	if row.Authority != "authority" || row.State != "leaving" || row.Path != "postgres/main/app" {
		t.Errorf("authority %q, state %q, path %q; want it in force, and leaving", row.Authority, row.State, row.Path)
	}
	r.finding("app-database", reason.LeavingConfirm)
	r.rotate("database-admin") // the server has long looked at everything when this is done
	if r.refused(before) || r.current() != before {
		t.Error("the credential was revoked or taken from its consumers")
	}
	r.kill()
	r.declare()
	r.serve()
	if got := r.row("app-database"); got.Version != version || got.Authority != "authority" {
		t.Errorf("declared again: version %s by %s, want %s", got.Version, got.Authority, version)
	}
	r.rotate("app-database")
	clients.stop(t)
	r.sound()
}
