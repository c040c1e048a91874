// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

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
	dirty, page, zeros := false, make([]byte, pageSize), make([]byte, pageSize)
	for _, id := range free {
		if _, err := file.ReadAt(page, int64(id)*pageSize); err != nil {
			return fmt.Errorf("scrubbing: %w", err)
		}
		if string(page) == string(zeros) {
			continue
		}
		if _, err := file.WriteAt(zeros, int64(id)*pageSize); err != nil {
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
