// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable/durabletest"
)

// waiting starts calls one after the other while a commit is under way, so that they share the next, and returns what each returned.
func waiting(t *testing.T, s *Store, calls ...func() error) []error {
	t.Helper()
	s.turns.Lock() // as a commit holds it
	ended := make([]chan error, len(calls))
	for i, call := range calls {
		ended[i] = make(chan error, 1)
		go func() { ended[i] <- call() }()
		for count := 0; count <= i; { // the test's own deadline bounds it
			runtime.Gosched()
			s.queue.Lock()
			count = len(s.waiting)
			s.queue.Unlock()
		}
	}
	s.turns.Unlock()
	errs := make([]error, len(calls))
	for i, end := range ended {
		errs[i] = <-end
	}
	return errs
}

// transactions is the number of the newest one.
func transactions(t testing.TB, s *Store) (number int) {
	t.Helper()
	if err := s.db.View(func(tx *bolt.Tx) error { number = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return number
}

// Changes that wait for a commit share the next one, in their order, and each gets its own answer.
func TestChangesThatWaitShareATransaction(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	put := func(ctx context.Context, key string, base authority.Revision, data string) func() error {
		return func() error {
			_, err := s.Put(ctx, key, base, []byte(data))
			return err
		}
	}
	before := transactions(t, s)
	errs := waiting(t, s,
		put(t.Context(), "a", 0, "first"),
		put(t.Context(), "a", 0, "second"), // conflicts with the one before it
		put(t.Context(), "a", 1, "third"),  // and this one follows it
		put(t.Context(), "b", 0, "same"),
		put(t.Context(), "b", 0, "same"), // repeats
		put(ctx, "c", 0, "nobody waits for it"),
		func() error { cancel(); _, err := s.Write(t.Context(), "p", 0, "run", text(t, "x")); return err },
		func() error { _, err := s.Write(t.Context(), "p", 7, "run", text(t, "y")); return err },
		func() error { return s.Delete(t.Context(), "never there", 0) },
	)
	for i, want := range []error{nil, authority.ErrConflict, nil, nil, nil, context.Canceled, nil, authority.ErrConflict, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("call %d: %v, want %v", i, errs[i], want)
		}
	}
	if got := transactions(t, s) - before; got != 1 {
		t.Errorf("%d transactions, want 1", got)
	}
	mustClose(t, s)
	s = mustOpen(t, config)
	for key, want := range map[string]string{"a": "third", "b": "same", "c": ""} {
		if got, err := s.Get(t.Context(), key); string(got.Data) != want || err != nil && want != "" {
			t.Errorf("%s holds %q, %v, want %q", key, got.Data, err, want)
		}
	}
	if got := newestOf(t, s, "p"); got != 1 {
		t.Errorf("version %d at p, want 1", got)
	}
}

// A change that fails after it changed something takes nobody along, and leaves nothing.
func TestChangeThatFailsHalfWayIsTakenOut(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	broken := errors.New("half-way")
	put := func(key string) func() error {
		return func() error { _, err := s.Put(t.Context(), key, 0, []byte(key)); return err }
	}
	half := func() error {
		return s.update(t.Context(), func(b *batch) error { return errors.Join(b.document("half", 0, []byte("x")), broken) })
	}
	errs := waiting(t, s, put("a"), half, put("b"), half, put("c"))
	for i, want := range []error{nil, broken, nil, broken, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("call %d: %v, want %v", i, errs[i], want)
		}
	}
	mustClose(t, s)
	s = mustOpen(t, config) // it holds the ledger against what is there
	keys, err := authority.Collect(s.Keys(t.Context(), ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(keys, " "); got != "a b c" {
		t.Errorf("documents %q, want a b c", got)
	}
}

// A panic under the mapped file while one call serves the others answers them all.
func TestPanicInAGroupAnswersEachCall(t *testing.T) {
	s := mustOpen(t, initialised(t))
	put := func() error { _, err := s.Put(t.Context(), "a", 0, []byte("x")); return err }
	errs := waiting(t, s, put, func() error { return s.update(t.Context(), func(*batch) error { panic("a fault") }) }, put)
	damaged := 0
	for i, err := range errs {
		if errors.Is(err, ErrCorrupt) {
			damaged++
		} else if !errors.Is(err, authority.ErrUnavailable) {
			t.Errorf("call %d: %v, want that the authority is not available", i, err)
		}
	}
	if damaged != 1 || s.Broken() == "" {
		t.Errorf("%d calls say that the file is damaged, want the one that served; broken: %q", damaged, s.Broken())
	}
}

// What shared a commit shares its failure, and none of it is there.
func TestGroupOnAFullDisk(t *testing.T) {
	durabletest.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		config := newConfig(t, filepath.Join(dir, "authority"))
		if err := Initialise(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, config)
		before := transactions(t, s)
		var calls []func() error
		for i := range 24 {
			calls = append(calls, func() error {
				_, err := s.Write(t.Context(), authority.Path(fmt.Sprintf("p/%d", i)), 0, "run", text(t, strings.Repeat("x", 60_000)))
				return err
			})
		}
		for i, err := range waiting(t, s, calls...) {
			if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, authority.ErrUnavailable) {
				t.Errorf("call %d: %v", i, err)
			}
		}
		for i := range calls {
			if _, err := s.Read(t.Context(), authority.Path(fmt.Sprintf("p/%d", i))); !errors.Is(err, authority.ErrNotFound) || transactions(t, s) != before {
				t.Errorf("path %d, %v: a part of a group was written", i, err)
			}
		}
		mustWrite(t, s, "small", 0, text(t, "room for one"))
	})
}

// BenchmarkWriteTogether is BenchmarkWrite with 16 callers at once, who share their transactions.
func BenchmarkWriteTogether(b *testing.B) {
	s, db, v := mustOpen(b, initialised(b)), rawDatabase(b), text(b, benchText)
	const callers = 16
	var ours, raw time.Duration
	for n := range b.N {
		start, ended := time.Now(), make(chan error, callers)
		for caller := range callers {
			go func() {
				_, err := s.Write(b.Context(), authority.Path(fmt.Sprintf("path/%d/%d", n, caller)), 0, "run", v)
				ended <- err
			}()
		}
		for range callers {
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		}
		ours += time.Since(start) / callers
		start = time.Now()
		rawPut(b, db, n)
		raw += time.Since(start)
	}
	report(b, ours, raw)
}
