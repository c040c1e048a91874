// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
)

// Whoever watches is told of what was read and what was stored, and of nothing that was not.
func TestWatchTellsWhatIsStored(t *testing.T) {
	store := memory.New(memory.Config{Incarnation: "one", Clock: time.Now})
	var seen []*journal.Entry
	entries := journal.New(store).Watch(func(e *journal.Entry) { seen = append(seen, e.Brief()) })
	told := func(what string, want int) {
		t.Helper()
		if len(seen) != want {
			t.Fatalf("%s: told %d times, want %d", what, len(seen), want)
		}
	}
	first, err := entries.Load(t.Context(), "app/key")
	if err != nil {
		t.Fatal(err)
	}
	told("of an entry that was never saved", 0)
	stale := *first
	first.Secret, first.Live = "key", &journal.Run{ID: "run-1", Waiting: &journal.Waiting{Reason: reason.New(reason.ProofMissing, nil)}}
	if err := entries.Save(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	told("of one that was saved", 1)
	first.Live.Waiting.Reason = reason.New(reason.SettleTime, nil)
	if !seen[0].Live.Waiting.Reason.Is(reason.ProofMissing) {
		t.Error("what was told changes with the entry")
	}
	if err := entries.Save(t.Context(), &stale); !errors.Is(err, journal.ErrSuperseded) {
		t.Fatal(err)
	}
	told("of a change that lost", 1)
	if _, err := store.Put(t.Context(), "secret/app/torn", 0, []byte(`{"secret":"torn","schema":`)); err != nil {
		t.Fatal(err)
	}
	if _, err := entries.Load(t.Context(), "app/torn"); !errors.Is(err, journal.ErrUnreadable) {
		t.Fatal(err)
	}
	told("of one that cannot be read", 2)
	if seen[1].Fault == nil || seen[1].Path != "app/torn" {
		t.Errorf("told of %+v", seen[1])
	}
	if _, err := entries.All(t.Context()); err != nil {
		t.Fatal(err)
	}
	told("of all", 4)
}

// Each of very many entries had its own copy of the words that all of them say.
func TestBriefEntriesShareTheirWords(t *testing.T) {
	brief := func() *journal.Entry {
		run := authority.RunID(strings.Clone("run-1"))
		return (&journal.Entry{
			Places: []string{strings.Clone("owner app")}, Current: &authority.VersionID{Incarnation: authority.Incarnation(strings.Clone("one")), Run: run},
			Last: &journal.Outcome{Run: authority.RunID(strings.Clone("run-1")), Trigger: journal.Trigger{By: strings.Clone("policy monthly")}},
		}).Brief()
	}
	words := func(e *journal.Entry) (at []*byte) {
		for _, word := range []string{e.Places[0], string(e.Current.Incarnation), e.Last.Trigger.By} {
			at = append(at, unsafe.StringData(word))
		}
		return at
	}
	a, b := brief(), brief()
	if !slices.Equal(words(a), words(b)) {
		t.Error("two entries do not share their words")
	}
	if unsafe.StringData(string(a.Current.Run)) != unsafe.StringData(string(a.Last.Run)) {
		t.Error("an entry has the name of one run twice")
	}
}
