// SPDX-License-Identifier: Apache-2.0

// Package backup makes backups of a platform, checks them, and reads them again. A backup is one file that only the root's identities
// open: a copy of the authority, what opens it, and the record (audit log) with its checkpoint.
//
// Guaranteed: a backup gets its final name only once it is complete, synced, and was read back and compared. The authority is copied
// before the record, so the record in a backup has every event up to the newest value in it. Everything that is written to disk is
// encrypted. Reading a backup fails if any byte was changed or the file was truncated. Removing old backups never removes the last good
// one, or those of other platforms or other authorities.
//
// Not guaranteed: who made a backup. Whoever can write to its folder and knows the public keys of the root can make a file that opens;
// its record is then signed by another key, so keep the record's public key elsewhere and name it when a backup is restored. Destroyed
// values stay in the backups that were made before. Not in a backup: the estate (it is in Git), the host file, keys, escrowed admin
// candidates (they are encrypted to the root already), and what consumers were given.
//
// Cost: the authority's database is read twice and copied once on its own disk, then it and the whole record are read, encrypted and
// written, and the result is read once more. Memory does not grow with any of them: some 200 KiB.
package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/root"
)

// Errors that callers branch on.
var (
	// ErrDamaged: the file is no backup, or is not what was written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNewer: the backup has a form that this program does not know.
	ErrNewer = errors.New("the backup was made by a newer custody")
	// ErrReadBack: what the disk gives back is not what was written.
	ErrReadBack = errors.New("the backup that was read back is not the one that was written")
	// ErrElsewhere: the last backup is not in the folder.
	ErrElsewhere = errors.New("the last backup is not in the folder")
)

// Record is the record as it is copied.
type Record interface {
	// Copy is the record as it is when it is called.
	Copy() audit.Copy
}

// Config is what a Maker needs.
type Config struct {
	Authority authority.Copier
	Record    Record
	// Platform and Environment are the platform's, Version is custody's own.
	Platform, Environment, Version string
	Now                            func() time.Time

	// stage, when set, is told which step begins; its error ends the backup as a crash would. For tests.
	stage func(step string) error
}

// Maker makes backups, one at a time.
type Maker struct{ config Config }

// New returns a maker.
func New(config Config) *Maker { return &Maker{config} }

// Made is a backup that is complete.
type Made struct {
	// Name is that of the file.
	Name  string
	Bytes int64
	// SHA256 is that of the file.
	SHA256   [sha256.Size]byte
	Manifest Manifest
}

// Make makes a backup in a folder for these recipients. After an error the folder has no new backup; what a crash leaves under a
// temporary name is replaced by the next.
func (m *Maker) Make(ctx context.Context, folder *durable.Folder, recipients []string) (Made, error) {
	made, err := m.make(ctx, folder, recipients)
	if err != nil {
		return Made{}, fmt.Errorf("making a backup in %s: %w", folder.Dir(), err)
	}
	return made, nil
}

func (m *Maker) make(ctx context.Context, folder *durable.Folder, recipients []string) (Made, error) {
	recipients = slices.Compact(slices.Sorted(slices.Values(recipients)))
	if _, err := root.Recipients(recipients); err != nil {
		return Made{}, err
	}
	begun := m.config.Now().UTC().Truncate(time.Second)
	if err := m.step("copying"); err != nil {
		return Made{}, err
	}
	values, err := m.config.Authority.Copy(ctx)
	if err != nil {
		return Made{}, err
	}
	defer func() { _ = values.Content.Close() }()
	record := m.config.Record.Copy() // after the authority: it has the events of every value that was copied
	made := Made{Manifest: Manifest{
		Form: form, Custody: m.config.Version, Platform: m.config.Platform, Environment: m.config.Environment,
		Incarnation: values.Incarnation, Made: begun, Recipients: recipients,
		Authority: File{authorityName, values.Bytes, hex.EncodeToString(values.SHA256[:])},
		Events:    record.Events, Checkpoint: string(record.Checkpoint), RecordKey: record.Verifier,
	}}
	for _, file := range record.Files {
		made.Manifest.Record = append(made.Manifest.Record, File{Name: recordPrefix + file.Name, Bytes: file.Bytes})
	}
	if made.Name, err = free(folder, made.Manifest); err != nil {
		return Made{}, err
	}
	draft, err := folder.Draft(prefixOf(made.Manifest) + "backup")
	if err != nil {
		return Made{}, err
	}
	discard := true
	defer func() {
		if discard {
			draft.Discard()
		}
	}()
	crashed := func(step string) error {
		err := m.step(step)
		discard = err == nil
		return err
	}
	if err := crashed("writing"); err != nil {
		return Made{}, err
	}
	written := &summed{to: draft, hash: sha256.New(), ctx: ctx}
	if err := write(written, made.Manifest, values, record); err != nil {
		return Made{}, err
	}
	made.Bytes = written.bytes
	written.hash.Sum(made.SHA256[:0])
	if err := crashed("reading back"); err != nil {
		return Made{}, err
	}
	if err := readBack(ctx, draft, made); err != nil {
		return Made{}, err
	}
	if err := crashed("writing the checkpoint"); err != nil {
		return Made{}, err
	}
	// The checkpoint comes first: a backup that has its name has its checkpoint beside it.
	if err := folder.Replace(checkpointOf(made.Name), record.Checkpoint, durable.Private); err != nil {
		return Made{}, err
	}
	if err := crashed("naming"); err != nil {
		return Made{}, err
	}
	if err := draft.Publish(made.Name); err != nil {
		_ = folder.Remove(checkpointOf(made.Name))
		return Made{}, err
	}
	return made, crashed("named")
}

func (m *Maker) step(name string) error {
	if m.config.stage == nil {
		return nil
	}
	return m.config.stage(name)
}

// readBack compares what the disk gives back with what was written.
func readBack(ctx context.Context, draft *durable.Draft, made Made) error {
	from, err := draft.Synced()
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	read := &summed{to: io.Discard, hash: sha256.New(), ctx: ctx}
	if _, err := io.Copy(read, from); err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	if !bytes.Equal(read.hash.Sum(nil), made.SHA256[:]) || read.bytes != made.Bytes {
		return ErrReadBack
	}
	return nil
}

// summed hashes and counts what is written to it, until ctx ends.
type summed struct {
	to   io.Writer
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	bytes int64
	ctx   context.Context
}

func (s *summed) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.to.Write(p)
	_, _ = s.hash.Write(p[:n])
	s.bytes += int64(n)
	return n, err
}

// Due says when the next backup is to begin: every so long after the last one, or pause after an attempt that failed. A last one in the
// future was dated by a clock that was wrong: it counts as made now.
func Due(now, last, failed time.Time, every, pause time.Duration) time.Time {
	if last.After(now) {
		last = now
	}
	due := now
	if !last.IsZero() {
		due = last.Add(every)
	}
	if again := failed.Add(pause); !failed.IsZero() && again.After(due) {
		return again
	}
	return due
}

// Old reports whether the last good backup, or the beginning of this process where there is none, is longer ago than two intervals: one
// that was due has then been missing for as long as it takes to make the next.
func Old(now, last, began time.Time, every time.Duration) bool {
	if last.IsZero() {
		last = began
	}
	return now.Sub(last) > 2*every
}

// Newest sorts backups by when they were begun, the newest first.
func Newest(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.Name, b.Name))
	})
}
