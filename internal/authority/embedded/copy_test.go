// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// copied is a copy with its content.
func copied(t *testing.T, s *Store) (authority.Copy, []byte) {
	t.Helper()
	made, err := s.Copy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(made.Content)
	if err := errors.Join(err, made.Content.Close()); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(content); sum != made.SHA256 || int64(len(content)) != made.Bytes {
		t.Fatalf("%d bytes with digest %x, want %d with %x", len(content), sum, made.Bytes, made.SHA256)
	}
	return made, content
}

// laid is a folder with a copy, as CheckCopy and PutBack take it.
func laid(t *testing.T, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, CopyName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A copy that is made while others write is the authority of one moment: it opens, its ledger fits, and it has every value that was
// acknowledged before.
func TestCopyWhileOthersWrite(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	var stop atomic.Bool
	var acknowledged atomic.Uint64
	var writing sync.WaitGroup
	began := make(chan struct{})
	writing.Go(func() {
		for n := authority.Version(0); !stop.Load(); n++ {
			if _, err := s.Write(t.Context(), "a/b", n, "run", text(t, fmt.Sprint(n))); err != nil {
				t.Error(err)
				return
			}
			if acknowledged.Store(uint64(n + 1)); n == 3 {
				close(began)
			}
			if n > 2 {
				if err := s.Destroy(t.Context(), "a/b", n-2); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	<-began
	for range 5 {
		before := authority.Version(acknowledged.Load())
		made, content := copied(t, s)
		dir := laid(t, content)
		found, err := CheckCopy(t.Context(), dir, made.Keys)
		if err != nil {
			t.Fatal(err)
		}
		if found.Platform != "example" || found.Incarnation != s.Incarnation() || made.Incarnation != s.Incarnation() || authority.Version(found.Versions) < before {
			t.Errorf("the copy is of %s, incarnation %s, with %d versions; %d were acknowledged", found.Platform, found.Incarnation, found.Versions, before)
		}
	}
	stop.Store(true)
	writing.Wait()
}

// A value that is destroyed while a copy is made stays readable for the copy, and is overwritten when that ends.
func TestDestroyedDuringACopyIsOverwrittenAfterIt(t *testing.T) {
	config, _ := populated(t)
	s := mustOpen(t, config)
	var entry []byte
	if err := s.db.View(func(tx *bolt.Tx) error {
		entry = bytes.Clone(tx.Bucket(valuesBucket).Get(valueKey("team-3/app", 1)))[incarnationBytes:]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	inFile := func() bool {
		content, err := os.ReadFile(filepath.Join(config.Folder, databaseFile))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(content, entry)
	}
	tx, _, err := s.beginCopy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Destroy(t.Context(), "team-3/app", 1); err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if _, err := tx.WriteTo(&whole); err != nil || !bytes.Contains(whole.Bytes(), entry) {
		t.Errorf("the copy lacks what was there when it began: %v", err)
	}
	if !inFile() {
		t.Error("it was overwritten under the copy")
	}
	s.endCopy(tx)
	if inFile() {
		t.Error("a destroyed version's ciphertext is still in the file after the copy")
	}
}

func TestPutBackUnderAnotherKey(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a/b", 0, text(t, marked))
	made, content := copied(t, s)
	mustWrite(t, s, "a/b", 1, text(t, "later"))
	if holdsMarked(content) {
		t.Error("the copy holds the value in clear")
	}
	if names, err := os.ReadDir(config.Folder); err != nil || len(names) != 2 {
		t.Errorf("the folder holds %v after the copy, %v", names, err)
	}
	mustClose(t, s)

	note := authority.Document{Key: "restored", Data: []byte("from a backup")}
	other := newConfig(t, laid(t, content))
	stranger := other
	stranger.Environment = "elsewhere"
	if err := PutBack(t.Context(), stranger, made.Keys, note); !errors.Is(err, ErrForeign) {
		t.Errorf("putting back what is of another environment: %v", err)
	}
	wrong, err := secret.Text(map[string]string{keysField: "bm8ga2V5c2V0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []secret.Value{{}, wrong} {
		if err := PutBack(t.Context(), other, keys, note); !errors.Is(err, authority.ErrSealed) {
			t.Errorf("putting back with other keys: %v", err)
		}
	}
	if err := PutBack(t.Context(), other, made.Keys, note); err != nil {
		t.Fatal(err)
	}
	if err := PutBack(t.Context(), other, made.Keys, note); !errors.Is(err, ErrInitialised) {
		t.Errorf("putting back over an authority: %v", err)
	}
	back := mustOpen(t, other)
	got, err := back.Read(t.Context(), "a/b")
	if err != nil || !got.Value.Equal(text(t, marked)) || got.ID.Number != 1 || got.ID.Incarnation != made.Incarnation {
		t.Errorf("read %v, %v", got.ID, err)
	}
	if held, err := back.Get(t.Context(), "restored"); err != nil || string(held.Data) != "from a backup" {
		t.Errorf("the note is %q, %v", held.Data, err)
	}
	first := config
	first.Folder = other.Folder
	mustClose(t, back)
	if _, err := Open(t.Context(), first); !errors.Is(err, authority.ErrSealed) {
		t.Errorf("opening what was put back with the key of before: %v", err)
	}
}

// A copy that was cut short or changed is found, whatever part it is.
func TestDamagedCopyIsFound(t *testing.T) {
	config, _ := populated(t)
	made, content := copied(t, mustOpen(t, config))
	if _, err := CheckCopy(t.Context(), laid(t, content), made.Keys); err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 1, pageSize, len(content) / 2, len(content) - 1} {
		if _, err := CheckCopy(t.Context(), laid(t, content[:length]), made.Keys); err == nil {
			t.Errorf("%d of %d bytes are taken for a copy", length, len(content))
		}
	}
	used, err := inspectFile(laid(t, content), CopyName)
	if err != nil {
		t.Fatal(err)
	}
	free := map[uint64]bool{}
	for _, id := range used.free {
		free[id] = true
	}
	// The ciphertexts lie at the end of each page that is in use.
	for page := 2; page < len(content)/pageSize; page++ {
		if free[uint64(page)] || len(bytes.Trim(content[page*pageSize+pageSize-8:(page+1)*pageSize], "\x00")) == 0 {
			continue
		}
		changed := bytes.Clone(content)
		changed[(page+1)*pageSize-4] ^= 1
		if _, err := CheckCopy(t.Context(), laid(t, changed), made.Keys); err == nil {
			t.Errorf("a changed byte of page %d is not found", page)
		}
	}
}

// A copy needs room on the authority's own disk, and does not take the last of it.
func TestCopyLeavesRoomForTheAuthority(t *testing.T) {
	s := mustOpen(t, initialised(t))
	if err := s.room(1 << 62); err == nil || hintOf(err) == "" {
		t.Errorf("there is said to be room for 4 EiB: %v", err)
	}
	left := filepath.Join(s.folder.Dir(), spoolFile)
	if err := os.WriteFile(left, []byte("of a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	copied(t, s)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a crash left of a copy is still there: %v", err)
	}
}
