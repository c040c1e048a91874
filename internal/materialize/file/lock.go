// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
)

const (
	lockSuffix   = materialize.LockSuffix
	lockInterval = 10 * time.Millisecond
)

// lock takes the file's lock for this process and against others, waiting until ctx ends. The kernel frees it when a
// process dies. The lock's file is removed on release; whoever then holds a lock on a removed file starts over.
func (c *Consumer) lock(ctx context.Context) (unlock func(), err error) {
	root, err := os.OpenRoot(c.config.Folder)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	defer func() {
		if err != nil {
			_ = root.Close()
		}
	}()
	name := filepath.Join(filepath.Dir(c.config.Path), "."+c.base+lockSuffix)
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("locking: another delivery to this file is under way: %w", err)
		}
		file, err := tryLock(root, name)
		if err != nil {
			return nil, err
		}
		if file != nil {
			return func() {
				_ = root.Remove(name) // while still held; a leftover would do no harm
				_ = file.Close()
				_ = root.Close()
			}, nil
		}
		pause, cancel := context.WithTimeout(ctx, lockInterval)
		<-pause.Done()
		cancel()
	}
}

// tryLock returns nil and no error when somebody else holds the lock.
func tryLock(root *os.Root, name string) (*os.File, error) {
	if info, err := root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("locking: %w: %s", ErrInTheWay, name)
	}
	file, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		var held, named fs.FileInfo
		if held, err = file.Stat(); err == nil {
			if named, err = root.Lstat(name); err == nil && os.SameFile(held, named) {
				return file, nil
			}
		}
	}
	_ = file.Close()
	switch {
	case err == nil, errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR), errors.Is(err, fs.ErrNotExist):
		return nil, nil
	default:
		return nil, fmt.Errorf("locking: %w", err)
	}
}

// sweep removes what writes left that a crash cut short: such a leftover may hold a value. The lock must be held.
func (c *Consumer) sweep(folder *durable.Folder) error {
	for _, name := range []string{c.config.Path, c.stampPath()} {
		if err := folder.Clear(name); err != nil {
			return fmt.Errorf("sweeping: %w", err)
		}
	}
	return nil
}

// ownerOf returns a file's owner and group.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return durable.Keep, durable.Keep
}
