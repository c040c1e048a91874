// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
)

// scrubbedAtOnce is how many neighbouring pages are read by one call: free pages lie in long runs, and a call costs more than a page.
const scrubbedAtOnce = 64

var zeros = make([]byte, scrubbedAtOnce*pageSize)

// scrub overwrites the free pages with zeros. The database copies a page on every change and leaves the old one as it
// was, so a removed ciphertext, and the copies that its neighbours' changes made, would stay readable there. Pages that
// are free in the last commit belong to nobody: the next commit may overwrite them as well.
func (s *Store) scrub(ctx context.Context) (err error) {
	s.ops.Lock()
	defer s.ops.Unlock()
	defer s.guard(&err)()
	if err := s.ready(ctx); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			s.unscrubbed.Store(false)
		}
	}()
	file, err := openPlain(filepath.Join(s.folder.Dir(), databaseFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("scrubbing: %w", err)
	}
	i := &inspector{file: file, size: info.Size()}
	if _, err := i.metas(); err != nil {
		return err
	}
	if i.meta.pages > maxPages || int64(i.meta.pages)*pageSize > i.size {
		return corrupt("it was cut short while in use")
	}
	i.seen = make([]bool, i.meta.pages)
	free, err := i.freelist()
	if err != nil {
		return err
	}
	slices.Sort(free)
	dirty, buffer := false, make([]byte, scrubbedAtOnce*pageSize)
	for pages := range runs(free, scrubbedAtOnce) {
		read := buffer[:len(pages)*pageSize]
		if _, err := file.ReadAt(read, int64(pages[0])*pageSize); err != nil {
			return fmt.Errorf("scrubbing: %w", err)
		}
		if bytes.Equal(read, zeros[:len(read)]) {
			continue
		}
		if _, err := file.WriteAt(zeros[:len(read)], int64(pages[0])*pageSize); err != nil {
			return fmt.Errorf("scrubbing: %w", err)
		}
		dirty = true
	}
	if !dirty {
		return nil
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("scrubbing: %w", err)
	}
	return nil
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
