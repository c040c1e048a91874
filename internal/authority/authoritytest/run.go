// SPDX-License-Identifier: Apache-2.0

// Package authoritytest is the conformance suite of authority.Store, and counts the calls to one (Count). Run is for
// every store, also the in-memory double; RunDurable is for stores that outlive their process. The suite tests what the
// comments of the port promise. Where they leave a choice, it decides: a repeated write returns the version that it
// made, even if others have written since, and is a conflict once that version was destroyed; a destroyed version still
// counts for the next base. Each adapter tests itself whether destroyed content is gone from the disk.
package authoritytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// Run shows that the stores which open returns keep the port's promises. Each call of open returns an empty store,
// whose end open arranges with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) authority.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, authority.Store)
	}{
		{"ReadNothing", readNothing},
		{"WriteThenRead", writeThenRead},
		{"ValuesOfEveryKind", valuesOfEveryKind},
		{"WriteComparesAndSets", writeComparesAndSets},
		{"WriteRepeats", writeRepeats},
		{"DestroyKeepsThatItExisted", destroyKeepsThatItExisted},
		{"DestroyOfNothing", destroyOfNothing},
		{"PathsDoNotMix", pathsDoNotMix},
		{"DocumentsCompareAndSet", documentsCompareAndSet},
		{"DocumentsAreCopies", documentsAreCopies},
		{"DocumentsKeys", documentsKeys},
		{"DocumentsChangeWhileListed", documentsChangeWhileListed},
		{"DocumentsDelete", documentsDelete},
		{"OneWriterWins", oneWriterWins},
		{"OnePutterWins", onePutterWins},
		{"CancelledContext", cancelledContext},
		{"ErrorsHoldNoValue", errorsHoldNoValue},
		{"DigestKeys", digestKeys},
		{"DigestKeyRace", digestKeyRace},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

const (
	path  = authority.Path("team/app/database")
	other = authority.Path("team/app/mail")
)

func value(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"username": "app", "password": text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func write(t *testing.T, s authority.Store, p authority.Path, base authority.Version, run authority.RunID, v secret.Value) authority.VersionID {
	t.Helper()
	id, err := s.Write(t.Context(), p, base, run, v)
	if err != nil {
		t.Fatalf("Write(%s, %d): %v", p, base, err)
	}
	return id
}

func put(t *testing.T, s authority.Store, key string, base authority.Revision, data string) {
	t.Helper()
	got, err := s.Put(t.Context(), key, base, []byte(data))
	if err != nil || got != base+1 {
		t.Fatalf("Put(%s, %d) = %d, %v; want %d", key, base, got, err, base+1)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error = %v, want %v", what, err, want)
	}
}

// wantVersion checks number at path; as the newest too when it is to be that.
func wantVersion(t *testing.T, s authority.Store, p authority.Path, id authority.VersionID, v secret.Value, newest bool) {
	t.Helper()
	read := map[string]func() (authority.Versioned, error){
		"ReadVersion": func() (authority.Versioned, error) { return s.ReadVersion(t.Context(), p, id.Number) },
	}
	if newest {
		read["Read"] = func() (authority.Versioned, error) { return s.Read(t.Context(), p) }
	}
	for name, read := range read {
		got, err := read()
		if err != nil {
			t.Errorf("%s(%s): %v", name, p, err)
			continue
		}
		if got.Path != p || got.ID != id {
			t.Errorf("%s(%s) = %s at %s, want %s", name, p, got.ID, got.Path, id)
		}
		if !got.Value.Equal(v) {
			t.Errorf("%s(%s): the value is not the one written as %s", name, p, id)
		}
		if got.Created.IsZero() || got.Created.Location() != time.UTC {
			t.Errorf("%s(%s): created at %v, want a time in UTC", name, p, got.Created)
		}
	}
}

func readNothing(t *testing.T, s authority.Store) {
	_, err := s.Read(t.Context(), path)
	wantErr(t, "Read", err, authority.ErrNotFound)
	for _, number := range []authority.Version{0, 1, 1 << 40} {
		_, err = s.ReadVersion(t.Context(), path, number)
		wantErr(t, fmt.Sprintf("ReadVersion %d", number), err, authority.ErrNotFound)
	}
	_, err = s.Get(t.Context(), "journal/none")
	wantErr(t, "Get", err, authority.ErrNotFound)
	if s.Incarnation() == "" {
		t.Error("Incarnation is empty")
	}
}

func writeThenRead(t *testing.T, s authority.Store) {
	var ids []authority.VersionID
	var values []secret.Value
	for n := range 12 { // past one digit, where an order by text would go wrong
		values = append(values, value(t, fmt.Sprintf("value-%d", n)))
		id := write(t, s, path, authority.Version(n), authority.RunID(fmt.Sprintf("run-%d", n)), values[n])
		want := authority.VersionID{Incarnation: s.Incarnation(), Run: authority.RunID(fmt.Sprintf("run-%d", n)), Number: authority.Version(n + 1)}
		if id != want {
			t.Fatalf("Write = %s, want %s", id, want)
		}
		ids = append(ids, id)
	}
	for n, id := range ids {
		wantVersion(t, s, path, id, values[n], n == len(ids)-1)
	}
}

func valuesOfEveryKind(t *testing.T, s authority.Store) {
	for name, fields := range map[string]map[string][]byte{
		"empty":   nil,
		"no-text": {"a": {}},
		"binary":  {"key": {0, 0xff, 0xfe, '\n'}, "text": []byte("é <&> \u2028 \x00")},
		"largest": {"value": bytes.Repeat([]byte{0x80}, secret.MaxBytes-5)},
	} {
		v, err := secret.New(fields)
		if err != nil {
			t.Fatal(err)
		}
		p := authority.Path("kinds/" + name)
		wantVersion(t, s, p, write(t, s, p, 0, "run", v), v, true)
	}
}

func writeComparesAndSets(t *testing.T, s authority.Store) {
	first := write(t, s, path, 0, "run-1", value(t, "one"))
	for _, test := range []struct {
		name string
		base authority.Version
		run  authority.RunID
		text string
	}{
		{"same base and run, other value", 0, "run-1", "other"},
		{"same base and value, other run", 0, "run-2", "one"},
		{"base of the future", 2, "run-2", "two"},
	} {
		_, err := s.Write(t.Context(), path, test.base, test.run, value(t, test.text))
		wantErr(t, test.name, err, authority.ErrConflict)
	}
	_, err := s.Write(t.Context(), other, 1, "run-1", value(t, "one"))
	wantErr(t, "base at a path never written", err, authority.ErrConflict)
	wantVersion(t, s, path, first, value(t, "one"), true)
	_, err = s.ReadVersion(t.Context(), path, 2)
	wantErr(t, "after the conflicts, version 2", err, authority.ErrNotFound)
}

func writeRepeats(t *testing.T, s authority.Store) {
	first := write(t, s, path, 0, "run-1", value(t, "one"))
	if again := write(t, s, path, 0, "run-1", value(t, "one")); again != first {
		t.Errorf("repeated Write = %s, want %s", again, first)
	}
	second := write(t, s, path, 1, "run-2", value(t, "two"))
	if again := write(t, s, path, 0, "run-1", value(t, "one")); again != first {
		t.Errorf("repeated Write after another's = %s, want %s", again, first)
	}
	wantVersion(t, s, path, second, value(t, "two"), true)
	if err := s.Destroy(t.Context(), path, 1); err != nil {
		t.Fatal(err)
	}
	_, err := s.Write(t.Context(), path, 0, "run-1", value(t, "one"))
	wantErr(t, "repeated Write of a destroyed version", err, authority.ErrConflict)
}

func destroyKeepsThatItExisted(t *testing.T, s authority.Store) {
	one, two := value(t, "one"), value(t, "two")
	first := write(t, s, path, 0, "run-1", one)
	write(t, s, path, 1, "run-2", two)
	for range 2 { // idempotent
		if err := s.Destroy(t.Context(), path, 2); err != nil {
			t.Fatalf("Destroy: %v", err)
		}
		_, err := s.Read(t.Context(), path)
		wantErr(t, "Read of a destroyed newest", err, authority.ErrNotFound)
		_, err = s.ReadVersion(t.Context(), path, 2)
		wantErr(t, "ReadVersion of a destroyed newest", err, authority.ErrNotFound)
	}
	wantVersion(t, s, path, first, one, false)
	for _, base := range []authority.Version{0, 1} {
		_, err := s.Write(t.Context(), path, base, "run-3", value(t, "three"))
		wantErr(t, fmt.Sprintf("Write on base %d", base), err, authority.ErrConflict)
	}
	wantVersion(t, s, path, write(t, s, path, 2, "run-3", value(t, "three")), value(t, "three"), true)
}

func destroyOfNothing(t *testing.T, s authority.Store) {
	for _, number := range []authority.Version{0, 1, 2} {
		if err := s.Destroy(t.Context(), path, number); err != nil {
			t.Errorf("Destroy of version %d, never written: %v", number, err)
		}
	}
	wantVersion(t, s, path, write(t, s, path, 0, "run-1", value(t, "one")), value(t, "one"), true)
}

// pathsDoNotMix has a path that begins with another and holds more versions.
func pathsDoNotMix(t *testing.T, s authority.Store) {
	write(t, s, "a/b", 0, "run-1", value(t, "short"))
	for n := range 3 {
		write(t, s, "a/b/c", authority.Version(n), "run-2", value(t, fmt.Sprint("below ", n)))
		write(t, s, "a/b-c", authority.Version(n), "run-3", value(t, fmt.Sprint("beside ", n)))
	}
	id := write(t, s, "a/b", 1, "run-4", value(t, "short 2"))
	wantVersion(t, s, "a/b", id, value(t, "short 2"), true)
	_, err := s.Read(t.Context(), "a")
	wantErr(t, "Read of a parent", err, authority.ErrNotFound)
	_, err = s.Read(t.Context(), "a/b/c/d")
	wantErr(t, "Read of a child", err, authority.ErrNotFound)
}

func cancelledContext(t *testing.T, s authority.Store) {
	first := write(t, s, path, 0, "run-1", value(t, "one"))
	put(t, s, "journal/a", 0, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Read":        func() error { _, err := s.Read(ctx, path); return err },
		"ReadVersion": func() error { _, err := s.ReadVersion(ctx, path, 1); return err },
		"Write":       func() error { _, err := s.Write(ctx, path, 1, "run-2", value(t, "two")); return err },
		"Destroy":     func() error { return s.Destroy(ctx, path, 1) },
		"Get":         func() error { _, err := s.Get(ctx, "journal/a"); return err },
		"Put":         func() error { _, err := s.Put(ctx, "journal/a", 1, []byte("two")); return err },
		"Delete":      func() error { return s.Delete(ctx, "journal/a", 1) },
		"Keys":        func() error { _, err := authority.Collect(s.Keys(ctx, "")); return err },
		"DigestKey":   func() error { _, err := s.DigestKey(ctx, path); return err },
	} {
		wantErr(t, name, call(), context.Canceled)
	}
	wantVersion(t, s, path, first, value(t, "one"), true)
	wantDocument(t, s, "journal/a", 1, "one")
}

func errorsHoldNoValue(t *testing.T, s authority.Store) {
	const marked = "CANARY-0f5e1b"
	v := value(t, marked)
	write(t, s, path, 0, "run-1", v)
	put(t, s, "journal/a", 0, marked)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var found []error
	for _, ctx := range []context.Context{t.Context(), cancelled} {
		_, err := s.Write(ctx, path, 0, "run-2", v)
		found = append(found, err)
		_, err = s.Write(ctx, path, 7, "run-2", v)
		found = append(found, err)
		_, err = s.Write(ctx, "", 0, "run-2", v)
		found = append(found, err)
		_, err = s.Put(ctx, "journal/a", 9, []byte(marked))
		found = append(found, err)
		_, err = s.Put(ctx, "", 0, []byte(marked))
		found = append(found, err)
	}
	for n, err := range found {
		if err == nil {
			t.Errorf("call %d succeeded, want an error", n)
			continue
		}
		for _, form := range []string{"%v", "%+v", "%#v", "%q"} {
			if strings.Contains(fmt.Sprintf(form, err), marked) {
				t.Errorf("call %d: the error holds the value under %s", n, form)
			}
		}
	}
}

func oneWriterWins(t *testing.T, s authority.Store) {
	const writers = 32
	base := write(t, s, path, 0, "run", value(t, "base"))
	var won atomic.Int64
	var winner atomic.Value
	race(writers, func(n int) {
		v := value(t, fmt.Sprintf("value-%d", n))
		id, err := s.Write(t.Context(), path, base.Number, authority.RunID(fmt.Sprintf("run-%d", n)), v)
		switch {
		case err == nil:
			won.Add(1)
			winner.Store(authority.Versioned{ID: id, Value: v})
		case !errors.Is(err, authority.ErrConflict):
			t.Errorf("writer %d: %v", n, err)
		}
	})
	if got := won.Load(); got != 1 {
		t.Fatalf("%d of %d writers won, want 1", got, writers)
	}
	made := winner.Load().(authority.Versioned)
	wantVersion(t, s, path, made.ID, made.Value, true)
}

// race starts n calls at one moment and waits for all.
func race(n int, call func(n int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			call(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}
