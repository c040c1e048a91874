// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/intent"
)

const (
	keptEstate = "estate"
	// keptNext is where the copy is written; it takes the place of the one before once it is whole.
	keptNext = "estate.next"
	// keptDigest is the sum of the files beside it. The loader skips it, as every dot file.
	keptDigest = ".digest"
	// keptChanges is how what is in force differs from the copy; there is none while it does not.
	keptChanges = "estate.changes"
	// mostChanges bounds the files in keptChanges, in bytes: where more differs, the copy is written anew. Each save writes all of them.
	mostChanges = 256 << 10
)

// keptBase is what the copy holds: its sum, and a hash of each file.
type keptBase struct {
	sum    string
	seed   maphash.Seed
	hashes map[string]uint64
}

func baseOf(files *intent.Files) *keptBase {
	b := &keptBase{files.Sum(), maphash.MakeSeed(), map[string]uint64{}}
	for name, data := range files.All() {
		b.hashes[name] = maphash.Bytes(b.seed, data)
	}
	return b
}

// estateChanges is the content of keptChanges.
type estateChanges struct {
	// Of is the sum of the copy that they are changes of, and Sum that of the files with them.
	Of      string            `json:"of"`
	Sum     string            `json:"sum"`
	Files   map[string][]byte `json:"files,omitempty"`
	Removed []string          `json:"removed,omitempty"`
}

// changes are how files differ from the copy, and how many bytes they take.
func (b *keptBase) changes(files *intent.Files) (found estateChanges, size int) {
	found = estateChanges{Of: b.sum, Sum: files.Sum(), Files: map[string][]byte{}}
	there := make(map[string]bool, len(b.hashes))
	for name, data := range files.All() {
		there[name] = true
		if hash, kept := b.hashes[name]; !kept || hash != maphash.Bytes(b.seed, data) {
			found.Files[name], size = data, size+len(data)
		}
	}
	for name := range b.hashes {
		if !there[name] {
			found.Removed, size = append(found.Removed, name), size+len(name)
		}
	}
	slices.Sort(found.Removed)
	return found, size
}

func (c estateChanges) none() bool { return len(c.Files) == 0 && len(c.Removed) == 0 }

// over are the files of the copy with the changes.
func (c estateChanges) over(base *intent.Files) (*intent.Files, error) {
	files := maps.Collect(base.All())
	maps.Copy(files, c.Files)
	for _, name := range c.Removed {
		delete(files, name)
	}
	return intent.OfCopy(files)
}

// keptSum reads which files a copy is of, "" where an older custody made it.
func (e *estates) keptSum(name string) (string, error) {
	sum, err := os.ReadFile(filepath.Join(e.parts.host.State, name, keptDigest))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(sum), err
}

// keptState is the sum of what was saved last, "" where that is not known.
func (e *estates) keptState() string {
	sum, _ := e.keptSum(keptEstate) // what cannot be read shows when the copy is used
	if changes, err := e.readChanges(sum); err == nil && changes != nil {
		return changes.Sum
	}
	return sum
}

// readChanges reads the changes of the copy with that sum, nil for none: those of another copy were left when it was replaced.
func (e *estates) readChanges(of string) (*estateChanges, error) {
	data, err := os.ReadFile(filepath.Join(e.parts.host.State, keptChanges))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var changes estateChanges
	if err == nil {
		err = json.Unmarshal(data, &changes)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the changes of the copy of the estate: %w", err)
	case changes.Of != of:
		return nil, nil
	}
	return &changes, nil
}

// saved loads the copy, if it is what was saved; nil when there is none.
func (e *estates) saved() (*intent.Estate, error) {
	files, err := e.keptFiles()
	if err != nil || files == nil {
		return nil, err
	}
	return e.check(files, nil)
}

// keptFiles reads what was saved. A crash between removing the copy before and putting the next in its place leaves the next, which
// is taken only as a whole.
func (e *estates) keptFiles() (*intent.Files, error) {
	name := keptEstate
	if _, err := os.Stat(filepath.Join(e.parts.host.State, name)); err != nil {
		name = keptNext
		if sum, err := e.keptSum(name); err != nil || sum == "" {
			return nil, nil //nolint:nilerr // nothing kept is no fault
		}
	}
	files, err := intent.ReadCopy(filepath.Join(e.parts.host.State, name))
	if err != nil {
		return nil, err
	}
	sum, err := e.keptSum(name)
	if err != nil {
		return nil, err
	}
	unlike := fmt.Errorf("the copy of the estate in %s was changed after Custody wrote it: it is not used", filepath.Join(e.parts.host.State, name))
	if sum != "" && sum != files.Sum() {
		return nil, unlike
	}
	changes, err := e.readChanges(files.Sum())
	if err != nil {
		return nil, err
	}
	if name == keptEstate && sum != "" {
		e.base = baseOf(files)
	}
	if changes == nil {
		return files, nil
	}
	if files, err = changes.over(files); err != nil {
		return nil, err
	}
	if files.Sum() != changes.Sum {
		return nil, unlike
	}
	return files, nil
}

// save writes what the estate was made of, which holds no plaintext: how it differs from the copy while that is little, else the whole
// over the copy saved before. There is none before the authority is made.
func (e *estates) save(estate *intent.Estate) error {
	if e.parts.store == (uninitialised{}) {
		return nil
	}
	if sum, err := e.keptSum(keptEstate); err != nil || e.base == nil || sum != e.base.sum { // somebody removed it
		return e.saveWhole(estate.Files)
	}
	changes, size := e.base.changes(estate.Files)
	if size > mostChanges {
		return e.saveWhole(estate.Files)
	}
	folder, err := durable.Open(e.parts.host.State)
	if err != nil {
		return fmt.Errorf("keeping a copy of the estate: %w", err)
	}
	defer func() { _ = folder.Close() }()
	if changes.none() {
		return folder.Remove(keptChanges)
	}
	encoded, err := json.Marshal(changes)
	if err != nil {
		return fmt.Errorf("keeping a copy of the estate: %w", err)
	}
	return folder.Replace(keptChanges, encoded, durable.Private)
}

// saveWhole writes the copy anew. Changes of the one before are left beside it by a crash, and are not taken for its own.
func (e *estates) saveWhole(files *intent.Files) error {
	e.base = nil
	next := filepath.Join(e.parts.host.State, keptNext)
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("clearing the copy: %w", err)
	}
	if err := writeDocuments(files, next); err != nil {
		return err
	}
	kept := filepath.Join(e.parts.host.State, keptEstate)
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("replacing the copy: %w", err)
	}
	if err := os.Rename(next, kept); err != nil {
		return fmt.Errorf("replacing the copy: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(e.parts.host.State, keptChanges)); err != nil {
		return fmt.Errorf("replacing the copy: %w", err)
	}
	e.base = baseOf(files)
	return nil
}

// writeDocuments writes an estate's files, and their sum last: it is there once all of them are.
func writeDocuments(files *intent.Files, to string) error {
	folder, err := durable.Make(to)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Fill(files.All()); err != nil { // the sum tells a copy that a crash cut short
		return err
	}
	return folder.Replace(keptDigest, []byte(files.Sum()), durable.Private)
}
