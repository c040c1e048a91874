// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// ErrLocked: somebody else, in this process or another, holds the lock.
var ErrLocked = errors.New("locked by another opener")

// ErrUncertain: an append failed and could not be taken back. Opening the file again shows what it holds.
var ErrUncertain = errors.New("what the file ends with is not known")

// Appender adds to the end of one file. It is for one goroutine at a time, and for a file that nobody else writes:
// take a Lock. Cost: one write and one fsync per Append.
type Appender struct {
	file   *os.File
	name   string
	size   int64
	broken bool
}

// Append opens a file for appending, making it durably (0600) when absent.
func (f *Folder) Append(name string) (*Appender, error) {
	if _, err := f.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := f.Create(name, nil); err != nil {
			return nil, err
		}
	}
	if err := f.plain(name); err != nil {
		return nil, err
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s to append: %w", name, err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("opening %s to append: %w", name, err)
	}
	return &Appender{file: file, name: name, size: info.Size()}, nil
}

// Append adds data and has synced it when it returns nil. A crash may leave any beginning of data, or none. On an error
// the file is as it was before, unless the error is ErrUncertain: then every later Append fails with it too.
func (a *Appender) Append(data []byte) error {
	if a.broken {
		return fmt.Errorf("appending to %s: %w", a.name, ErrUncertain)
	}
	_, err := a.file.WriteAt(data, a.size)
	if err == nil {
		err = a.file.Sync()
	}
	if err != nil {
		if cut := a.Cut(a.size); cut != nil {
			a.broken = true
			return fmt.Errorf("appending to %s: %w", a.name, errors.Join(err, ErrUncertain))
		}
		return fmt.Errorf("appending to %s: %w", a.name, err)
	}
	a.size += int64(len(data))
	return nil
}

// Cut shortens the file to size bytes and has synced that when it returns nil.
func (a *Appender) Cut(size int64) error {
	if err := a.file.Truncate(size); err != nil {
		return fmt.Errorf("cutting %s: %w", a.name, err)
	}
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("cutting %s: %w", a.name, err)
	}
	a.size = size
	return nil
}

// Broken reports that an append failed with ErrUncertain, so that every later one will.
func (a *Appender) Broken() bool { return a.broken }

// Size is the file's length as far as it is known to be durable.
func (a *Appender) Size() int64 { return a.size }

// Close releases the file.
func (a *Appender) Close() error { return a.file.Close() }

// Reader opens a file for reading from its start.
func (f *Folder) Reader(name string) (*os.File, error) {
	if err := f.plain(name); err != nil {
		return nil, err
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return file, nil
}

// Names lists what the folder itself holds, in order.
func (f *Folder) Names() ([]string, error) {
	dir, err := f.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("listing folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("listing folder: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Lock is held until Close, or until the process ends.
type Lock struct{ file *os.File }

// Lock takes an exclusive lock on a file of the folder, making it when absent, and does not wait: ErrLocked when it is
// held, even by the same process.
func (f *Folder) Lock(name string) (*Lock, error) {
	if err := f.plain(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", name, ErrLocked)
		}
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return &Lock{file}, nil
}

// Close gives the lock back.
func (l *Lock) Close() error { return l.file.Close() }
