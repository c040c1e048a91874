// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Draft is a file that is written piece by piece under a temporary name, and gets its own name once it is whole. It is for one
// goroutine at a time. Publish or Discard ends it.
type Draft struct {
	folder    *Folder
	file      *os.File
	temporary string
}

// Draft begins a file (0600). What a crash left of an earlier draft of the same name is removed; the caller sees to it that nobody
// else has one. Nothing has the name itself: that is given by Publish.
func (f *Folder) Draft(of string) (*Draft, error) {
	temporary, file, err := f.temporary(of, true)
	if err != nil {
		return nil, err
	}
	return &Draft{folder: f, file: file, temporary: temporary}, nil
}

// Write implements io.Writer.
func (d *Draft) Write(p []byte) (int, error) { return d.file.Write(p) }

// Synced syncs what was written, asks the kernel to drop it from memory, and opens it for reading: what is read then comes from the
// disk, as far as the kernel and the file system do what they are asked.
func (d *Draft) Synced() (io.ReadCloser, error) {
	if err := d.file.Sync(); err != nil {
		return nil, fmt.Errorf("syncing %s: %w", d.temporary, err)
	}
	_ = unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_DONTNEED) // where it is not supported, the content is read from memory
	return d.folder.root.Open(d.temporary)
}

// Publish syncs the file and gives it a name, which nothing may have (fs.ErrExist): then it is there as a whole, also after a crash.
func (d *Draft) Publish(name string) error {
	err := d.file.Sync()
	if err == nil {
		err = d.file.Close()
	}
	if err != nil {
		return fmt.Errorf("syncing %s: %w", d.temporary, err)
	}
	if _, err := d.folder.Stat(name); err == nil {
		return fmt.Errorf("naming %s: %w", name, fs.ErrExist)
	}
	if err := d.folder.plain(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.folder.root.Rename(d.temporary, name); err != nil {
		return fmt.Errorf("naming %s: %w", name, err)
	}
	return d.folder.syncParent(name)
}

// Discard removes the file, unless it was published.
func (d *Draft) Discard() {
	_ = d.file.Close()
	_ = d.folder.root.Remove(d.temporary)
}

// Stream writes a file that must not be there (fs.ErrExist) from what it reads, and has synced it and its folder when it returns nil.
// It is not whole or nothing: after an error or a crash a part of the file may be there.
func (f *Folder) Stream(name string, from io.Reader) (int64, error) {
	if err := f.plain(name); err == nil {
		return 0, fmt.Errorf("writing %s: %w", name, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Private.Mode)
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", name, err)
	}
	n, err := io.Copy(file, from)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return n, fmt.Errorf("writing %s: %w", name, err)
	}
	return n, f.syncParent(name)
}
