// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// scrubbedAtOnce is how many neighbouring pages one call takes: free pages lie in runs, and a call costs more than a page.
const scrubbedAtOnce = 64

var zeros = make([]byte, scrubbedAtOnce*pageSize)

// pageFile is the database's file, beside the database: nothing is written through it but zeros, to pages that hold nothing.
type pageFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (os.FileInfo, error)
	Sync() error
}

// freePages knows which of the free pages may hold something. The database copies a page on every change and leaves the old one as
// it was, so a removed ciphertext, and the copies that its neighbours' changes made, stay readable there. Each commit says which
// pages it freed and which it took, so that destroying a version overwrites what was freed since the last time, and no more.
// It is guarded by turns, or by ops held for writing.
type freePages struct {
	// listed are the free pages of the last commit, in order, and end is the first page beyond its last one.
	listed []uint64
	end    uint64
	// unclean are pages that hold nothing that counts, and may hold something.
	unclean map[uint64]struct{}
	// lost says that a commit failed, which may have written to any free page and beyond the end; or that its pages could not be
	// listed. Then all are looked at.
	lost bool
	// rewrite says that zeros which were written may not be on disk, though they are read from memory.
	rewrite bool
}

// list returns the free pages of the last commit, in order, and the first page beyond its last one.
func (s *Store) list() (free []uint64, end uint64, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("scrubbing: %w", err)
	}
	i := &inspector{file: s.file, size: info.Size()}
	if _, err := i.metas(); err != nil {
		return nil, 0, err
	}
	if i.meta.pages > maxPages || int64(i.meta.pages)*pageSize > i.size {
		return nil, 0, corrupt("it was cut short while in use")
	}
	if free, err = i.freelist(); err != nil {
		return nil, 0, err
	}
	slices.Sort(free)
	return free, i.meta.pages, nil
}

// noteCommit notes which pages a commit freed and took. It reads the list of free pages, which the commit has just written.
func (s *Store) noteCommit() {
	listed, end, err := s.list()
	if err != nil {
		s.free.lost = true
		return
	}
	for id := s.free.end; id < end; id++ {
		delete(s.free.unclean, id)
	}
	before := s.free.listed
	for _, id := range listed {
		for len(before) > 0 && before[0] < id {
			delete(s.free.unclean, before[0]) // taken
			before = before[1:]
		}
		if len(before) > 0 && before[0] == id {
			before = before[1:]
			continue
		}
		s.free.unclean[id] = struct{}{}
	}
	for _, id := range before {
		delete(s.free.unclean, id)
	}
	s.free.listed, s.free.end = listed, end
}

// look looks at every page that holds nothing: the free ones, and those beyond the end, to which only a commit that failed
// has written.
func (s *Store) look() error {
	listed, end, err := s.list()
	if err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("scrubbing: %w", err)
	}
	unused := slices.Clone(listed)
	for id := end; id < uint64(info.Size()/pageSize); id++ {
		unused = append(unused, id)
	}
	unclean, buffer := map[uint64]struct{}{}, make([]byte, len(zeros))
	for pages := range runs(unused, scrubbedAtOnce) {
		if s.free.rewrite {
			for _, id := range pages {
				unclean[id] = struct{}{}
			}
			continue
		}
		read := buffer[:len(pages)*pageSize]
		if _, err := s.file.ReadAt(read, int64(pages[0])*pageSize); err != nil {
			return fmt.Errorf("scrubbing: %w", err)
		}
		for n, id := range pages { // one by one: to write zeros where the file has a hole would take space
			if !bytes.Equal(read[n*pageSize:(n+1)*pageSize], zeros[:pageSize]) {
				unclean[id] = struct{}{}
			}
		}
	}
	s.free = freePages{listed: listed, end: end, unclean: unclean}
	return nil
}

// scrub overwrites with zeros what was freed since it last did, if a version was destroyed since, and returns when that is on
// disk. Whoever comes while another one waits for the disk waits too: its version may be among what is written.
func (s *Store) scrub(ctx context.Context) error {
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	if !s.unscrubbed.Load() {
		return nil
	}
	wrote, err := s.zero(ctx)
	if err != nil || !wrote {
		return err
	}
	if err := s.file.Sync(); err != nil {
		s.ops.Lock()
		s.free.lost, s.free.rewrite = true, true
		s.ops.Unlock()
		s.unscrubbed.Store(true)
		return fmt.Errorf("scrubbing: %w", err)
	}
	return nil
}

// zero writes the zeros. Meanwhile no call reads or writes: a reader may still use what a later commit has freed, and a commit may
// take what is free.
func (s *Store) zero(ctx context.Context) (wrote bool, err error) {
	s.ops.Lock()
	defer s.ops.Unlock()
	defer s.guard(&err)()
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	if s.copying.Load() > 0 { // what it reads is not to be overwritten; it does this when it ends
		return false, nil
	}
	if s.free.lost {
		if err := s.look(); err != nil {
			return false, err
		}
	}
	for pages := range runs(slices.Sorted(maps.Keys(s.free.unclean)), scrubbedAtOnce) {
		if _, err := s.file.WriteAt(zeros[:len(pages)*pageSize], int64(pages[0])*pageSize); err != nil {
			return wrote, fmt.Errorf("scrubbing: %w", err)
		}
		wrote = true
	}
	clear(s.free.unclean)
	s.unscrubbed.Store(false)
	return wrote, nil
}

// watchPages opens the file for scrub, and looks which pages are to be overwritten when the next version is destroyed.
func (s *Store) watchPages() error {
	file, err := openPlain(filepath.Join(s.folder.Dir(), databaseFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.file = file
	return s.look()
}

// runs yields the sorted numbers in pieces of consecutive ones, each of at most that many.
func runs(numbers []uint64, most int) iter.Seq[[]uint64] {
	return func(yield func([]uint64) bool) {
		for len(numbers) > 0 {
			n := 1
			for n < min(most, len(numbers)) && numbers[n] == numbers[0]+uint64(n) {
				n++
			}
			if !yield(numbers[:n]) {
				return
			}
			numbers = numbers[n:]
		}
	}
}
