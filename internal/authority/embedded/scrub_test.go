// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/thorough"
)

// counted counts what goes through the file, and fails when it is told to.
type counted struct {
	pageFile
	read, written, syncs  int
	failsWrite, failsSync bool
}

var errDisk = errors.New("the disk fails")

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.read += len(p)
	return c.pageFile.ReadAt(p, off)
}

func (c *counted) WriteAt(p []byte, off int64) (int, error) {
	if c.failsWrite {
		return 0, errDisk
	}
	c.written += len(p)
	return c.pageFile.WriteAt(p, off)
}

func (c *counted) Sync() error {
	if c.failsSync {
		return errDisk
	}
	c.syncs++
	return c.pageFile.Sync()
}

func counting(s *Store) *counted {
	c := &counted{pageFile: s.file}
	s.file = c
	return c
}

// sealedAt is the ciphertext of a version, as it lies in the file.
func sealedAt(t testing.TB, s *Store, path authority.Path, number authority.Version) (found []byte) {
	t.Helper()
	err := s.db.View(func(tx *bolt.Tx) error {
		found = bytes.Clone(tx.Bucket(valuesBucket).Get(valueKey(path, number)))
		return nil
	})
	if err != nil || len(found) < incarnationBytes+32 {
		t.Fatalf("no entry for version %d of %s: %v", number, path, err)
	}
	return found[incarnationBytes:]
}

// fileHolds reports whether some 16 bytes of ciphertext lie anywhere in the database's file. A value that fills pages may have left any
// part of itself.
func fileHolds(t testing.TB, folder string, ciphertext []byte) bool {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+16 <= len(ciphertext); at += 16 {
		if bytes.Contains(content, ciphertext[at:at+16]) {
			return true
		}
	}
	return false
}

// freed leaves so many free pages.
func freed(t testing.TB, s *Store, pages int) {
	t.Helper()
	const path = authority.Path("path/freed")
	v := text(t, strings.Repeat("x", 3*pageSize))
	s.db.NoSync = true
	var number authority.Version
	for range pages / 3 {
		mustWrite(t, s, path, number, v)
		number++
	}
	err := s.update(t.Context(), func(batch *batch) error { // as nothing of the port lets them go
		for gone := range number {
			if _, err := batch.remove(valuesBucket, valueKey(path, gone+1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.db.NoSync = false
	mustWrite(t, s, "path/other", 0, text(t, "x"))
	if held := len(s.free.listed); held < pages*2/3 {
		t.Fatalf("only %d free pages", held)
	}
}

// Each destroyed version had every free page read, while nobody could read or write.
func TestDestroyOverwritesWhatWasFreedAndNoMore(t *testing.T) {
	for _, free := range []int{300, 3000} {
		s := mustOpen(t, initialised(t))
		freed(t, s, free)
		if err := s.Destroy(t.Context(), "path/other", 1); err != nil {
			t.Fatal(err)
		}
		file := counting(s)
		for n := range authority.Version(20) {
			mustWrite(t, s, "path/one", n, text(t, "a value"))
			if err := s.Destroy(t.Context(), "path/one", n+1); err != nil {
				t.Fatal(err)
			}
		}
		const commits = 40
		// What a commit frees: the pages on the way to what it changes, and the list of free pages.
		if most := commits * (8*len(s.free.listed) + 8*pageSize); file.written > most {
			t.Errorf("with %d free pages %d bytes were overwritten for 20 versions, want %d at most", free, file.written, most)
		}
		// The list of free pages: eight bytes for each, and its header.
		if most := commits * (8*len(s.free.listed) + 4*pageSize); file.read > most {
			t.Errorf("with %d free pages %d bytes were read for 20 versions, want %d at most", free, file.read, most)
		}
		if file.syncs > 20 {
			t.Errorf("%d syncs for 20 versions", file.syncs)
		}
		mustClose(t, s)
	}
}

// What is destroyed lies nowhere in the file, whatever copies other changes left of it, and whatever they took and freed since.
func TestDestroyedBytesAreNowhereInTheFile(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	random := thorough.Random(t, "scrub")
	type place struct {
		path   authority.Path
		number authority.Version
	}
	newest, live, gone := map[authority.Path]authority.Version{}, map[place][]byte{}, map[place][]byte{}
	revisions := map[string]authority.Revision{}
	rounds := thorough.Of(150, 600, 5000)
	for round := range rounds {
		path := authority.Path(fmt.Sprintf("team-%d/app", random.IntN(12)))
		switch action := random.IntN(10); {
		case action < 4:
			size := []int{10, 200, 3000, 3 * pageSize}[random.IntN(4)]
			mustWrite(t, s, path, newest[path], text(t, strings.Repeat(fmt.Sprintf("%d ", round), size)[:size]))
			newest[path]++
			live[place{path, newest[path]}] = sealedAt(t, s, path, newest[path])
		case action < 7:
			key := fmt.Sprintf("journal/%d", random.IntN(12))
			revision, err := s.Put(t.Context(), key, revisions[key], fmt.Appendf(nil, "%d of %s", round, key))
			if err != nil {
				t.Fatal(err)
			}
			revisions[key] = revision
		case action == 7 && round%7 == 0:
			mustClose(t, s)
			s = mustOpen(t, config)
		default:
			for at, ciphertext := range live {
				if err := s.Destroy(t.Context(), at.path, at.number); err != nil {
					t.Fatal(err)
				}
				delete(live, at)
				gone[at] = ciphertext
				if fileHolds(t, config.Folder, ciphertext) {
					t.Fatalf("round %d: version %d of %s, which was destroyed, is still in the file", round, at.number, at.path)
				}
				break
			}
		}
		if round%500 == 499 || round == rounds-1 { // a search through the whole file for each takes longer than all that changes it
			for at, ciphertext := range gone {
				if fileHolds(t, config.Folder, ciphertext) {
					t.Fatalf("round %d: version %d of %s, which was destroyed, is in the file again", round, at.number, at.path)
				}
			}
		}
	}
	if len(gone) < 5 {
		t.Fatalf("only %d versions were destroyed", len(gone))
	}
	for at, ciphertext := range live {
		if !fileHolds(t, config.Folder, ciphertext) {
			t.Fatalf("version %d of %s is not found: the search looks for the wrong bytes", at.number, at.path)
		}
	}
}

// A process that dies between the commit and the overwriting leaves it to the next.
func TestCrashBeforeScrubbingIsMadeUpForAtOpen(t *testing.T) {
	for name, fail := range map[string]func(*counted, bool){
		"before it writes": func(c *counted, fails bool) { c.failsWrite = fails },
		"before it syncs":  func(c *counted, fails bool) { c.failsSync = fails },
	} {
		t.Run(name, func(t *testing.T) {
			config := initialised(t)
			s := mustOpen(t, config)
			mustWrite(t, s, "a/b", 0, text(t, strings.Repeat("x", 100)))
			mustWrite(t, s, "a/b", 1, text(t, "y"))
			ciphertext := sealedAt(t, s, "a/b", 1)
			file := counting(s)
			fail(file, true)
			wantErr(t, s.Destroy(t.Context(), "a/b", 1), errDisk)

			crashed := config
			crashed.Folder = t.TempDir() // as it lay on the disk then
			if err := os.Chmod(crashed.Folder, 0o700); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(filepath.Join(config.Folder, databaseFile))
			if err == nil {
				err = os.WriteFile(filepath.Join(crashed.Folder, databaseFile), content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if file.failsWrite && !fileHolds(t, crashed.Folder, ciphertext) {
				t.Fatal("it is gone before: nothing is tried")
			}
			mustClose(t, mustOpen(t, crashed))
			if fileHolds(t, crashed.Folder, ciphertext) {
				t.Error("the next process left it in the file")
			}

			// The process that lived tries again, and does not take for written what a failed sync may have lost.
			fail(file, false)
			file.written = 0
			if err := s.Destroy(t.Context(), "a/b", 1); err != nil {
				t.Fatal(err)
			}
			if file.written == 0 || fileHolds(t, config.Folder, ciphertext) {
				t.Errorf("the second try wrote %d bytes", file.written)
			}
		})
	}
}

// A version whose bytes could not be overwritten before the end was forgotten by a proper close.
func TestCloseLeavesToTheNextWhatItCannotScrub(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a/b", 0, text(t, strings.Repeat("x", 100)))
	ciphertext := sealedAt(t, s, "a/b", 1)
	counting(s).failsWrite = true
	wantErr(t, s.Destroy(t.Context(), "a/b", 1), errDisk)
	mustClose(t, s)
	if !fileHolds(t, config.Folder, ciphertext) {
		t.Fatal("it is gone before: nothing is tried")
	}
	mustClose(t, mustOpen(t, config))
	if fileHolds(t, config.Folder, ciphertext) {
		t.Error("it is still in the file")
	}
}

// A commit that fails may have written to free pages, and beyond the end, before it did: neither its own change nor copies of
// what stands beside it may stay there.
func TestWhatAFailedCommitWroteIsOverwritten(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a/b", 0, text(t, "x"))
	mustWrite(t, s, "a/b", 1, text(t, "y"))
	if err := s.Destroy(t.Context(), "a/b", 1); err != nil {
		t.Fatal(err)
	}
	marker := binary.BigEndian.AppendUint64([]byte("what a failed commit left"), 1)
	for _, id := range []uint64{s.free.listed[0], s.free.end} {
		page := append(append(make([]byte, 100), marker...), make([]byte, pageSize-100-len(marker))...)
		if _, err := s.file.WriteAt(page, int64(id)*pageSize); err != nil {
			t.Fatal(err)
		}
	}
	s.free.lost = true
	if err := s.Destroy(t.Context(), "a/b", 2); err != nil {
		t.Fatal(err)
	}
	if fileHolds(t, config.Folder, marker) {
		t.Error("it is still in the file")
	}
	_, err := s.Read(t.Context(), "a/b")
	wantErr(t, err, authority.ErrNotFound)
}
