// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
)

func incarnationOf(entry []byte) authority.Incarnation {
	return authority.Incarnation(hex.EncodeToString(entry[:incarnationBytes]))
}

// document unseals an entry of the documents bucket: the revision, big-endian, then the data.
func (s *Store) document(key, entry []byte) (authority.Document, error) {
	plaintext, err := s.unseal(documentsBucket, key, entry)
	if err != nil {
		return authority.Document{}, err
	}
	if len(plaintext) < 8 {
		return authority.Document{}, corrupt("a document is too short")
	}
	return authority.Document{Key: string(key), Revision: authority.Revision(binary.BigEndian.Uint64(plaintext)), Data: plaintext[8:]}, nil
}

func (s *Store) find(tx *bolt.Tx, key string) (authority.Document, error) {
	entry := tx.Bucket(documentsBucket).Get([]byte(key))
	if entry == nil {
		return authority.Document{}, authority.ErrNotFound
	}
	return s.document([]byte(key), entry)
}

// Get implements authority.Documents.
func (s *Store) Get(ctx context.Context, key string) (found authority.Document, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		found, err = s.find(tx, key)
		return err
	})
	if err != nil {
		return authority.Document{}, fmt.Errorf("getting document %s: %w", key, err)
	}
	return found, nil
}

// Put implements authority.Documents.
func (s *Store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	if err := nameFits(key); err != nil {
		return 0, fmt.Errorf("putting document: %w", err)
	}
	err := s.update(ctx, func(b *batch) error { return b.document(key, base, data) })
	if err != nil {
		return 0, fmt.Errorf("putting document %s: %w", key, err)
	}
	return base + 1, nil
}

// document stores data as the revision after base; errUnchanged when that is what is there.
func (b *batch) document(key string, base authority.Revision, data []byte) error {
	held, err := b.store.find(b.tx, key)
	switch {
	case err != nil && !errors.Is(err, authority.ErrNotFound):
		return err
	case held.Revision == base+1 && bytes.Equal(held.Data, data):
		return errUnchanged
	case held.Revision != base:
		return fmt.Errorf("revision %d is not the newest, which is %d: %w", base, held.Revision, authority.ErrConflict)
	}
	return b.put(documentsBucket, []byte(key), append(binary.BigEndian.AppendUint64(nil, uint64(base+1)), data...))
}

// Delete implements authority.Documents. The document's ciphertext stays in free pages until those are used again, or
// until the next Destroy.
func (s *Store) Delete(ctx context.Context, key string, base authority.Revision) error {
	err := s.update(ctx, func(b *batch) error {
		held, err := s.find(b.tx, key)
		switch {
		case errors.Is(err, authority.ErrNotFound):
			return errUnchanged
		case err != nil:
			return err
		case held.Revision != base:
			return fmt.Errorf("revision %d is not the newest, which is %d: %w", base, held.Revision, authority.ErrConflict)
		}
		_, err = b.remove(documentsBucket, []byte(key))
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting document %s: %w", key, err)
	}
	return nil
}

// atOnce is how many keys are read in one transaction: none is open while the caller's loop runs, which may write.
const atOnce = 256

// Keys implements authority.Documents.
func (s *Store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for from, more := prefix, true; more; {
			keys, next, err := s.keys(ctx, prefix, from)
			if err != nil {
				yield("", fmt.Errorf("listing documents below %q: %w", prefix, err))
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
			}
			from, more = next, next != ""
		}
	}
}

// keys returns the keys below prefix that do not come before from, as many as are read at once, and where the next begin,
// "" when there are none.
func (s *Store) keys(ctx context.Context, prefix, from string) (keys []string, next string, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		cursor := tx.Bucket(documentsBucket).Cursor()
		for key, _ := cursor.Seek([]byte(from)); key != nil && bytes.HasPrefix(key, []byte(prefix)); key, _ = cursor.Next() {
			if len(keys) == atOnce {
				next = string(key)
				break
			}
			keys = append(keys, string(key))
		}
		return ctx.Err()
	})
	return keys, next, err
}
