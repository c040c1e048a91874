// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
)

// events keeps what comes on record, and fails while told to.
type events struct {
	fails error
	seen  []string
}

func (e *events) Append(_ context.Context, event audit.Event) error {
	if e.fails == nil {
		e.seen = append(e.seen, fmt.Sprintf("%s %s %s by %s: %s", event.Run, event.Step, event.Detail, event.By, event.Reason))
	}
	return e.fails
}

func TestBelievedIsOnRecordOnce(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	store, record, runs := memory.New(memory.Config{Incarnation: "one", Clock: clock}), &events{}, 0
	book := &Book{store, record, clock, func() authority.RunID { runs++; return authority.RunID(fmt.Sprint("run", runs)) }}
	believe := func(commit, signer, by, reason string, want error) {
		t.Helper()
		if _, err := book.Believe(t.Context(), commit, signer, by, reason); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	believe("a", "alice", "custody", "", nil)
	believe("a", "alice", "custody", "", nil)
	away := errors.New("away")
	record.fails = away
	believe("b", "", "custody", "", away)
	if held, err := book.Load(t.Context()); err != nil || held.Commit != "b" {
		t.Errorf("got %+v, %v: it is believed before it is on record", held, err)
	}
	record.fails = audit.ErrBehind
	believe("b", "", "custody", "", nil)
	record.fails = nil
	believe("b", "", "custody", "", nil)
	believe("b", "", "custody", "", nil)
	record.fails = away
	believe("c", "", "custody", "", away)
	record.fails = nil
	believe("a", "alice", "user me", "the branch was reset", nil)
	want := []string{
		"run1 commit-believed commit a, signed by alice by custody: ",
		"run2 commit-believed commit b after a by custody: ",
		"run3 commit-believed commit c after b by custody: ",
		"run4 commit-accepted commit a after c, signed by alice by user me: the branch was reset",
	}
	if diff := cmp.Diff(want, record.seen); diff != "" {
		t.Error(diff)
	}
}

func TestBeliefOfANewerCustody(t *testing.T) {
	store := memory.New(memory.Config{Incarnation: "one", Clock: time.Now})
	if _, err := store.Put(t.Context(), key, 0, []byte(`{"schema":2}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Book{Records: store}).Load(t.Context()); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want %v", err, ErrNewer)
	}
}
