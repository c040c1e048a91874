// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/model"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func clock() time.Time { return epoch }

func declaring(names ...string) *intent.Estate {
	estate := &intent.Estate{Secrets: map[string]*intent.Secret{}}
	for _, name := range names {
		estate.Secrets[name] = &intent.Secret{Name: name, Path: authority.Path("app/" + name)}
	}
	return estate
}

// watched is a journal that tells a model.
func watched(m *model.Model) (told, silent *journal.Journal) {
	silent = journal.New(authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock}))
	return silent.Watch(m.Saw), silent
}

func row(t *testing.T, m *model.Model, name string) inventory.Row {
	t.Helper()
	row, known := m.Row(name, epoch)
	if !known {
		t.Fatalf("nothing is known of %s", name)
	}
	return row
}

func TestRowFollowsTheJournal(t *testing.T) {
	m := model.New()
	told, silent := watched(m)
	m.Declare(declaring("key"))
	entry := &journal.Entry{Schema: journal.Schema, Path: "app/key", Secret: "key", Current: &authority.VersionID{Number: 1}}
	save := func(j *journal.Journal, entry *journal.Entry) {
		t.Helper()
		if err := j.Save(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	save(told, entry)
	stale := *entry
	if got := row(t, m, "key"); got.State != "steady" {
		t.Errorf("once it has a value: %s", got.State)
	}
	entry.Live = &journal.Run{ID: "run-1", Workflow: journal.Rotation, Step: journal.Planned, Waiting: &journal.Waiting{Reason: reason.New(reason.ProofMissing, nil)}}
	save(told, entry)
	entry.Live.Waiting.Reason, entry.Live.Step = reason.New(reason.SettleTime, nil), journal.Staged // not saved yet
	if got := row(t, m, "key"); got.State != "rotating" || !got.Waiting.Is(reason.ProofMissing) || got.Live.Step != journal.Planned {
		t.Errorf("in a run: %s, waiting because of %+v at %s", got.State, got.Waiting, got.Live.Step)
	}
	m.Saw(&stale)
	if got := row(t, m, "key"); got.State != "rotating" {
		t.Errorf("after a stale read: %s", got.State)
	}
	entry.Live = nil
	save(silent, entry) // by another process
	if _, err := told.Load(t.Context(), "app/key"); err != nil {
		t.Fatal(err)
	}
	if got := row(t, m, "key"); got.State != "steady" {
		t.Errorf("once the next look has read it: %s", got.State)
	}
}

// The model's answer is the one that is built from everything anew, whatever was asked between the changes.
func TestModelIsTheInventory(t *testing.T) {
	m := model.New()
	told, _ := watched(m)
	states := map[authority.Path]orchestrator.State{}
	estate := declaring("a", "b", "c")
	compare := func(what string) {
		t.Helper()
		entries, err := told.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := inventory.Build(inventory.Sources{Estate: estate, Entries: entries, States: states, Now: epoch})
		if diff := cmp.Diff(want, slices.Collect(m.Rows(epoch, nil))); diff != "" {
			t.Errorf("%s (-built +model):\n%s", what, diff)
		}
	}
	save := func(path authority.Path, name string, former ...string) {
		t.Helper()
		entry, err := told.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		entry.Secret, entry.Former, entry.Current, entry.Rotated = name, former, &authority.VersionID{Number: 1}, epoch
		if err := told.Save(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	look := func(state orchestrator.State) {
		states[state.Path] = state
		m.Looked(state)
	}
	m.Declare(estate)
	compare("nothing has happened")
	save("app/a", "a")
	look(orchestrator.State{Path: "app/a", Looked: epoch})
	compare("one has a value")
	save("app/old", "b")
	compare("one has its history elsewhere")
	look(orchestrator.State{Path: "app/c", Waiting: reason.New(reason.ForeignWrite, nil), Looked: epoch})
	save("app/c", "strange")
	compare("one has another's at its path")
	save("app/c", "strange", "c")
	compare("and it is found to be its own")
	save("app/gone", "gone")
	compare("one is declared no more")
	estate = declaring("a", "gone")
	m.Declare(estate)
	maps.DeleteFunc(states, func(path authority.Path, _ orchestrator.State) bool { return path == "app/c" })
	compare("another estate is in force")
}

// Questions come while looks end.
func TestModelTakesQuestionsWhileItIsTold(t *testing.T) {
	m := model.New()
	told, _ := watched(m)
	m.Declare(declaring("a", "b"))
	var all sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		all.Go(func() {
			for i := range 200 {
				entry, err := told.Load(t.Context(), authority.Path("app/"+name))
				if err != nil {
					t.Error(err)
					return
				}
				entry.Secret, entry.Live = name, &journal.Run{ID: authority.RunID(fmt.Sprint(i)), Waiting: &journal.Waiting{Reason: reason.New(reason.ForeignWrite, nil)}}
				if err := told.Save(t.Context(), entry); err != nil {
					t.Error(err)
				}
				entry.Live.Waiting.Reason = reason.New(reason.SettleTime, nil)
				m.Looked(orchestrator.State{Path: entry.Path, Looked: epoch})
			}
		})
		all.Go(func() {
			for range 200 {
				for row := range m.Rows(epoch, nil) {
					if row.Live != nil && !row.Live.Waiting.Reason.Is(reason.ForeignWrite) {
						t.Error("a row shows what was not saved")
					}
				}
				m.Row(name, epoch)
				m.Places()
			}
		})
	}
	all.Wait()
}

// With ten thousand secrets one is looked at all the time, and the metrics were counted every five seconds though nothing changed.
func TestLookThatFoundNothingNewIsNoChange(t *testing.T) {
	m := model.New()
	m.Declare(declaring("key"))
	look := func(waiting reason.Reason) uint64 {
		before := m.Changes()
		m.Looked(orchestrator.State{Secret: "key", Path: "app/key", Waiting: waiting, Looked: epoch})
		return m.Changes() - before
	}
	waits := reason.New(reason.SettleTime, nil)
	for i, step := range []struct {
		waiting reason.Reason
		want    uint64
	}{{reason.Reason{}, 1}, {reason.Reason{}, 0}, {waits, 1}, {waits, 0}, {reason.Reason{}, 1}} {
		if got := look(step.waiting); got != step.want {
			t.Errorf("look %d: %d changes, want %d", i, got, step.want)
		}
	}
	before := m.Changes()
	told, _ := watched(m)
	entry := &journal.Entry{Schema: journal.Schema, Path: "app/key", Secret: "key", Current: &authority.VersionID{Number: 1}}
	if err := told.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if m.Changes() == before {
		t.Error("a newer entry is no change")
	}
	before = m.Changes()
	if _, err := told.Load(t.Context(), "app/key"); err != nil {
		t.Fatal(err)
	}
	if m.Changes() != before {
		t.Error("an entry that is known is a change")
	}
}
