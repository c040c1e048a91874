// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tink-crypto/tink-go/v2/tink"
	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
)

// inUse is an authority with values of two incarnations, a destroyed one among them, and documents.
func inUse(t *testing.T) Config {
	t.Helper()
	config := initialised(t)
	s := mustOpen(t, config)
	for i := range rekeyBatch + 20 { // more than one transaction
		mustWrite(t, s, authority.Path(fmt.Sprintf("app/%d", i)), 0, text(t, fmt.Sprintf("value %d", i)))
	}
	mustWrite(t, s, "app/1", 1, text(t, "second"))
	if err := s.Destroy(t.Context(), "app/1", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "journal/one", 0, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "journal/one", 1, []byte("second")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Renew(t.Context(), s.Incarnation(), func(authority.Incarnation) (authority.Renewal, error) { return authority.Renewal{}, nil }); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, "app/2", 1, text(t, "of the second incarnation"))
	mustClose(t, s)
	return config
}

// seenIn is all that a caller can see of an authority.
func seenIn(t *testing.T, config Config) string {
	t.Helper()
	s := mustOpen(t, config)
	defer mustClose(t, s)
	var b bytes.Buffer
	fmt.Fprintln(&b, s.Incarnation())
	for i := range rekeyBatch + 20 {
		path := authority.Path(fmt.Sprintf("app/%d", i))
		key, err := s.DigestKey(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for number := authority.Version(1); number <= 2; number++ {
			held, err := s.ReadVersion(t.Context(), path, number)
			fmt.Fprintln(&b, held.Path, held.ID, held.Created, held.Value.ExposeText("value"), errors.Is(err, authority.ErrNotFound), string(held.Value.Digest(key)))
		}
	}
	for name, err := range s.Keys(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		held, err := s.Get(t.Context(), name)
		fmt.Fprintln(&b, held.Key, held.Revision, string(held.Data), err)
	}
	return b.String()
}

// opened is what the keyset of a file decrypts with, under the key of config.
func opened(t *testing.T, config Config, file []byte) (primitive tink.AEAD) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(at, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(at, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error {
		primitive, err = unwrap(config.Key, tx.Bucket(metaBucket).Get(keysetKey))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return primitive
}

func TestRekeyKeepsEverythingUnderANewKey(t *testing.T) {
	config := inUse(t)
	want, name := seenIn(t, config), filepath.Join(config.Folder, databaseFile)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	next := newConfig(t, config.Folder)
	entries, err := Rekey(t.Context(), config, next.Key)
	if err != nil {
		t.Fatal(err)
	}
	if least := uint64(rekeyBatch + 20); entries < least {
		t.Errorf("got %d entries, want at least %d", entries, least)
	}
	if got := seenIn(t, next); got != want {
		t.Error("what the authority holds is not what it was")
	}
	if _, err := Open(t.Context(), config); !errors.Is(err, authority.ErrSealed) {
		t.Errorf("got %v with the old key, want that it does not open", err)
	}
	if err := Unlocks(config.Folder, next.Key); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if err := Unlocks(config.Folder, config.Key); !errors.Is(err, authority.ErrSealed) {
		t.Errorf("the old key: got %v", err)
	}
	// Who kept the old keyset decrypts nothing of the new file.
	old, after := opened(t, config, before), mustOpen(t, next)
	defer mustClose(t, after)
	if err := after.view(t.Context(), func(tx *bolt.Tx) error { return unsealMeta(old, tx, identityKey, &identity{}) }); err == nil {
		t.Error("the old keyset opens the new file's identity")
	}
	if err := after.view(t.Context(), func(tx *bolt.Tx) error {
		return tx.Bucket(valuesBucket).ForEach(func(key, entry []byte) error {
			if _, err := old.Decrypt(entry[incarnationBytes:], place(valuesBucket, key, authority.Incarnation(fmt.Sprintf("%x", entry[:incarnationBytes])))); err == nil {
				return fmt.Errorf("the old keyset decrypts %q", key)
			}
			return nil
		})
	}); err != nil {
		t.Error(err)
	}
}

// TestRekeyIsWholeOrNotAtAll ends it at each of its steps, as a crash would.
func TestRekeyIsWholeOrNotAtAll(t *testing.T) {
	config := inUse(t)
	want := seenIn(t, config)
	next := newConfig(t, config.Folder)
	errCrash := errors.New("the process died")
	for at := 0; ; at++ {
		steps := 0
		_, err := rekey(t.Context(), config, next.Key, func(string) error {
			if steps++; steps > at {
				return errCrash
			}
			return nil
		})
		if err == nil {
			if at < 4 {
				t.Errorf("it had %d steps", at)
			}
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if got := seenIn(t, config); got != want {
			t.Fatalf("after step %d it is not what it was", at)
		}
		if left, err := os.ReadDir(config.Folder); err != nil || len(left) > 3 {
			t.Errorf("after step %d there are %v, %v", at, left, err)
		}
	}
	if got := seenIn(t, next); got != want {
		t.Error("in the end it is not what it was")
	}
}

func TestRekeyRefuses(t *testing.T) {
	config := inUse(t)
	wrong := newConfig(t, config.Folder)
	if _, err := Rekey(t.Context(), wrong, newConfig(t, config.Folder).Key); !errors.Is(err, authority.ErrSealed) {
		t.Errorf("got %v with a key that does not open it", err)
	}
	if _, err := Rekey(t.Context(), config, brokenSealer{config.Key}); err == nil {
		t.Error("a new key was taken that does not unwrap what it wrapped")
	}
	s := mustOpen(t, config)
	if _, err := Rekey(t.Context(), config, wrong.Key); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v while it is open", err)
	}
	mustClose(t, s)
	seenIn(t, config)
}
