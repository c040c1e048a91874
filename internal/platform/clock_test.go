// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/trigger"
)

// A 30-day secret that was made while the clock ran a year ahead lived 395 days, without a finding.
func TestConfirmDatesAnew(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	store := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock})
	log, entries := auditmemory.New(clock), journal.New(store)
	year := now.AddDate(1, 0, 0)
	for path, rotated := range map[authority.Path]time.Time{"app/ahead": year, "app/right": now.AddDate(0, 0, -3)} {
		err := entries.Save(t.Context(), &journal.Entry{
			Schema: journal.Schema, Secret: strings.TrimPrefix(string(path), "app/"), Path: path, Rotated: rotated,
			Current: &authority.VersionID{Incarnation: "one", Run: "run-1", Number: 1},
			Last:    &journal.Outcome{Run: "run-1", Started: rotated, Ended: rotated},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := New(Config{
		Journal: entries, Record: unsent{log}, Now: clock, NewRun: func() authority.RunID { return "run-2" },
		Clock: trigger.NewClock(store, clock, func() time.Duration { return 0 }), Orchestrator: orchestrator.New(orchestrator.Config{}),
	})
	if found := findings(inventory.Row{Secret: "ahead", Rotated: year}, now); len(found) != 1 || !found[0].Is(reason.DatedAhead) {
		t.Errorf("the finding says %q", found)
	}
	if err := p.ConfirmClock(t.Context(), "me"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[authority.Path]time.Time{"app/ahead": now, "app/right": now.AddDate(0, 0, -3)} {
		entry, err := entries.Load(t.Context(), path)
		if err != nil || !entry.Rotated.Equal(want) || !entry.Last.Ended.Equal(want) {
			t.Errorf("%s: it is dated %s and its run ended %s (%v), want %s", path, entry.Rotated, entry.Last.Ended, err, want)
		}
	}
	dated := 0
	for event, err := range log.Events(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Step == "dated-anew" {
			dated++
		}
	}
	if dated != 1 {
		t.Errorf("%d are on record as dated anew, want one", dated)
	}
	select {
	case <-p.Woken():
	default:
		t.Error("nothing is woken")
	}
}
