// SPDX-License-Identifier: Apache-2.0

package authoritytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
)

func wantDocument(t *testing.T, s authority.Store, key string, revision authority.Revision, data string) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Errorf("Get(%s): %v", key, err)
		return
	}
	if diff := cmp.Diff(authority.Document{Key: key, Revision: revision, Data: []byte(data)}, got); diff != "" {
		t.Errorf("Get(%s) (-want +got):\n%s", key, diff)
	}
}

func documentsCompareAndSet(t *testing.T, s authority.Store) {
	put(t, s, "journal/a", 0, "one")
	put(t, s, "journal/a", 0, "one") // a repeat
	wantDocument(t, s, "journal/a", 1, "one")
	for base, data := range map[authority.Revision]string{0: "other", 2: "two", 7: "one"} {
		_, err := s.Put(t.Context(), "journal/a", base, []byte(data))
		wantErr(t, fmt.Sprintf("Put on %d", base), err, authority.ErrConflict)
	}
	wantDocument(t, s, "journal/a", 1, "one")
	put(t, s, "journal/a", 1, "two")
	put(t, s, "journal/a", 2, "two") // the same data again is a new revision when its base is the newest
	wantDocument(t, s, "journal/a", 3, "two")
	_, err := s.Put(t.Context(), "journal/a", 0, []byte("one"))
	wantErr(t, "Put of a first revision long past", err, authority.ErrConflict)
	_, err = s.Put(t.Context(), "journal/b", 1, []byte("one"))
	wantErr(t, "Put on a revision of nothing", err, authority.ErrConflict)
	large := string(bytes.Repeat([]byte{0, 0xff}, 128<<10)) // two values of the largest size, as tagged base64, and a history
	put(t, s, "journal/large", 0, large)
	wantDocument(t, s, "journal/large", 1, large)
	put(t, s, "journal/empty", 0, "")
	if got, err := s.Get(t.Context(), "journal/empty"); err != nil || got.Revision != 1 || len(got.Data) != 0 {
		t.Errorf("Get of an empty document = revision %d, %d bytes, %v", got.Revision, len(got.Data), err)
	}
}

func documentsAreCopies(t *testing.T, s authority.Store) {
	data := []byte("mine")
	if _, err := s.Put(t.Context(), "journal/a", 0, data); err != nil {
		t.Fatal(err)
	}
	data[0] = 'X'
	got, err := s.Get(t.Context(), "journal/a")
	if err != nil {
		t.Fatal(err)
	}
	got.Data[0] = 'Y'
	wantDocument(t, s, "journal/a", 1, "mine")
}

func documentsKeys(t *testing.T, s authority.Store) {
	for _, key := range []string{"queue/2", "journal/b", "journal/a", "journal", "queue/10", "journal/a/x"} {
		put(t, s, key, 0, "of "+key)
	}
	write(t, s, "journal/value", 0, "run", value(t, "no document"))
	for prefix, want := range map[string][]string{
		"":          {"journal", "journal/a", "journal/a/x", "journal/b", "queue/10", "queue/2"},
		"journal/":  {"journal/a", "journal/a/x", "journal/b"},
		"journal/a": {"journal/a", "journal/a/x"},
		"queue/":    {"queue/10", "queue/2"},
		"zebra/":    nil,
	} {
		for range 2 { // a listing may be gone through again
			got, err := authority.Collect(s.Keys(t.Context(), prefix))
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Keys(%q): %v (-want +got):\n%s", prefix, err, diff)
			}
		}
	}
}

// documentsChangeWhileListed: whoever goes through a listing may write, and stop. More are listed than an adapter reads at once.
func documentsChangeWhileListed(t *testing.T, s authority.Store) {
	const all = 300
	for n := range all {
		put(t, s, fmt.Sprintf("journal/%04d", n), 0, "")
	}
	seen := 0
	for key, err := range s.Keys(t.Context(), "journal/") {
		if want := fmt.Sprintf("journal/%04d", seen); err != nil || key != want {
			t.Fatalf("Keys yields %q, %v, want %q", key, err, want)
		}
		if seen++; seen == all-10 {
			break
		}
		if seen%20 == 0 {
			if err := s.Delete(t.Context(), key, 1); err != nil {
				t.Fatalf("Delete in the loop: %v", err)
			}
		}
	}
	if left, err := authority.Collect(s.Keys(t.Context(), "journal/")); err != nil || len(left) != all-(all-10)/20 {
		t.Errorf("%d documents are left, %v, want %d", len(left), err, all-(all-10)/20)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	errs := 0
	for key, err := range s.Keys(ctx, "journal/") {
		if errs++; key != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Keys of an ended context yields %q, %v", key, err)
		}
	}
	if errs != 1 {
		t.Errorf("Keys of an ended context yields %d times, want its error once", errs)
	}
}

func documentsDelete(t *testing.T, s authority.Store) {
	put(t, s, "journal/a", 0, "one")
	put(t, s, "journal/a", 1, "two")
	put(t, s, "journal/ab", 0, "kept")
	for _, base := range []authority.Revision{0, 1, 3} {
		wantErr(t, fmt.Sprintf("Delete at revision %d", base), s.Delete(t.Context(), "journal/a", base), authority.ErrConflict)
	}
	wantDocument(t, s, "journal/a", 2, "two")
	for range 2 {
		if err := s.Delete(t.Context(), "journal/a", 2); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		_, err := s.Get(t.Context(), "journal/a")
		wantErr(t, "Get", err, authority.ErrNotFound)
	}
	_, err := s.Put(t.Context(), "journal/a", 2, []byte("three"))
	wantErr(t, "Put on the deleted revision", err, authority.ErrConflict)
	put(t, s, "journal/a", 0, "anew")
	wantErr(t, "repeated Delete of what was made anew since", s.Delete(t.Context(), "journal/a", 2), authority.ErrConflict)
	wantDocument(t, s, "journal/a", 1, "anew")
	wantDocument(t, s, "journal/ab", 1, "kept")
}

func onePutterWins(t *testing.T, s authority.Store) {
	const putters = 32
	var won atomic.Int64
	var winner atomic.Value
	race(putters, func(n int) {
		data := fmt.Sprintf("data-%d", n)
		switch _, err := s.Put(t.Context(), "journal/a", 0, []byte(data)); {
		case err == nil:
			won.Add(1)
			winner.Store(data)
		case !errors.Is(err, authority.ErrConflict):
			t.Errorf("putter %d: %v", n, err)
		}
	})
	if got := won.Load(); got != 1 {
		t.Fatalf("%d of %d putters won, want 1", got, putters)
	}
	wantDocument(t, s, "journal/a", 1, winner.Load().(string))
}

func digestKey(t *testing.T, s authority.Store, p authority.Path) []byte {
	t.Helper()
	key, err := s.DigestKey(t.Context(), p)
	if err != nil {
		t.Fatalf("DigestKey(%s): %v", p, err)
	}
	if len(key) < 32 {
		t.Fatalf("DigestKey(%s) has %d bytes, want 32 at least", p, len(key))
	}
	return key
}

func digestKeys(t *testing.T, s authority.Store) {
	before := bytes.Clone(digestKey(t, s, path)) // a path need not hold a value yet
	digestKey(t, s, path)[0] ^= 0xff             // what is returned is the caller's
	write(t, s, path, 0, "run-1", value(t, "one"))
	if !bytes.Equal(before, digestKey(t, s, path)) {
		t.Error("the key changed with the first value")
	}
	write(t, s, path, 1, "run-2", value(t, "two"))
	write(t, s, other, 0, "run-3", value(t, "two"))
	if !bytes.Equal(before, digestKey(t, s, path)) {
		t.Error("the key changed with the second value")
	}
	if bytes.Equal(before, digestKey(t, s, other)) {
		t.Error("two paths have one key, though they hold one value")
	}
	if keys, err := authority.Collect(s.Keys(t.Context(), "")); err != nil || len(keys) != 0 {
		t.Errorf("Keys = %v, %v; want none: digest keys are no documents", keys, err)
	}
}

func digestKeyRace(t *testing.T, s authority.Store) {
	keys := make([][]byte, 32)
	race(len(keys), func(n int) {
		key, err := s.DigestKey(t.Context(), path)
		if err != nil {
			t.Errorf("DigestKey: %v", err)
		}
		keys[n] = key
	})
	for n, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Fatalf("caller %d has another key than caller 0", n)
		}
	}
}
