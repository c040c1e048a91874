// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
)

func incarnationOf(entry []byte) authority.Incarnation {
	return authority.Incarnation(hex.EncodeToString(entry[:incarnationBytes]))
}

// record unseals an entry of the records bucket: the revision, big-endian, then the data.
func (s *Store) record(key, entry []byte) (authority.Record, error) {
	plaintext, err := s.unseal(recordsBucket, key, entry)
	if err != nil {
		return authority.Record{}, err
	}
	if len(plaintext) < 8 {
		return authority.Record{}, corrupt("a record is too short")
	}
	return authority.Record{Key: string(key), Revision: authority.Revision(binary.BigEndian.Uint64(plaintext)), Data: plaintext[8:]}, nil
}

func (s *Store) find(tx *bolt.Tx, key string) (authority.Record, error) {
	entry := tx.Bucket(recordsBucket).Get([]byte(key))
	if entry == nil {
		return authority.Record{}, authority.ErrNotFound
	}
	return s.record([]byte(key), entry)
}

// Get implements authority.Store.
func (s *Store) Get(ctx context.Context, key string) (found authority.Record, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		found, err = s.find(tx, key)
		return err
	})
	if err != nil {
		return authority.Record{}, fmt.Errorf("getting record %s: %w", key, err)
	}
	return found, nil
}

// Put implements authority.Store.
func (s *Store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	if err := nameFits(key); err != nil {
		return 0, fmt.Errorf("putting record: %w", err)
	}
	err := s.update(ctx, func(b *batch) error { return b.record(key, base, data) })
	if err != nil {
		return 0, fmt.Errorf("putting record %s: %w", key, err)
	}
	return base + 1, nil
}

// record stores data as the revision after base; errUnchanged when that is what is there.
func (b *batch) record(key string, base authority.Revision, data []byte) error {
	held, err := b.store.find(b.tx, key)
	switch {
	case err != nil && !errors.Is(err, authority.ErrNotFound):
		return err
	case held.Revision == base+1 && bytes.Equal(held.Data, data):
		return errUnchanged
	case held.Revision != base:
		return fmt.Errorf("revision %d is not the newest, which is %d: %w", base, held.Revision, authority.ErrConflict)
	}
	return b.put(recordsBucket, []byte(key), append(binary.BigEndian.AppendUint64(nil, uint64(base+1)), data...))
}

// Delete implements authority.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := s.update(ctx, func(b *batch) error {
		had, err := b.remove(recordsBucket, []byte(key))
		if err == nil && !had {
			return errUnchanged
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting record %s: %w", key, err)
	}
	return nil
}

// List implements authority.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]authority.Record, error) {
	var records []authority.Record
	err := s.view(ctx, func(tx *bolt.Tx) error {
		cursor := tx.Bucket(recordsBucket).Cursor()
		for key, entry := cursor.Seek([]byte(prefix)); bytes.HasPrefix(key, []byte(prefix)) && key != nil; key, entry = cursor.Next() {
			found, err := s.record(key, entry)
			if err != nil {
				return err
			}
			records = append(records, found)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("listing records below %q: %w", prefix, err)
	}
	return records, nil
}
