// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// world is what a store should hold.
type world struct {
	values  map[authority.Path]map[authority.Version]secret.Value
	records map[string]string
}

// populated returns a closed store that has several levels of pages, free pages and large values.
func populated(t testing.TB) (Config, world) {
	t.Helper()
	config := initialised(t)
	s := mustOpen(t, config)
	w := world{map[authority.Path]map[authority.Version]secret.Value{}, map[string]string{}}
	for n := range 24 {
		path := authority.Path(fmt.Sprintf("team-%d/app", n))
		w.values[path] = map[authority.Version]secret.Value{}
		for version := range authority.Version(2) {
			v := text(t, string(bytes.Repeat([]byte(fmt.Sprintf("value %d.%d ", n, version)), 1+n*8)))
			mustWrite(t, s, path, version, v)
			w.values[path][version+1] = v
		}
		key := fmt.Sprintf("journal/%d", n)
		if _, err := s.Put(t.Context(), key, 0, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
		w.records[key] = "of " + key
	}
	mustClose(t, s)
	return config, w
}

// compare returns an error for an answer that is wrong; answers that are errors other than ErrNotFound are right.
func (w world) compare(s *Store) (wrong, refused error) {
	ctx := context.Background()
	sort := func(err error) bool {
		if errors.Is(err, authority.ErrNotFound) {
			wrong = fmt.Errorf("something stored is said not to be: %w", err)
		} else if err != nil {
			refused = err
		}
		return err == nil
	}
	for path, versions := range w.values {
		got, err := s.Read(ctx, path)
		if sort(err) && (got.ID.Number != 2 || !got.Value.Equal(versions[2])) {
			wrong = fmt.Errorf("%s reads as version %d", path, got.ID.Number)
		}
		for number, v := range versions {
			if got, err := s.ReadVersion(ctx, path, number); sort(err) && !got.Value.Equal(v) {
				wrong = fmt.Errorf("version %d of %s is another", number, path)
			}
		}
	}
	for key, data := range w.records {
		if got, err := s.Get(ctx, key); sort(err) && string(got.Data) != data {
			wrong = fmt.Errorf("record %s holds %q", key, got.Data)
		}
	}
	if keys, err := authority.Collect(s.Keys(ctx, "")); sort(err) && len(keys) != len(w.records) {
		wrong = fmt.Errorf("%d documents are listed", len(keys))
	}
	return wrong, refused
}

// openDamaged opens a store whose file was changed and reports whether the damage was found.
func openDamaged(t testing.TB, config Config, w world) (found bool) {
	t.Helper()
	s, err := Open(t.Context(), config)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSchema) && !errors.Is(err, authority.ErrSealed) || hintOf(err) == "" {
			t.Errorf("Open = %v (hint %q), want a refusal that says what to do", err, hintOf(err))
		}
		return true
	}
	defer func() { _ = s.Close() }()
	wrong, refused := w.compare(s)
	if wrong != nil {
		t.Errorf("a damaged file was answered from: %v", wrong)
	}
	return refused != nil
}

// restoring puts the folder back as it was before each trial.
func restoring(t testing.TB, config Config) (content, note []byte, reset func(content, note []byte)) {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(config.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return read(databaseFile), read(closedFile), func(content, note []byte) {
		err := os.WriteFile(filepath.Join(config.Folder, databaseFile), content, 0o600)
		if note == nil {
			err = errors.Join(err, os.RemoveAll(filepath.Join(config.Folder, closedFile)))
		} else {
			err = errors.Join(err, os.WriteFile(filepath.Join(config.Folder, closedFile), note, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestUndamagedIsAccepted(t *testing.T) {
	config, w := populated(t)
	content, note, reset := restoring(t, config)
	for _, note := range [][]byte{note, nil} {
		reset(content, note)
		if openDamaged(t, config, w) {
			t.Fatal("an undamaged file is refused")
		}
	}
}

func TestTruncatedFile(t *testing.T) {
	config, w := populated(t)
	content, note, reset := restoring(t, config)
	used, err := inspectFile(config.Folder, databaseFile)
	if err != nil {
		t.Fatal(err)
	}
	end := int(used.newest.pages) * pageSize
	for _, size := range []int{0, 1, 100, pageSize, 2*pageSize - 1, 2 * pageSize, end / 2, end - pageSize, end - 1} {
		for _, note := range [][]byte{note, nil} {
			reset(content[:size], note)
			if !openDamaged(t, config, w) {
				t.Errorf("a file cut to %d of %d bytes was accepted", size, end)
			}
		}
	}
}

func TestZeroedPages(t *testing.T) {
	config, w := populated(t)
	content, note, reset := restoring(t, config)
	state, err := inspectFile(config.Folder, databaseFile)
	if err != nil {
		t.Fatal(err)
	}
	free := map[int]bool{}
	for _, id := range state.free {
		free[int(id)] = true
	}
	for id := range int(state.newest.pages) {
		damaged := bytes.Clone(content)
		clear(damaged[id*pageSize : (id+1)*pageSize])
		reset(damaged, note)
		if found := openDamaged(t, config, w); found == free[id] {
			t.Errorf("page %d (free: %v) zeroed: found = %v", id, free[id], found)
		}
	}
}

// TestFlippedBytes damages single bytes all over the file. Not every byte means something, but none may change an answer.
func TestFlippedBytes(t *testing.T) {
	config, w := populated(t)
	content, note, reset := restoring(t, config)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	found, tried := 0, 0
	flip := func(at int) {
		damaged := bytes.Clone(content)
		damaged[at] ^= 1 << random.IntN(8)
		reset(damaged, note)
		if openDamaged(t, config, w) {
			found++
		}
		tried++
		if t.Failed() {
			t.Fatalf("with byte %d flipped (seed %d)", at, seed)
		}
	}
	for page := 0; page < len(content)/pageSize; page++ {
		for range 2 { // headers and elements are where look-ups go astray
			flip(page*pageSize + random.IntN(96))
		}
		flip(page*pageSize + random.IntN(pageSize))
	}
	if found < tried/4 {
		t.Errorf("%d of %d flips were found: the trial does not reach what is used", found, tried)
	}
}

// TestLeafThatLostAnElement shortens each leaf by one: every structure stays sound, only an entry is gone.
func TestLeafThatLostAnElement(t *testing.T) {
	config, w := populated(t)
	content, note, reset := restoring(t, config)
	state, err := inspectFile(config.Folder, databaseFile)
	if err != nil {
		t.Fatal(err)
	}
	free := map[uint64]bool{}
	for _, id := range state.free {
		free[id] = true
	}
	tried := 0
	for id := uint64(2); id < state.newest.pages; id++ {
		head := content[id*pageSize:]
		if free[id] || order.Uint64(head) != id || order.Uint16(head[8:]) != flagLeaf || order.Uint16(head[10:]) < 2 {
			continue
		}
		damaged := bytes.Clone(content)
		order.PutUint16(damaged[id*pageSize+10:], order.Uint16(head[10:])-1)
		reset(damaged, note)
		if tried++; !openDamaged(t, config, w) {
			t.Errorf("leaf %d lost an element and nobody noticed", id)
		}
	}
	if tried < 5 {
		t.Fatalf("only %d leaves were tried", tried)
	}
}

// TestMovedCiphertext exchanges two entries of every bucket, ledger and all, as somebody who can write the file could.
func TestMovedCiphertext(t *testing.T) {
	config, _ := populated(t)
	s := mustOpen(t, config)
	exchange := func(bucket, a, b []byte) {
		t.Helper()
		err := s.db.Update(func(tx *bolt.Tx) error {
			in := tx.Bucket(bucket)
			one, two := bytes.Clone(in.Get(a)), bytes.Clone(in.Get(b))
			if one == nil || two == nil {
				t.Fatalf("bucket %s lacks an entry to move", bucket)
			}
			return errors.Join(in.Put(a, two), in.Put(b, one))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	exchange(valuesBucket, valueKey("team-1/app", 1), valueKey("team-1/app", 2))
	exchange(valuesBucket, valueKey("team-2/app", 1), valueKey("team-3/app", 1))
	exchange(documentsBucket, []byte("journal/1"), []byte("journal/2"))
	for name, call := range map[string]func() error{
		"value":        func() error { _, err := s.Read(t.Context(), "team-1/app"); return err },
		"other path":   func() error { _, err := s.ReadVersion(t.Context(), "team-2/app", 1); return err },
		"record":       func() error { _, err := s.Get(t.Context(), "journal/1"); return err },
		"write repeat": func() error { _, err := s.Write(t.Context(), "team-2/app", 0, "run", text(t, "x")); return err },
	} {
		if err := call(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s moved elsewhere: %v, want ErrCorrupt", name, err)
		}
	}
	mustClose(t, s)
	if _, err := Open(t.Context(), config); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open of a file with moved entries = %v, want ErrCorrupt", err)
	}
}

// TestOlderFilePutBack has a copy of an earlier state of the same authority returned under the closed one.
func TestOlderFilePutBack(t *testing.T) {
	config, _ := populated(t)
	older, _, _ := restoring(t, config)
	s := mustOpen(t, config)
	mustWrite(t, s, "team-1/app", 2, text(t, "newer"))
	mustClose(t, s)
	_, note, reset := restoring(t, config)
	reset(older, note)
	_, err := Open(t.Context(), config)
	wantErr(t, err, ErrCorrupt, "closed at change")
}

func TestTruncatedWhileOpen(t *testing.T) {
	config, _ := populated(t)
	s := mustOpen(t, config)
	if err := os.Truncate(filepath.Join(config.Folder, databaseFile), 2*pageSize); err != nil {
		t.Fatal(err)
	}
	_, err := s.Read(t.Context(), "team-9/app")
	wantErr(t, err, ErrCorrupt)
	_, err = s.Write(t.Context(), "team-9/app", 2, "run", text(t, "x"))
	wantErr(t, err, authority.ErrUnavailable)
	_ = s.Close()
	_, err = Open(t.Context(), config)
	wantErr(t, err, ErrCorrupt)
}

func TestLinkInPlaceOfFile(t *testing.T) {
	config := initialised(t)
	for _, name := range []string{databaseFile, lockFile} {
		at := filepath.Join(config.Folder, name)
		moved := filepath.Join(t.TempDir(), "moved")
		if err := errors.Join(os.Rename(at, moved), os.Symlink(moved, at)); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(t.Context(), config); err == nil {
			_ = s.Close()
			t.Errorf("Open followed a link at %s", name)
		}
		if err := errors.Join(os.Remove(at), os.Rename(moved, at)); err != nil {
			t.Fatal(err)
		}
	}
	mustOpen(t, config)
}

const marked = "CANARY-3b9a77d0"

// holdsMarked looks for the marked text as it is and in the encodings the code uses.
func holdsMarked(content []byte) bool {
	for shift := range 3 { // base64 of a text depends on where it stands
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), marked...))
		if bytes.Contains(content, []byte(encoded[4:len(encoded)-4])) {
			return true
		}
	}
	return bytes.Contains(content, []byte(marked)) || bytes.Contains(content, fmt.Appendf(nil, "%x", marked))
}

func TestCanaryIsNotInTheFiles(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	for n := range authority.Version(20) {
		v, err := secret.New(map[string][]byte{"text": []byte(marked), "binary": append([]byte{0xff}, marked...)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(t.Context(), "a/b", n, authority.RunID("run-"+marked), v); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), "journal/a", authority.Revision(n), []byte(marked)); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := s.DigestKey(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		entries, err := os.ReadDir(config.Folder)
		if err != nil || len(entries) == 0 {
			t.Fatal(err)
		}
		for _, entry := range entries {
			content, err := os.ReadFile(filepath.Join(config.Folder, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if holdsMarked(content) || bytes.Contains(content, digest) || bytes.Contains(content, s.digestKey) {
				t.Errorf("%s holds a marked value or a digest key %s", entry.Name(), when)
			}
			if entry.Name() == databaseFile && !bytes.Contains(content, []byte("journal/a")) {
				t.Error("not even names are found: the search looks at the wrong bytes")
			}
		}
	}
	look("while open")
	mustClose(t, s)
	look("when closed")
}

// TestDestroyedCiphertextIsGone looks for the sealed bytes: with the keyset they would still be the value.
func TestDestroyedCiphertextIsGone(t *testing.T) {
	config, _ := populated(t)
	s := mustOpen(t, config)
	file := filepath.Join(config.Folder, databaseFile)
	entry := func(path authority.Path, number authority.Version) (found []byte) {
		err := s.db.View(func(tx *bolt.Tx) error {
			found = bytes.Clone(tx.Bucket(valuesBucket).Get(valueKey(path, number)))
			return nil
		})
		if err != nil || found == nil {
			t.Fatalf("no entry for %s: %v", path, err)
		}
		return found[incarnationBytes:]
	}
	inFile := func(ciphertext []byte) bool {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(content, ciphertext[:32])
	}
	destroyed, kept := entry("team-3/app", 1), entry("team-4/app", 1)
	var removed []byte
	if err := s.db.View(func(tx *bolt.Tx) error {
		removed = bytes.Clone(tx.Bucket(documentsBucket).Get([]byte("journal/1")))[incarnationBytes:]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	document, err := s.Get(t.Context(), "journal/1")
	if err != nil {
		t.Fatal(err)
	}
	revision := document.Revision
	mustWrite(t, s, "team-3/app", 2, text(t, "neighbour")) // leaves a copy of the page behind
	for name, ciphertext := range map[string][]byte{"destroyed": destroyed, "removed": removed, "kept": kept} {
		if !inFile(ciphertext) {
			t.Fatalf("the entry to be %s is not found before: the search looks for the wrong bytes", name)
		}
	}
	if err := s.Destroy(t.Context(), "team-3/app", 1); err != nil {
		t.Fatal(err)
	}
	if inFile(destroyed) {
		t.Error("a destroyed version's ciphertext is still in the file")
	}
	// What a document held goes with the next value that is destroyed.
	if err := errors.Join(s.Delete(t.Context(), "journal/1", revision), s.Destroy(t.Context(), "team-9/app", 1)); err != nil {
		t.Fatal(err)
	}
	if inFile(removed) || !inFile(kept) {
		t.Errorf("removed in file: %v, kept in file: %v; want false, true", inFile(removed), inFile(kept))
	}
	mustClose(t, s)
	got, err := mustOpen(t, config).Read(t.Context(), "team-4/app")
	if err != nil || got.ID.Number != 2 {
		t.Errorf("Read after scrubbing: version %d, %v", got.ID.Number, err)
	}
}

// TestBranchKeyAstray changes the keys by which branches lead to their children: look-ups would go to the wrong one,
// though every entry is whole.
func TestBranchKeyAstray(t *testing.T) {
	config, w := populated(t)
	content, note, reset := restoring(t, config)
	state, err := inspectFile(config.Folder, databaseFile)
	if err != nil {
		t.Fatal(err)
	}
	free := map[uint64]bool{}
	for _, id := range state.free {
		free[id] = true
	}
	tried := 0
	for id := uint64(2); id < state.newest.pages; id++ {
		page := content[id*pageSize : (id+1)*pageSize]
		if free[id] || order.Uint64(page) != id || order.Uint16(page[8:]) != flagBranch {
			continue
		}
		for n := 1; n < int(order.Uint16(page[10:])); n++ {
			at := pageHeader + n*elementSize
			key := int(id)*pageSize + at + int(order.Uint32(page[at:]))
			for _, first := range []byte{0x01, 0xfe} {
				damaged := bytes.Clone(content)
				damaged[key] = first
				reset(damaged, note)
				if tried++; !openDamaged(t, config, w) {
					t.Errorf("branch %d: element %d leads astray and nobody noticed", id, n)
				}
			}
		}
	}
	if tried < 4 {
		t.Fatalf("only %d keys were tried", tried)
	}
}
