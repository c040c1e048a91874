// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/authoritytest"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/secret"
)

func config(incarnation authority.Incarnation) memory.Config {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return memory.Config{Incarnation: incarnation, Clock: func() time.Time { return at }}
}

func TestConformance(t *testing.T) {
	authoritytest.Run(t, func(*testing.T) authority.Store { return memory.New(config("first")) })
	authoritytest.RunRenewer(t, func(*testing.T) authoritytest.Renewable { return memory.New(config("first")) })
	t.Run("Restored", func(t *testing.T) {
		authoritytest.Run(t, func(*testing.T) authority.Store {
			return memory.Restore(config("second"), memory.New(config("first")).Snapshot())
		})
	})
}

func text(t testing.TB, s string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{secret.SingleField: s})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRestoreGoesBackUnderNewIncarnation(t *testing.T) {
	s := memory.New(config("first"))
	first, err := s.Write(t.Context(), "a", 0, "run-1", text(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "journal/a", 0, []byte("one")); err != nil {
		t.Fatal(err)
	}
	digest, _ := s.DigestKey(t.Context(), "a")
	snapshot := s.Snapshot()

	// What happens after the snapshot must reach neither it nor what is restored from it.
	if err := s.Destroy(t.Context(), "a", 1); err != nil {
		t.Fatal(err)
	}
	lost, err := s.Write(t.Context(), "a", 1, "run-2", text(t, "two"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "journal/a", 1, []byte("two")); err != nil {
		t.Fatal(err)
	}

	for range 2 { // a snapshot serves more than once
		restored := memory.Restore(config("second"), snapshot)
		got, err := restored.Read(t.Context(), "a")
		if err != nil || got.ID != first || !got.Value.Equal(text(t, "one")) {
			t.Fatalf("Read after restore = %s, %v; want %s", got.ID, err, first)
		}
		again, err := restored.Write(t.Context(), "a", 1, "run-2", text(t, "two"))
		if err != nil || again.Number != lost.Number || again == lost {
			t.Errorf("Write after restore = %s, %v; want number %d in another incarnation than %s", again, err, lost.Number, lost)
		}
		if record, err := restored.Get(t.Context(), "journal/a"); err != nil || record.Revision != 1 || string(record.Data) != "one" {
			t.Errorf("Get after restore = %d %q, %v", record.Revision, record.Data, err)
		}
		if key, _ := restored.DigestKey(t.Context(), "a"); !bytes.Equal(key, digest) {
			t.Error("the digest key changed with the restore")
		}
	}
}

// A standby answers with what was, for as long as it may lag, and never with half of a change.
func TestStandbysLag(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := memory.New(memory.Config{Incarnation: "first", Clock: func() time.Time { return now }})
	s.Remember(time.Minute)
	put := func(data string, base authority.Revision) {
		t.Helper()
		if _, err := s.Put(t.Context(), "journal/a", base, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name string, from *memory.Store, want string) {
		t.Helper()
		record, err := from.Get(t.Context(), "journal/a")
		if want == "" && !errors.Is(err, authority.ErrNotFound) || want != "" && (err != nil || string(record.Data) != want) {
			t.Errorf("%s: got %q, %v, want %q", name, record.Data, err, want)
		}
	}
	put("one", 0)
	now = now.Add(30 * time.Second)
	put("two", 1)
	now = now.Add(30 * time.Second)
	put("three", 2)
	want("one change behind", s.Behind(), "two")
	want("at this instant", s.Earlier(0), "three")
	want("a moment behind", s.Earlier(time.Nanosecond), "two")
	want("half a minute behind", s.Earlier(30*time.Second), "two")
	want("nearly a minute behind", s.Earlier(time.Minute-1), "one")
	now = now.Add(time.Hour)
	want("after an hour", s.Earlier(time.Minute), "three")
	if err := s.Delete(t.Context(), "journal/a", 3); err != nil {
		t.Fatal(err)
	}
	want("before the removal", s.Behind(), "three")
	want("after it", s, "")
}

func BenchmarkWriteReadPut(b *testing.B) {
	s, v := memory.New(config("first")), text(b, "x")
	for n := range authority.Version(b.N) {
		if _, err := s.Write(b.Context(), "a/b", n, "run", v); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Read(b.Context(), "a/b"); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Put(b.Context(), "journal/a", authority.Revision(n), []byte("data")); err != nil {
			b.Fatal(err)
		}
	}
}

// The count is itself a store: nothing is lost behind it.
func TestCountedConforms(t *testing.T) {
	authoritytest.Run(t, func(*testing.T) authority.Store { return authoritytest.Count(memory.New(config("one"))) })
}

func TestCountTellsCallsApart(t *testing.T) {
	s := authoritytest.Count(memory.New(config("one")))
	if _, err := s.Write(t.Context(), "a", 0, "run", text(t, "one")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "journal/a", 0, nil); err != nil {
		t.Fatal(err)
	}
	_ = s.Delete(t.Context(), "journal/a", 7) // a conflict is a call all the same
	_, _ = s.Read(t.Context(), "a")
	_, _ = authority.Collect(s.Keys(t.Context(), "journal/"))
	calls := s.Take()
	if want := "1. Write a\n2. Put journal/a\n3. Delete journal/a\n"; calls.Writes().String() != want {
		t.Errorf("writes:\n%swant\n%s", calls.Writes(), want)
	}
	if len(calls.Reads()) != 1 || len(calls.Listings()) != 1 || calls.ByMethod()["Put"] != 1 || len(s.Take()) != 0 {
		t.Errorf("counted %v", calls.ByMethod())
	}
}
