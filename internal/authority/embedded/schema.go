// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// migration turns a file of one schema into the next, within one transaction and without the key.
type migration func(*bolt.Tx) error

// migrate brings an older file to Schema, after copying it as it was to authority.schema-N.db, and refuses a newer one.
// No file of schema 1 was ever released, hence no migration.
func (s *Store) migrate(ctx context.Context) error {
	held, err := s.schema()
	if err != nil {
		return err
	}
	if held == Schema {
		return nil
	}
	if held > Schema {
		return &Error{fmt.Errorf("%w: the file has schema %d, this program knows up to %d", ErrSchema, held, Schema),
			"use the newer program that wrote it"}
	}
	for from := held; from < Schema; from++ {
		if s.config.migrations[from] == nil {
			return &Error{fmt.Errorf("%w: the file has schema %d, and this program, at %d, has no migration from %d", ErrSchema, held, Schema, from),
				"use the program that wrote it, or one that can migrate it"}
		}
	}
	if err := s.copyAside(held); err != nil {
		return fmt.Errorf("exporting before migrating from schema %d: %w", held, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.folder.Remove(closedFile); err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		for from := held; from < Schema; from++ {
			if err := s.config.migrations[from](tx); err != nil {
				return fmt.Errorf("migrating from schema %d to %d: %w", from, from+1, err)
			}
		}
		return tx.Bucket(metaBucket).Put(schemaKey, []byte(strconv.Itoa(Schema)))
	})
}

func (s *Store) schema() (held int, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			return corrupt("bucket %s is missing", metaBucket)
		}
		if held, err = strconv.Atoi(string(meta.Get(schemaKey))); err != nil || held < 0 {
			return corrupt("its schema is not a number")
		}
		return nil
	})
	return held, err
}

// copyAside keeps the file as it is under another name. A copy that an earlier attempt finished is kept.
func (s *Store) copyAside(held int) error {
	name := fmt.Sprintf("authority.schema-%d.db", held)
	temporary := name + ".unfinished"
	if found, err := exists(s.folder, name); err != nil || found {
		return err
	}
	if err := s.folder.Remove(temporary); err != nil {
		return err
	}
	into, err := openPlain(filepath.Join(s.folder.Dir(), temporary), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o600))
	if err != nil {
		return err
	}
	err = s.db.View(func(tx *bolt.Tx) error { _, err := tx.WriteTo(into); return err })
	if err := errors.Join(err, into.Sync(), into.Close()); err != nil {
		_ = s.folder.Remove(temporary)
		return err
	}
	return s.folder.Rename(temporary, name)
}
