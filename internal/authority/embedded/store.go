// SPDX-License-Identifier: Apache-2.0

// Package embedded is the authority (secrets store) of a single machine: one bbolt file whose content is encrypted with
// one tink keyset.
//
// Guaranteed: once a call has returned, its effect survives a crash. Values, runs, times and documents are encrypted
// with XChaCha20-Poly1305, and each ciphertext is bound to its place and incarnation; paths and the keys of documents
// are not encrypted. The key that digest keys are derived from is stored with the file's identity, so every copy of the
// file has it. Damage to the file is detected when the file is opened or read, and never leads to a wrong value. Only
// one process can open it. The ciphertext of a destroyed value is overwritten in the file, also in free pages that
// earlier writes left; that of a replaced or deleted document is overwritten when the next value is destroyed.
// A value that is destroyed while Copy copies the file is overwritten when that ends. PutBack makes an authority of a copy, whole or
// not at all, and seals it with another key.
//
// Not guaranteed: that overwritten blocks are gone from the disk below the file system, or from copies of the file;
// that a whole older file that was restored after a crash is recognised (after a proper close it is); that damage to
// the meta page of the newest commit can be distinguished from a commit that a crash interrupted; that the store
// notices before it is next opened that damage removed an entry while it was open.
//
// Cost: a write is one bbolt transaction with two fsyncs, which simultaneous writes share. A read is a tree look-up and
// one decryption. A write also reads the list of free pages that it wrote. Destroy also overwrites the pages that were freed
// since the last Destroy. Open reads and checks the whole file. Copy reads the whole file twice and writes it once, to the same disk,
// on which it needs twice the file's size for as long as the copy is not closed; it keeps none of it in memory.
package embedded

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
)

// Errors that callers branch on, beside those of package authority.
var (
	// ErrUninitialised: the folder holds no authority yet.
	ErrUninitialised = errors.New("the authority is not initialised")
	// ErrInitialised: the folder holds an authority already; nothing was changed.
	ErrInitialised = errors.New("the authority is already initialised")
	// ErrInUse: another process holds the folder.
	ErrInUse = errors.New("the authority is in use")
	// ErrForeign: the authority belongs to another platform or environment.
	ErrForeign = errors.New("the authority belongs to another platform or environment")
	// ErrSchema: the file's schema is not one this program can use.
	ErrSchema = errors.New("unusable schema")
	// ErrCorrupt: the file is damaged, or is not the one that was closed last.
	ErrCorrupt = errors.New("the authority's file is damaged")
)

// Error is an error with the operator's next move.
type Error struct {
	Err  error
	Next string
}

// Error says what went wrong.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *Error) Hint() string { return e.Next }

// Config is all that an embedded authority depends on.
type Config struct {
	// Folder holds the authority's files and nothing else.
	Folder string
	// Key wraps and unwraps the keyset.
	Key Sealer
	// Clock stamps writes.
	Clock func() time.Time
	// Random makes incarnations and the key that digest keys are derived from. Tink reads the operating system's own.
	Random io.Reader
	// Timeout is how long to wait for another process to let go; 0 means not at all.
	Timeout time.Duration
	// Platform and Environment are fixed at Initialise and compared at Open.
	Platform, Environment string

	migrations map[int]migration // nil means the package's own
}

func (c Config) check() error {
	switch {
	case c.Folder == "":
		return errors.New("configuring embedded authority: no folder")
	case c.Key == nil:
		return errors.New("configuring embedded authority: no key")
	case c.Clock == nil || c.Random == nil:
		return errors.New("configuring embedded authority: no clock or no source of randomness")
	case c.Platform == "" || c.Environment == "":
		return errors.New("configuring embedded authority: no platform or no environment")
	}
	return nil
}

// Store is an open embedded authority. It is safe for concurrent use.
type Store struct {
	config   Config
	folder   *durable.Folder
	lock     *lock
	db       *bolt.DB
	aead     tink.AEAD
	identity identity
	// digestKey is identity's, which no Renew changes; it is read without ops.
	digestKey []byte

	// present is the present incarnation. It, closed and broken are read without ops, which whoever waits for the disk may hold
	// for as long as that takes.
	present atomic.Pointer[authority.Incarnation]
	// ops is held for reading by every call, for writing by what needs the file at rest, scrub and Close, and by Renew.
	ops    sync.RWMutex
	closed atomic.Bool
	// turns is held by whoever commits, for all calls that are in waiting then, which queue guards.
	turns   sync.Mutex
	queue   sync.Mutex
	waiting []*waiter
	// broken is set when memory and disk may disagree; only opening again settles what was written.
	broken atomic.Bool
	// unscrubbed: a version was destroyed whose ciphertext may still lie in a free page. Of a process that died so, Open knows.
	unscrubbed atomic.Bool
	// scrubbing is held by whoever scrubs, until that is on disk. It is taken before ops.
	scrubbing sync.Mutex
	// copying counts copies that are being made, which may read pages that a commit has freed since they began.
	copying atomic.Int32
	free    freePages
	file    pageFile
}

var (
	_ authority.Store   = (*Store)(nil)
	_ authority.Renewer = (*Store)(nil)
)

// Incarnation identifies this initialisation of the authority. It waits for no call.
func (s *Store) Incarnation() authority.Incarnation { return *s.present.Load() }

// show has Incarnation answer with what identity says.
func (s *Store) show() {
	current := s.identity.current()
	s.present.Store(&current)
}

// Broken says that the store answers nothing any more until it is opened again, "" while it does: a commit or a read
// failed half-way, so that memory and disk may disagree.
func (s *Store) Broken() string {
	if !s.broken.Load() {
		return ""
	}
	return "a commit or read of the authority failed half-way"
}

// Close waits for running calls and lets the file go. Later calls answer authority.ErrSealed. Idempotent.
func (s *Store) Close() error {
	if !s.closed.Load() {
		_ = s.scrub(context.Background()) // else the next Open does it
	}
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	s.aead = nil
	err := s.db.Close()
	_ = s.file.Close()
	if err == nil && !s.broken.Load() && !s.unscrubbed.Load() {
		// Without this note the next Open only checks less strictly: a full disk must not fail a close.
		_ = writeCloseNote(s.folder)
	}
	s.lock.release()
	_ = s.folder.Close()
	if err != nil {
		return fmt.Errorf("closing authority: %w", err)
	}
	return nil
}

// errUnchanged ends a transaction that turned out to have nothing to write.
var errUnchanged = errors.New("unchanged")

func (s *Store) view(ctx context.Context, read func(*bolt.Tx) error) (err error) {
	s.ops.RLock()
	defer s.ops.RUnlock()
	defer s.guard(&err)()
	if err := s.ready(ctx); err != nil {
		return err
	}
	return s.db.View(read)
}

// update runs change in one transaction that is on disk when update returns nil.
func (s *Store) update(ctx context.Context, change func(*batch) error) (err error) {
	s.ops.RLock()
	defer s.ops.RUnlock()
	defer s.guard(&err)()
	return s.commit(ctx, change)
}

// uncommitted sorts what a failed commit means: before the meta page, nothing was written; from there on, only the disk
// knows.
func (s *Store) uncommitted(number int, cause error) error {
	visible := true
	if err := s.db.View(func(tx *bolt.Tx) error { visible = tx.ID() >= number; return nil }); err != nil || visible {
		s.broken.Store(true)
		return &Error{fmt.Errorf("committing: %w: %w", authority.ErrUnavailable, cause),
			"the disk failed while the change was being recorded; restart, and repeat the operation to learn whether it took effect"}
	}
	next := "nothing was written; look at the disk and repeat the operation"
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		next = "nothing was written; free space on the file system of " + s.config.Folder + " and repeat the operation"
	}
	return &Error{fmt.Errorf("committing: %w: %w", authority.ErrUnavailable, cause), next}
}

func (s *Store) ready(ctx context.Context) error {
	switch {
	case s.closed.Load():
		return fmt.Errorf("using a closed authority: %w", authority.ErrSealed)
	case s.broken.Load():
		return &Error{fmt.Errorf("%w: an earlier commit or read failed half-way", authority.ErrUnavailable), "restart: opening checks the file"}
	}
	return ctx.Err()
}

// guard turns a panic or a memory fault under the mapped file into ErrCorrupt. What was panicked with is not quoted.
func (s *Store) guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if recover() != nil {
			s.broken.Store(true)
			*err = corrupt("reading the file failed inside the database")
		}
	}
}

func corrupt(format string, args ...any) error {
	return &Error{fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...)),
		"keep the folder for examination, restore the newest copy of the whole state folder in its place, then see `custody doctor`"}
}

// verifyIn compares everything in the file with the sealed ledger of the last commit.
func (s *Store) verifyIn(tx *bolt.Tx) error {
	held, err := s.readLedger(tx)
	if err != nil {
		return err
	}
	var counted ledger
	for _, name := range sealedBuckets {
		bucket := tx.Bucket(name)
		if bucket == nil {
			return corrupt("bucket %s is missing", name)
		}
		if err := bucket.ForEach(func(k, v []byte) error { counted.add(s.fingerprint(name, k, v)); return nil }); err != nil {
			return corrupt("bucket %s cannot be read", name)
		}
	}
	if counted.Entries-held.Entries != 0 || !hmac.Equal(counted.Sum[:], held.Sum[:]) {
		return corrupt("it holds %d entries that do not match the %d recorded with the last change", counted.Entries, held.Entries)
	}
	return nil
}

func exists(folder *durable.Folder, name string) (bool, error) {
	info, err := folder.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for %s: %w", name, err)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("looking for %s: it is not a regular file", name)
	}
	return true, nil
}
