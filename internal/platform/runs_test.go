// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
)

type unsent struct{ *auditmemory.Log }

// Findings says nothing: the double keeps no checkpoints.
func (unsent) Findings() []audit.Finding { return nil }

// TestRunIsKnownBeforeItIsOnRecord: a run is journaled before its first transition is recorded, and a person who waits
// for it may ask in between.
func TestRunIsKnownBeforeItIsOnRecord(t *testing.T) {
	clock := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	entries := journal.New(authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock}))
	entry, err := entries.Load(t.Context(), "some/path")
	if err != nil {
		t.Fatal(err)
	}
	entry.Secret, entry.Live = "token", &journal.Run{ID: "run-1", Workflow: journal.Rotation, Step: journal.Planned, Started: clock()}
	if err := entries.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	p := New(Config{Journal: entries, Record: unsent{auditmemory.New(clock)}, Now: clock})
	run, err := p.Run(t.Context(), "run-1")
	if err != nil || run.Result != "live" || run.Secret != "token" || run.Step != "planned" {
		t.Errorf("run %+v, %v", run, err)
	}
	if others, err := p.Runs(t.Context(), "another"); err != nil || len(others) != 0 {
		t.Errorf("%d runs of another secret, %v", len(others), err)
	}
}

// TestEndedDerivationIsARun: what computed a derived secret is asked for like any other run.
func TestEndedDerivationIsARun(t *testing.T) {
	clock := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	log := auditmemory.New(clock)
	for _, step := range []journal.Step{journal.Planned, journal.Promoted, journal.Completed} {
		event := audit.Event{
			Run: "run-1", Step: string(step), Workflow: audit.Workflow(journal.Derivation), Secret: "url", Path: "app/url",
			By: "custody", Reason: "a new version of password", Result: "ok", At: clock(),
		}
		if err := log.Append(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	p := New(Config{Journal: journal.New(authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock})), Record: unsent{log}, Now: clock})
	run, err := p.Run(t.Context(), "run-1")
	if err != nil || run.Result != "completed" || run.Workflow != journal.Derivation || len(run.Events) != 3 {
		t.Errorf("run %+v, %v", run, err)
	}
}

// An authority whose journal cannot be read in one place is not taken for an older copy, which would stop everything.
func TestUnreadableEntryIsNoOlderCopy(t *testing.T) {
	clock := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	log := auditmemory.New(clock)
	event := audit.Event{Run: "run-1", Step: string(journal.Completed), Workflow: audit.Workflow(journal.Rotation), Secret: "db", Path: "app/db", By: "custody", Reason: "due", Result: "ok", At: clock()}
	if err := log.Append(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entries []*journal.Entry
		behind  bool
	}{
		"unreadable": {[]*journal.Entry{{Path: "app/db", Fault: journal.ErrUnreadable}}, false},
		"missing":    {nil, true},
	} {
		behind, err := Behind(c.entries, log.Events(t.Context(), audit.Filter{}), false)
		if err != nil || (behind != "") != c.behind {
			t.Errorf("%s: %q, %v, want it behind: %t", name, behind, err, c.behind)
		}
	}
}

// The last run that a record closes which was cut is one of before: that the journal knows a later one does not make the authority
// an older copy; that it knows none does.
func TestCutRecordMakesTheAuthorityNoOlderCopy(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	log := auditmemory.New(func() time.Time { return at })
	event := audit.Event{Run: "run-1", Step: string(journal.Completed), Workflow: audit.Workflow(journal.Rotation), Secret: "db", Path: "app/db", By: "custody", Reason: "due", Result: "ok", At: at}
	if err := log.Append(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		last   *journal.Outcome
		live   *journal.Run
		cut    bool
		behind bool
	}{
		"the same run":                   {&journal.Outcome{Run: "run-1", Ended: at}, nil, true, false},
		"a later one":                    {&journal.Outcome{Run: "run-2", Ended: at.Add(1)}, nil, true, false},
		"a later one that is live":       {&journal.Outcome{Run: "run-0", Ended: at.Add(-1)}, &journal.Run{ID: "run-2", Started: at.Add(1)}, true, false},
		"an earlier one":                 {&journal.Outcome{Run: "run-0", Ended: at.Add(-1)}, nil, true, true},
		"another one, of a whole record": {&journal.Outcome{Run: "run-2", Ended: at.Add(1)}, nil, false, true},
	} {
		entries := []*journal.Entry{{Path: "app/db", Last: c.last, Live: c.live}}
		behind, err := Behind(entries, log.Events(t.Context(), audit.Filter{}), c.cut)
		if err != nil || (behind != "") != c.behind {
			t.Errorf("%s: %q, %v, want it behind: %t", name, behind, err, c.behind)
		}
	}
}

// TestRunWhoseEntryCannotBeReadHasNotEnded: aborting or forcing it said that it had, and to look at a run that was live.
func TestRunWhoseEntryCannotBeReadHasNotEnded(t *testing.T) {
	clock := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	log := auditmemory.New(clock)
	event := audit.Event{Run: "run-1", Step: string(journal.Verified), Workflow: audit.Workflow(journal.Rotation), Secret: "db", Path: "app/db", By: "custody", Reason: "due", Result: "ok", At: clock()}
	if err := log.Append(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	store := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock})
	if _, err := store.Put(t.Context(), "secret/app/db", 0, []byte(`{"schema":2,"path":"app/db","li`)); err != nil {
		t.Fatal(err)
	}
	p := New(Config{Journal: journal.New(store), Record: unsent{log}, Now: clock})
	err := p.onLive(t.Context(), "run-1", "abort", "me", "why", nil)
	if problem := server.Problems(err); !errors.Is(err, journal.ErrUnreadable) || problem.Class != server.Refused || !strings.Contains(problem.Hint, "newest copy of the state folder") {
		t.Errorf("got %+v", problem)
	}
}

// TestDamagedRecordOfThePlatformSaysWhatToPutBack: nothing began, and nothing said what to do.
func TestDamagedRecordOfThePlatformSaysWhatToPutBack(t *testing.T) {
	store := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now})
	for _, key := range []string{"recovery", "grants"} {
		if _, err := store.Put(t.Context(), key, 0, []byte(`{"schema":1,`)); err != nil {
			t.Fatal(err)
		}
	}
	_, accepted := recovery.Last(t.Context(), store)
	_, granted := (&grant.Book{Records: store}).Load(t.Context())
	for _, err := range []error{accepted, granted} {
		if problem := server.Problems(err); problem == nil || !strings.Contains(problem.Text+problem.Hint, "restore the newest copy of the state folder") {
			t.Errorf("got %+v", problem)
		}
	}
}

// TestRefusalNamesTheCommandWithItsSecret: the hint was to look at `custody explain`, of nothing.
func TestRefusalNamesTheCommandWithItsSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := older(t, dual(t), &record{Log: auditmemory.New(time.Now)})
		err := p.onRecord(t.Context(), "deliver", "me", "asked for", "token", "app/token", func() error {
			return fmt.Errorf("delivering token: %w", rotation.ErrNotNow)
		})
		if problem := server.Problems(err); problem.Class != server.Refused || !strings.Contains(problem.Hint, "`custody explain token`") {
			t.Errorf("got %+v", problem)
		}
	})
}
