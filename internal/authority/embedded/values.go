// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// maxName bounds paths and record keys well below bbolt's own limit.
const maxName = 4096

// version is the sealed form of one version.
type version struct {
	Run       authority.RunID `json:"run"`
	Created   time.Time       `json:"created"`
	Destroyed bool            `json:"destroyed,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
}

// Read implements authority.Store.
func (s *Store) Read(ctx context.Context, path authority.Path) (found authority.Versioned, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		number, err := newest(tx, path)
		if err != nil {
			return err
		}
		found, err = s.load(tx, path, number)
		return err
	})
	if err != nil {
		return authority.Versioned{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return found, nil
}

// ReadVersion implements authority.Store.
func (s *Store) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (found authority.Versioned, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		found, err = s.load(tx, path, number)
		return err
	})
	if err != nil {
		return authority.Versioned{}, fmt.Errorf("reading version %d of %s: %w", number, path, err)
	}
	return found, nil
}

// newest returns the number of the newest version at path, destroyed or not; 0 for none.
func newest(tx *bolt.Tx, path authority.Path) (authority.Version, error) {
	cursor := tx.Bucket(valuesBucket).Cursor()
	prefix := versionsOf(path)
	key, _ := cursor.Seek(append([]byte(path), 1)) // the first key behind all of them, if any
	if key == nil {
		key, _ = cursor.Last()
	} else {
		key, _ = cursor.Prev()
	}
	if !bytes.HasPrefix(key, prefix) {
		return 0, nil
	}
	_, number, err := splitValueKey(key)
	return number, err
}

// peek returns a stored version, destroyed or not.
func (s *Store) peek(tx *bolt.Tx, path authority.Path, number authority.Version) (version, authority.Versioned, error) {
	key := valueKey(path, number)
	entry := tx.Bucket(valuesBucket).Get(key)
	if entry == nil {
		return version{}, authority.Versioned{}, authority.ErrNotFound
	}
	plaintext, err := s.unseal(valuesBucket, key, entry)
	if err != nil {
		return version{}, authority.Versioned{}, err
	}
	var held version
	if json.Unmarshal(plaintext, &held) != nil {
		return version{}, authority.Versioned{}, corrupt("a version cannot be decoded")
	}
	found := authority.Versioned{
		Path:    path,
		ID:      authority.VersionID{Incarnation: incarnationOf(entry), Run: held.Run, Number: number},
		Created: held.Created.UTC(),
	}
	if !held.Destroyed {
		if found.Value, err = secret.Decode(held.Value); err != nil {
			return version{}, authority.Versioned{}, corrupt("a value cannot be decoded")
		}
	}
	return held, found, nil
}

func (s *Store) load(tx *bolt.Tx, path authority.Path, number authority.Version) (authority.Versioned, error) {
	held, found, err := s.peek(tx, path, number)
	if err == nil && held.Destroyed {
		return authority.Versioned{}, authority.ErrNotFound
	}
	return found, err
}

// Write implements authority.Store.
func (s *Store) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (id authority.VersionID, err error) {
	if err := nameFits(string(path)); err != nil {
		return id, fmt.Errorf("writing value: %w", err)
	}
	if !utf8.ValidString(string(run)) {
		return id, fmt.Errorf("writing %s: the run id is not UTF-8", path)
	}
	err = s.update(ctx, func(b *batch) error {
		id, err = b.write(path, base, run, v)
		return err
	})
	if err != nil {
		return authority.VersionID{}, fmt.Errorf("writing %s: %w", path, err)
	}
	return id, nil
}

// write stores v as the version after base; errUnchanged beside the version when that is what is there.
func (b *batch) write(path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	at, err := newest(b.tx, path)
	if err != nil {
		return authority.VersionID{}, err
	}
	if base < at {
		held, made, err := b.store.peek(b.tx, path, base+1)
		if err != nil && !errors.Is(err, authority.ErrNotFound) {
			return authority.VersionID{}, err
		}
		if err == nil && !held.Destroyed && made.ID.Run == run && made.Value.Equal(v) {
			return made.ID, errUnchanged
		}
	}
	if base != at {
		return authority.VersionID{}, fmt.Errorf("version %d is not the newest, which is %d: %w", base, at, authority.ErrConflict)
	}
	plaintext, err := json.Marshal(version{Run: run, Created: b.store.config.Clock().UTC(), Value: v.Encode()})
	if err != nil {
		return authority.VersionID{}, errors.New("encoding the version failed")
	}
	id := authority.VersionID{Incarnation: b.store.identity.current(), Run: run, Number: base + 1}
	return id, b.put(valuesBucket, valueKey(path, base+1), plaintext)
}

// Destroy implements authority.Store. The version's ciphertext is overwritten in the file before it returns nil.
func (s *Store) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	err := s.update(ctx, func(b *batch) error {
		held, _, err := s.peek(b.tx, path, number)
		switch {
		case errors.Is(err, authority.ErrNotFound) || err == nil && held.Destroyed:
			return errUnchanged
		case err != nil:
			return err
		}
		held.Destroyed, held.Value = true, nil
		plaintext, err := json.Marshal(held)
		if err != nil {
			return errors.New("encoding the version failed")
		}
		s.unscrubbed.Store(true)
		return b.put(valuesBucket, valueKey(path, number), plaintext)
	})
	if err == nil {
		err = s.scrub(ctx) // what this call left, or an earlier one whose scrubbing failed or has not ended
	}
	if err != nil {
		return fmt.Errorf("destroying version %d of %s: %w", number, path, err)
	}
	return nil
}

// DigestKey implements authority.Store. It waits for no call.
func (s *Store) DigestKey(ctx context.Context, path authority.Path) ([]byte, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("deriving digest key of %s: %w", path, err)
	}
	return authority.DeriveDigestKey(s.digestKey, path)
}

func nameFits(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
		return fmt.Errorf("a path or key must have between 1 and %d bytes, none of them zero", maxName)
	}
	return nil
}
