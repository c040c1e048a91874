// SPDX-License-Identifier: Apache-2.0

// Package folderwatch reports changes in folders as they happen, with inotify.
//
// Guaranteed: it soon reports, by name, what is created, written, renamed or removed in a folder that Follow lists as watched. If the
// folder itself, or one above it, is moved or removed, or if the kernel's queue overflows, it reports a change without a name. It
// never blocks the writer, and stores no more than the kernel's queue.
//
// Not guaranteed: that it reports every change. It misses writes through memory maps, a file system that is mounted over a folder,
// links on the way that lead elsewhere, and changes that other machines make on shared file systems. A slower poll has to find those.
//
// Cost: one descriptor, and one of the kernel's watches for each folder and each one above it.
package folderwatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// inFolder are changes to what is in a folder, ofFolder those to the folder itself.
	inFolder = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	ofFolder = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// gone are events after which the watch is on nothing, or on what stands elsewhere now.
	gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED
	// buffer takes at least some hundred events.
	buffer = 64 << 10
)

// local are the file systems, by their magic numbers, on which nothing changes without this machine's kernel.
var local = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
	unix.OVERLAYFS_SUPER_MAGIC, 0x2fc12fc1, // ZFS
}

// Watcher watches folders until it is closed.
type Watcher struct {
	file    *os.File
	changed func(folder, name string)
	done    chan struct{}

	mu sync.Mutex
	// watches are the kernel's, by path: of the folders, and of those above them.
	watches map[string]int32
	paths   map[int32][]string
	folders map[string]bool
}

// New returns a watcher of nothing yet. changed is called, by one goroutine, with a folder and the name of what changed in it; without
// a name where anything in it may have changed and it is not watched any more; without a folder where anything may have.
// It may call Follow.
func New(changed func(folder, name string)) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("starting to watch folders: %w", err)
	}
	w := &Watcher{
		file: os.NewFile(uintptr(fd), "inotify"), changed: changed, done: make(chan struct{}),
		watches: map[string]int32{}, paths: map[int32][]string{}, folders: map[string]bool{},
	}
	go w.read()
	return w, nil
}

// Close ends the watching, and returns once changed is not called any more.
func (w *Watcher) Close() error {
	err := w.file.Close()
	<-w.done
	return err
}

// Follow watches these folders, which are absolute, and no others. fresh are those that were not watched until now: what happened in
// them before is not told. unwatched are those that cannot be: they are not there, there are too many, or their file system does not
// tell.
func (w *Watcher) Follow(folders []string) (fresh, unwatched []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := map[string]bool{}
	for _, folder := range folders {
		for at := folder; ; at = filepath.Dir(at) {
			wanted[at] = true
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	for path := range w.watches {
		if !wanted[path] {
			w.forget(path)
		}
	}
	w.folders = map[string]bool{}
	fine := map[string]bool{}
	for _, folder := range folders {
		w.folders[folder] = true
		known, err := w.follow(folder, fine)
		switch {
		case err != nil:
			unwatched = append(unwatched, folder)
		case !known:
			fresh = append(fresh, folder)
		}
	}
	return fresh, unwatched
}

var errTellsNot = errors.New("its file system does not tell of changes")

// follow watches a folder and those above it, and reports whether all of them were watched before. Those in fine were already.
func (w *Watcher) follow(folder string, fine map[string]bool) (known bool, err error) {
	known = true
	for at, mask := folder, uint32(inFolder|ofFolder); ; at, mask = filepath.Dir(at), ofFolder {
		if at == folder || !fine[at] {
			before, err := w.add(at, mask)
			if err != nil {
				w.forget(folder)
				return false, err
			}
			known, fine[at] = known && before, true
		}
		if at == filepath.Dir(at) {
			return known, nil
		}
	}
}

// add has the kernel watch what stands at path, and reports whether it did before.
func (w *Watcher) add(path string, mask uint32) (known bool, err error) {
	if mask&inFolder != 0 {
		var stat unix.Statfs_t
		if err := unix.Statfs(path, &stat); err != nil {
			return false, err
		}
		if !slices.Contains(local, int64(stat.Type)) { //nolint:unconvert // its type differs between architectures
			return false, errTellsNot
		}
	}
	var number int32
	w.control(func(fd int) {
		var watch int
		watch, err = unix.InotifyAddWatch(fd, path, mask|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
		number = int32(watch) //nolint:gosec // the kernel's own type
	})
	if err != nil {
		return false, err
	}
	if before, watched := w.watches[path]; watched && before == number {
		return true, nil
	}
	w.forget(path) // another folder stood there
	w.watches[path] = number
	w.paths[number] = append(w.paths[number], path)
	return false, nil
}

// control calls do with the descriptor, and not at all once it is closed: then no folder is watched.
func (w *Watcher) control(do func(fd int)) {
	if raw, err := w.file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// forget ends the watch on path, unless it is by another name too. The caller holds the lock.
func (w *Watcher) forget(path string) {
	number, watched := w.watches[path]
	if !watched {
		return
	}
	delete(w.watches, path)
	if w.paths[number] = slices.DeleteFunc(w.paths[number], func(other string) bool { return other == path }); len(w.paths[number]) == 0 {
		delete(w.paths, number)
		w.control(func(fd int) {
			_, _ = unix.InotifyRmWatch(fd, uint32(number)) //nolint:gosec // it fails where the folder is gone, and the watch with it
		})
	}
}

func (w *Watcher) read() {
	defer close(w.done)
	for data := make([]byte, buffer); ; {
		n, err := w.file.Read(data)
		if err != nil {
			return // it was closed: reading fails for nothing else
		}
		for left := data[:n]; len(left) >= unix.SizeofInotifyEvent; {
			number, mask := int32(binary.NativeEndian.Uint32(left)), binary.NativeEndian.Uint32(left[4:]) //nolint:gosec // the kernel's own type
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(left[12:]))
			name := strings.TrimRight(string(left[unix.SizeofInotifyEvent:end]), "\x00")
			w.tell(number, mask, name)
			left = left[end:]
		}
	}
}

func (w *Watcher) tell(number int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		w.changed("", "")
		return
	}
	for _, folder := range w.about(number, mask) {
		if mask&gone != 0 {
			name = ""
		}
		w.changed(folder, name)
	}
}

// about lists the folders that an event is about. After one by which a watch is lost, those are not watched any more.
func (w *Watcher) about(number int32, mask uint32) (folders []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, path := range slices.Clone(w.paths[number]) {
		if mask&gone == 0 {
			if w.folders[path] {
				folders = append(folders, path)
			}
			continue
		}
		w.forget(path)
		for folder := range w.folders {
			if folder == path || strings.HasPrefix(folder, strings.TrimSuffix(path, "/")+"/") {
				w.forget(folder)
				folders = append(folders, folder)
			}
		}
	}
	return folders
}
