// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/durable"
)

// The files of the folder.
const (
	databaseFile = "authority.db"
	// unfinishedFile is a database whose initialisation did not finish; nothing was ever acknowledged from it.
	unfinishedFile = "authority.db.unfinished"
	// lockFile is locked by the process that has the authority open, and names it.
	lockFile = "authority.lock"
	// closedFile exists while the authority is properly closed, and holds the number of its last transaction.
	closedFile = "authority.closed"
)

const lockPoll = 20 * time.Millisecond

// lock is the right to use the folder. The operating system drops it when the process dies, however it dies; the pid
// in the file is only for people.
type lock struct{ file *os.File }

func acquire(ctx context.Context, dir string, timeout time.Duration) (*lock, error) {
	name := dir + string(os.PathSeparator) + lockFile
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = file.Close()
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		pause, wake := context.WithTimeout(ctx, lockPoll)
		<-pause.Done()
		wake()
		if ctx.Err() == nil {
			continue
		}
		holder := holderOf(file)
		_ = file.Close()
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, fmt.Errorf("waiting for %s: %w", name, ctx.Err())
		}
		return nil, &Error{fmt.Errorf("%w: %s holds %s", ErrInUse, holder, name),
			"let the running server do it, or stop it first"}
	}
	// Best effort: on a full disk the authority still opens, and only the name of its holder is missing.
	if file.Truncate(0) == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &lock{file}, nil
}

func holderOf(file *os.File) string {
	note, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	pid, parseErr := strconv.Atoi(strings.TrimSpace(string(note)))
	if err != nil || parseErr != nil || pid <= 0 {
		return "another process"
	}
	return "process " + strconv.Itoa(pid)
}

func (l *lock) release() {
	_ = l.file.Truncate(0)
	_ = l.file.Close()
}

// writeCloseNote records that the database at rest is exactly as the last transaction left it.
func writeCloseNote(folder *durable.Folder) error {
	found, err := inspectFile(folder.Dir(), databaseFile)
	if err != nil {
		return err
	}
	return folder.Replace(closedFile, []byte(strconv.FormatUint(found.newest.txid, 10)+"\n"), durable.Private)
}

// readCloseNote returns the noted transaction, and whether there is a note.
func readCloseNote(folder *durable.Folder) (uint64, bool, error) {
	note, err := folder.Read(closedFile)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading how the authority was closed: %w", err)
	}
	number, err := strconv.ParseUint(strings.TrimSpace(string(note)), 10, 64)
	if err != nil {
		return 0, false, nil // damaged note: as if there were none, which only checks less strictly
	}
	return number, true, nil
}
