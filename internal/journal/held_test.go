// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
)

const marked = "CANARY-5f11c3"

func value(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"password": text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// running is a document whose live run has values.
func running(t *testing.T, j *journal.Journal) *journal.Held {
	t.Helper()
	held, err := j.LoadHeld(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	held.Secret, held.Live = "db", &journal.Run{ID: "run-1", Workflow: journal.Rotation, Step: journal.Staged}
	held.Pending = &journal.Pending{Run: "run-1", Old: value(t, "old"), Candidate: value(t, marked)}
	if err := j.SaveHeld(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	return held
}

func wantCandidate(t *testing.T, j *journal.Journal, want string) *journal.Held {
	t.Helper()
	held, err := j.LoadHeld(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case want == "" && len(held.Candidates()) > 0:
		t.Errorf("the document holds values: %+v, %+v", held.Pending, held.Kept)
	case want != "" && (held.Pending == nil || !held.Pending.Old.Equal(value(t, "old")) || !held.Pending.Candidate.Equal(value(t, want))):
		t.Errorf("the document does not hold the values that it was given: %+v", held.Pending)
	}
	return held
}

func TestHoldGivesBackWhatWasKept(t *testing.T) {
	j := journal.New(newStore())
	running(t, j)
	wantCandidate(t, j, marked)
}

// Whoever saves the entry alone leaves the values with the run that owns them, and only with that.
func TestSaveOfAnEntryLeavesTheValues(t *testing.T) {
	j := journal.New(newStore())
	running(t, j)
	entry, err := j.Load(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		entry.Onboarded = true
		if err := j.Save(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		wantCandidate(t, j, marked)
	}
	entry.Live = nil
	if err := j.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	wantCandidate(t, j, "")
}

// The write that closes a run ends its values, and no write that lands later brings them back.
func TestLateWriteBringsBackNoValue(t *testing.T) {
	j := journal.New(newStore())
	late := running(t, j)
	entry, err := j.Load(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	closed := wantCandidate(t, j, marked)
	closed.Live = nil
	if err := j.SaveHeld(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"document": j.SaveHeld(t.Context(), late), "entry": j.Save(t.Context(), entry)} {
		if !errors.Is(err, journal.ErrSuperseded) {
			t.Errorf("a late write of the %s: %v, want ErrSuperseded", name, err)
		}
	}
	wantCandidate(t, j, "")
}

func TestKeptIsForTheRecoveryThatNamesIt(t *testing.T) {
	j := journal.New(newStore())
	held := running(t, j)
	held.Live, held.Current = nil, &authority.VersionID{Number: 1}
	held.Recovery = &journal.Recovery{Version: held.Current, Pending: "run-1"}
	held.Kept = &journal.Pending{Run: "run-1", Candidate: value(t, marked)}
	if err := j.SaveHeld(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	held, err := j.LoadHeld(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	if held.Pending != nil || held.Kept == nil || !held.Kept.Candidate.Equal(value(t, marked)) {
		t.Fatalf("held are %+v and %+v, want the candidate kept", held.Pending, held.Kept)
	}
	held.Live = &journal.Run{ID: "run-2"}
	held.Pending = &journal.Pending{Run: "run-2", Candidate: value(t, "next")}
	if err := j.SaveHeld(t.Context(), held); err != nil || len(held.Candidates()) != 2 {
		t.Errorf("beside the values of a new run %d candidates are held, %v, want both", len(held.Candidates()), err)
	}
	held.Live, held.Current = nil, &authority.VersionID{Number: 2} // the run ends the recovery
	if err := j.SaveHeld(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	wantCandidate(t, j, "")
}

func TestValuesAreBounded(t *testing.T) {
	store := newStore()
	j := journal.New(store)
	held := running(t, j)
	largest := value(t, strings.Repeat("x", secret.MaxBytes-len("password")))
	held.Pending = &journal.Pending{Run: "run-1", Old: largest, Candidate: largest}
	if err := j.SaveHeld(t.Context(), held); err != nil {
		t.Errorf("two values of the largest size: %v", err)
	}
	held.Pending = &journal.Pending{Run: "run-1", Candidate: value(t, strings.Repeat("x", secret.MaxBytes))}
	if err := j.SaveHeld(t.Context(), held); err == nil {
		t.Error("a value that is too large was kept")
	}
}

// What answers questions loads no value, and a document that is printed by mistake shows none.
func TestNoValueComesOut(t *testing.T) {
	store := newStore()
	j := journal.New(store)
	held := running(t, j)
	stored, err := store.Get(t.Context(), "secret/app/db")
	if err != nil || !strings.Contains(string(stored.Data), marked) {
		t.Fatalf("the search looks at the wrong bytes: %v", err)
	}
	entry, err := j.Load(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, thing := range map[string]any{"Entry": entry, "Entries": entries[0], "Held": held, "Pending": *held.Pending} {
		encoded, err := json.Marshal(thing)
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{string(encoded), fmt.Sprintf("%v", thing), fmt.Sprintf("%+v", thing), fmt.Sprintf("%#v", thing), fmt.Sprintf("%s", thing)} {
			if strings.Contains(said, marked) {
				t.Errorf("%s shows a value: %.200s", name, said)
			}
		}
	}
	damaged := strings.Replace(string(stored.Data), `"password"`, `"pass word"`, 1)
	if _, err := store.Put(t.Context(), "secret/app/db", stored.Revision, []byte(damaged)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.LoadHeld(t.Context(), "app/db"); !errors.Is(err, journal.ErrUnreadable) || strings.Contains(err.Error(), marked) {
		t.Errorf("damaged values: %v", err)
	}
}
