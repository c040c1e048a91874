// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/folderwatch"
)

const (
	// estateSweep is how long an estate in which the kernel told of no change is taken for unchanged: then its files' metadata are
	// compared, for what the kernel did not tell.
	estateSweep = time.Minute
	// estateReread is how long an estate of which neither told a change is taken for unchanged: then it is read again.
	estateReread = time.Hour
)

// estateWatch knows whether the files of an estate may have changed since they were read. The zero value always says so.
type estateWatch struct {
	watcher *folderwatch.Watcher
	// changes counts what was told; blind says that not every folder is watched.
	changes atomic.Uint64
	blind   atomic.Bool
}

// start has the kernel tell of changes from the next follow on.
func (w *estateWatch) start() (stop func(), err error) {
	w.blind.Store(true)
	watcher, err := folderwatch.New(func(string, string) { w.changes.Add(1) })
	if err != nil {
		return func() {}, err
	}
	w.watcher = watcher
	return func() { _ = watcher.Close() }, nil
}

// follow watches every folder of the estate, before it is read.
func (w *estateWatch) follow(path string) {
	if w.watcher == nil {
		return
	}
	folders := []string{path}
	resolved, err := filepath.EvalSymlinks(path) // a link that is put elsewhere is not told
	blind := err != nil || resolved != path
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !entry.IsDir() || name == path:
			return nil
		case strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		}
		folders = append(folders, name)
		return nil
	})
	_, unwatched := w.watcher.Follow(folders)
	w.blind.Store(blind || err != nil || len(unwatched) > 0)
}

// mark is the same later if nothing changed in between.
func (w *estateWatch) mark() uint64 { return w.changes.Load() }

// quiet reports whether nothing changed since mark.
func (w *estateWatch) quiet(mark uint64) bool {
	return w.watcher != nil && !w.blind.Load() && w.changes.Load() == mark
}
