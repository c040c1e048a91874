// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
)

// rekeyBatch is how many entries one transaction of a rekey takes: what it has in memory is then bounded by some megabytes.
const rekeyBatch = 256

// Rekey replaces the unseal key of the authority in config.Folder, which config.Key opens, by another, and the keyset with it: every
// entry is decrypted and encrypted anew, in a file of its own that takes the place of the old one once it is whole and was compared.
// So who has the old key and an older copy of the file reads nothing that is written from now on, and the new file has no ciphertext of
// the old keyset. Incarnations, versions, revisions, times and digests stay what they are. It returns how many entries there are.
//
// Whatever it fails at, and wherever a crash interrupts it, the authority is whole, under the old key or under the new one. Nothing may
// have the authority open. Cost: the file is read twice, and written once beside it.
func Rekey(ctx context.Context, config Config, key Sealer) (entries uint64, err error) {
	if entries, err = rekey(ctx, config, key, func(string) error { return nil }); err != nil {
		return 0, fmt.Errorf("replacing the unseal key of the authority in %s: %w", config.Folder, err)
	}
	return entries, nil
}

// rekey tells step what comes next; its error ends it as a crash would.
func rekey(ctx context.Context, config Config, key Sealer, step func(string) error) (entries uint64, err error) {
	if key == nil {
		return 0, errors.New("no new key")
	}
	old, err := open(ctx, config)
	if err != nil {
		return 0, err
	}
	defer func() {
		if old != nil {
			_ = old.Close()
		}
	}()
	var size int64
	if err := old.view(ctx, func(tx *bolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		return 0, err
	}
	if err := old.room(size + size/4); err != nil {
		return 0, err
	}
	if err := old.folder.Remove(unfinishedFile); err != nil {
		return 0, err
	}
	primitive, wrapped, err := newKeyset(key)
	if err != nil {
		return 0, err
	}
	made := &Store{config: config, identity: old.identity, aead: primitive}
	made.config.Key, made.identity.LedgerKey = key, make([]byte, sha256.Size)
	if _, err := io.ReadFull(config.Random, made.identity.LedgerKey); err != nil {
		return 0, fmt.Errorf("reading randomness: %w", err)
	}
	if err := step("making the new file"); err != nil {
		return 0, err
	}
	unfinished := filepath.Join(config.Folder, unfinishedFile)
	defer func() {
		if err != nil && old != nil {
			_ = old.folder.Remove(unfinishedFile)
		}
	}()
	if err := create(unfinished, primitive, wrapped, made.identity); err != nil {
		return 0, err
	}
	if made.db, err = openDatabase(unfinished); err != nil {
		return 0, err
	}
	err = made.takeOver(ctx, old, step)
	if err == nil {
		err = made.db.View(func(tx *bolt.Tx) error {
			held, err := made.readLedger(tx)
			entries = held.Entries
			return errors.Join(err, made.verifyIn(tx))
		})
	}
	if err := errors.Join(err, made.db.Close()); err != nil {
		return 0, err
	}
	if err := step("putting the new file in place"); err != nil {
		return 0, err
	}
	return entries, old.replaced(func() { old = nil })
}

// replaced gives the new file the name of the one that s has open, which is closed. done is called once s is not open any more.
func (s *Store) replaced(done func()) error {
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	s.ops.Lock()
	defer s.ops.Unlock()
	s.closed.Store(true)
	s.aead = nil
	done()
	err := errors.Join(s.db.Close(), s.file.Close())
	if err == nil {
		err = s.folder.Rename(unfinishedFile, databaseFile)
	}
	s.lock.release()
	return errors.Join(err, s.folder.Close())
}

// takeOver writes every entry of another store, encrypted with the keyset of this one.
func (s *Store) takeOver(ctx context.Context, from *Store, step func(string) error) error {
	return from.view(ctx, func(tx *bolt.Tx) error {
		for _, bucket := range sealedBuckets {
			cursor := tx.Bucket(bucket).Cursor()
			key, entry := cursor.First()
			for key != nil {
				if err := errors.Join(ctx.Err(), step("writing entries")); err != nil {
					return err
				}
				err := s.db.Update(func(into *bolt.Tx) error {
					b, err := s.begin(into)
					if err != nil {
						return err
					}
					for range rekeyBatch {
						if key == nil {
							break
						}
						if err := b.takeOver(from, bucket, key, entry); err != nil {
							return err
						}
						key, entry = cursor.Next()
					}
					return b.finish()
				})
				if err != nil {
					return fmt.Errorf("writing the new file: %w", err)
				}
			}
		}
		return nil
	})
}

// takeOver writes one entry of another store as that of the incarnation that wrote it.
func (b *batch) takeOver(from *Store, bucket, key, entry []byte) error {
	plaintext, err := from.unseal(bucket, key, entry)
	if err != nil {
		return err
	}
	incarnation := authority.Incarnation(fmt.Sprintf("%x", entry[:incarnationBytes]))
	sealed, err := b.store.aead.Encrypt(plaintext, place(bucket, key, incarnation))
	if err != nil {
		return errors.New("sealing: encryption failed")
	}
	sealed = append(entry[:incarnationBytes:incarnationBytes], sealed...)
	b.ledger.add(b.store.fingerprint(bucket, key, sealed))
	b.changes++
	return b.tx.Bucket(bucket).Put(key, sealed)
}

// Unlocks reports whether a key opens the authority in a folder: nil, or why not. It asks for no lock and changes nothing.
func Unlocks(folder string, key Sealer) error {
	opened, err := durable.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	if _, err := inspectFile(folder, databaseFile); err != nil {
		return err
	}
	db, err := bolt.Open(filepath.Join(folder, databaseFile), 0o600, &bolt.Options{ReadOnly: true, Timeout: lockPoll, OpenFile: openPlain})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return db.View(func(tx *bolt.Tx) error {
		_, err := unwrap(key, tx.Bucket(metaBucket).Get(keysetKey))
		return err
	})
}
