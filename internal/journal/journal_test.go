// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newStore() *memory.Store {
	return memory.New(memory.Config{Incarnation: "one", Clock: func() time.Time { return epoch }})
}

func TestSaveAndLoadKeepEverything(t *testing.T) {
	j := journal.New(newStore())
	entry, err := j.Load(t.Context(), "app/db")
	if err != nil || entry.Live != nil || entry.Path != "app/db" {
		t.Fatalf("got %+v, %v, want a fresh entry", entry, err)
	}
	entry.Secret, entry.Onboarded, entry.Rotated, entry.QuietUntil = "db", true, epoch, epoch.Add(time.Minute)
	entry.Tombstone = &journal.Tombstone{Run: "run-1", Document: "db.yaml", At: epoch}
	entry.Policy = &journal.Policy{
		RotationType: "time", TTL: time.Hour, Settle: time.Second, RevokeOld: true,
		Windows: []journal.Window{{Days: []time.Weekday{time.Sunday}, Start: time.Hour, Duration: time.Hour, Zone: "UTC"}},
	}
	entry.Current = &authority.VersionID{Incarnation: "one", Run: "run-1", Number: 1}
	entry.Last = &journal.Outcome{Run: "run-1", Workflow: journal.Handover, Result: "completed", Forced: "me: gone", Started: epoch, Ended: epoch}
	entry.Retry = &journal.Retry{Attempts: 2, NotBefore: epoch, Reason: "refused", Held: true}
	entry.Live = &journal.Run{
		ID: "run-2", Workflow: journal.Rotation, Step: journal.Staged, Started: epoch, Base: 1, Digest: []byte{1, 2}, CallBy: epoch, Turn: "run-3",
		Undo: "why", Forced: "who", Waiting: &journal.Waiting{Reason: reason.New(reason.ProofMissing, reason.Args{"consumers": "app"}), Since: epoch},
		Trigger: journal.Trigger{Kind: "manual", By: "me", Reason: "test", Requests: []string{"a"}},
	}
	if err := j.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	got, err := j.Load(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entry, got, cmpopts.IgnoreUnexported(journal.Entry{})); diff != "" {
		t.Errorf("what was saved (-) is not what was loaded (+):\n%s", diff)
	}
	if err := j.Save(t.Context(), got); err != nil {
		t.Errorf("saving what was loaded: %v", err)
	}
}

// vault #21935: after a fail-over two leaders went on from what each remembered.
func TestSecondWriterIsSuperseded(t *testing.T) {
	j := journal.New(newStore())
	for _, fresh := range []bool{true, false} {
		one, err := j.Load(t.Context(), "app/db")
		if err != nil {
			t.Fatal(err)
		}
		two, err := j.Load(t.Context(), "app/db")
		if err != nil {
			t.Fatal(err)
		}
		one.Secret, two.Secret = "one", "two"
		if !fresh {
			one.Onboarded = true
		}
		if err := j.Save(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if err := j.Save(t.Context(), two); !errors.Is(err, journal.ErrSuperseded) {
			t.Errorf("got %v, want ErrSuperseded", err)
		}
		if got, err := j.Load(t.Context(), "app/db"); err != nil || got.Secret != "one" {
			t.Errorf("got %+v, %v, want what the first writer saved", got, err)
		}
		one.Onboarded = !one.Onboarded
		if err := j.Save(t.Context(), one); err != nil {
			t.Errorf("the first writer may go on, got %v", err)
		}
	}
}

func TestRepeatingALostSaveSucceeds(t *testing.T) {
	store := newStore()
	lossy := &lossyRecords{Store: store, lose: true}
	j := journal.New(lossy)
	entry, err := j.Load(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	entry.Secret = "db"
	if err := j.Save(t.Context(), entry); err == nil || errors.Is(err, journal.ErrSuperseded) {
		t.Fatalf("got %v, want an error that says nothing about others", err)
	}
	if err := j.Save(t.Context(), entry); err != nil {
		t.Errorf("repeating the save: %v", err)
	}
}

// save saves a fresh entry.
func save(t *testing.T, j *journal.Journal, path authority.Path) *journal.Entry {
	t.Helper()
	entry, err := j.Load(t.Context(), path)
	if err == nil {
		err = j.Save(t.Context(), entry)
	}
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// lossyRecords loses the reply to one write.
type lossyRecords struct {
	*memory.Store
	lose bool
}

func (l *lossyRecords) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	revision, err := l.Store.Put(ctx, key, base, data)
	if l.lose {
		l.lose = false
		return 0, authority.ErrUnavailable
	}
	return revision, err
}

func TestRecordsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data  string
		newer bool
	}{
		"newer schema":                  {`{"schema":4,"path":"app/db"}`, true},
		"newer schema of another shape": {`{"schema":9,"path":["app","db"],"lease":{}}`, true},
		"unknown field":                 {`{"schema":1,"path":"app/db","surprise":true}`, false},
		"not JSON":                      {`{"schema":1,`, false},
		"empty":                         {``, false},
		"an empty object":               {`{}`, false},
		"another secret's":              {`{"schema":2,"path":"app/other","secret":"other"}`, false},
		"a run's values torn":           {`{"schema":2,"path":"app/db","pending":{"run":"r","candidate":{"pass word":"x"}}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore()
			if _, err := store.Put(t.Context(), "secret/app/db", 0, []byte(c.data)); err != nil {
				t.Fatal(err)
			}
			j := journal.New(store)
			other := save(t, j, "app/other")
			_, loadErr := j.Load(t.Context(), "app/db")
			entries, err := j.All(t.Context())
			if err != nil || len(entries) != 2 || entries[0].Path != "app/db" || entries[1].Path != other.Path || entries[1].Fault != nil {
				t.Fatalf("got %v, %v; want the damaged entry and the other one", entries, err)
			}
			for _, err := range []error{loadErr, entries[0].Fault, j.Save(t.Context(), entries[0])} {
				if !errors.Is(err, journal.ErrUnreadable) || errors.Is(err, journal.ErrNewerSchema) != c.newer || !strings.Contains(err.Error(), "app/db") {
					t.Errorf("got %v, want an error that names the record, newer: %t", err, c.newer)
				}
			}
		})
	}
}

func TestAllIsInPathOrder(t *testing.T) {
	j := journal.New(newStore())
	for _, path := range []authority.Path{"b", "a/c", "a"} {
		save(t, j, path)
	}
	entries, err := j.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []authority.Path
	for _, entry := range entries {
		got = append(got, entry.Path)
	}
	if diff := cmp.Diff([]authority.Path{"a", "a/c", "b"}, got); diff != "" {
		t.Errorf("paths differ:\n%s", diff)
	}
}
