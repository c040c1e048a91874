// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/next"
)

// Open opens an initialised authority, having checked the whole file. It changes nothing when it fails.
func Open(ctx context.Context, config Config) (*Store, error) {
	store, err := open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening authority in %s: %w", config.Folder, err)
	}
	return store, nil
}

func open(ctx context.Context, config Config) (opened *Store, err error) {
	if err := errors.Join(ctx.Err(), config.check()); err != nil {
		return nil, err
	}
	folder, err := durable.Open(config.Folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &Error{ErrUninitialised, "initialise it first"}
	}
	if err != nil {
		return nil, err
	}
	s := &Store{config: config, folder: folder}
	defer func() {
		if err == nil {
			return
		}
		if s.file != nil {
			_ = s.file.Close()
		}
		if s.db != nil {
			_ = s.db.Close()
		}
		if s.lock != nil {
			s.lock.release()
		}
		_ = folder.Close()
	}()
	if found, err := exists(folder, databaseFile); err != nil {
		return nil, err
	} else if !found {
		return nil, uninitialised(folder)
	}
	if s.lock, err = acquire(ctx, config.Folder, config.Timeout); err != nil {
		return nil, err
	}
	clean, err := s.inspect()
	if err != nil {
		return nil, err
	}
	if err := s.unlock(ctx); err != nil {
		return nil, err
	}
	if err := s.watchPages(); err != nil {
		return nil, err
	}
	if err := folder.Remove(closedFile); err != nil {
		return nil, err
	}
	if !clean {
		s.unscrubbed.Store(true)
		if err := s.scrub(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func uninitialised(folder *durable.Folder) error {
	if half, err := exists(folder, unfinishedFile); err == nil && half {
		return &Error{fmt.Errorf("%w: an initialisation began and did not finish", ErrUninitialised),
			"initialise it again: nothing was kept in the unfinished one"}
	}
	return &Error{ErrUninitialised, "initialise it first"}
}

// inspect checks the file at rest and reports whether it was properly closed.
func (s *Store) inspect() (clean bool, err error) {
	found, err := inspectFile(s.folder.Dir(), databaseFile)
	if err != nil {
		return false, err
	}
	noted, clean, err := readCloseNote(s.folder)
	switch {
	case err != nil:
		return false, err
	case clean && found.metas != 2:
		return false, corrupt("one of its headers is damaged, so the last change may be missing")
	case clean && noted != found.newest.txid:
		return false, &Error{fmt.Errorf("%w: it was closed at change %d and is now at %d", ErrCorrupt, noted, found.newest.txid),
			"another copy of the file was put here; restore the newest copy of the whole state folder here instead, then see `custody doctor`"}
	}
	return clean, nil
}

// unlock opens the inspected file, unseals it and checks what it holds.
func (s *Store) unlock(ctx context.Context) (err error) {
	defer s.guard(&err)()
	if s.db, err = openDatabase(filepath.Join(s.folder.Dir(), databaseFile)); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	var wrapped []byte
	err = s.db.View(func(tx *bolt.Tx) error {
		wrapped = bytes.Clone(tx.Bucket(metaBucket).Get(keysetKey))
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the wrapped keyset: %w", err)
	}
	if s.aead, err = unwrap(s.config.Key, wrapped); err != nil {
		return err
	}
	if err := s.identify(); err != nil {
		return err
	}
	return s.foreign()
}

// identify unseals whose the authority is, and compares everything with the ledger.
func (s *Store) identify() (err error) {
	defer s.guard(&err)()
	if err := s.db.View(func(tx *bolt.Tx) error { return unsealMeta(s.aead, tx, identityKey, &s.identity) }); err != nil {
		return err
	}
	if id := s.identity; id.Schema != Schema || len(id.Incarnations) == 0 || len(id.LedgerKey) != sha256.Size || len(id.DigestKey) != authority.DigestKeyBytes {
		return corrupt("its identity is incomplete")
	}
	s.digestKey = s.identity.DigestKey
	s.show()
	return s.db.View(s.verifyIn)
}

// foreign refuses the authority of another platform or environment.
func (s *Store) foreign() error {
	if id := s.identity; id.Platform != s.config.Platform || id.Environment != s.config.Environment {
		return &Error{fmt.Errorf("%w: it is that of platform %q, environment %q, not of %q, %q",
			ErrForeign, id.Platform, id.Environment, s.config.Platform, s.config.Environment),
			"check which folder and which environment this host is configured with"}
	}
	return nil
}

func openDatabase(name string) (*bolt.DB, error) {
	db, err := bolt.Open(name, 0o600, &bolt.Options{
		Timeout:      lockPoll, // the folder's lock is ours; this one can only be held by a foreign tool
		PageSize:     pageSize,
		FreelistType: bolt.FreelistMapType,
		NoStatistics: true,
		OpenFile:     openPlain,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, &Error{fmt.Errorf("%w: another program has locked %s", ErrInUse, name), "stop the program that reads the file directly"}
	case err != nil:
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return db, nil
}

// newKeyset makes a keyset and returns it usable and wrapped, having proved that the key unwraps it again.
func newKeyset(key Sealer) (tink.AEAD, []byte, error) {
	handle, err := keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, nil, errors.New("making a keyset failed")
	}
	var plain bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&plain)); err != nil {
		return nil, nil, errors.New("encoding the keyset failed")
	}
	wrapped, err := key.Wrap(plain.Bytes())
	if err != nil {
		return nil, nil, fmt.Errorf("wrapping the keyset: %w", err)
	}
	primitive, err := unwrap(key, wrapped)
	if err != nil {
		return nil, nil, fmt.Errorf("trying the key on what it wrapped: %w", err)
	}
	return primitive, wrapped, nil
}

func unwrap(key Sealer, wrapped []byte) (tink.AEAD, error) {
	plain, err := key.Unwrap(wrapped)
	if err != nil {
		return nil, &Error{fmt.Errorf("%w: %w", authority.ErrSealed, err), "give the key that it was initialised with, or the root. If the host file names a new key, have the authority take it: " + next.RekeyAuthority()}
	}
	return primitiveOf(plain)
}

// Initialise makes a new authority in the folder, which is made when absent. It is there as a whole or not at all: an
// initialisation that was cut short is replaced by the next. The keyset is wrapped, and the wrapping tried, before
// anything is written.
func Initialise(ctx context.Context, config Config) error {
	if err := initialise(ctx, config); err != nil {
		return fmt.Errorf("initialising authority in %s: %w", config.Folder, err)
	}
	return nil
}

func initialise(ctx context.Context, config Config) (err error) {
	if err := errors.Join(ctx.Err(), config.check()); err != nil {
		return err
	}
	folder, err := durable.Make(config.Folder)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	held, err := acquire(ctx, config.Folder, config.Timeout)
	if err != nil {
		return err
	}
	defer held.release()
	if found, err := exists(folder, databaseFile); err != nil {
		return err
	} else if found {
		return &Error{ErrInitialised, "open it; to start with a new authority, move the folder away first"}
	}
	for _, stale := range []string{unfinishedFile, closedFile} {
		if err := folder.Remove(stale); err != nil {
			return err
		}
	}
	primitive, wrapped, err := newKeyset(config.Key)
	if err != nil {
		return err
	}
	made := identity{
		Schema: Schema, Platform: config.Platform, Environment: config.Environment,
		LedgerKey: make([]byte, sha256.Size), DigestKey: make([]byte, authority.DigestKeyBytes),
	}
	for _, key := range [][]byte{made.LedgerKey, made.DigestKey} {
		if _, err := io.ReadFull(config.Random, key); err != nil {
			return fmt.Errorf("reading randomness: %w", err)
		}
	}
	first, err := config.incarnation("")
	if err != nil {
		return err
	}
	made.Incarnations = []authority.Incarnation{first}
	if err := create(filepath.Join(config.Folder, unfinishedFile), primitive, wrapped, made); err != nil {
		_ = folder.Remove(unfinishedFile)
		return err
	}
	return folder.Rename(unfinishedFile, databaseFile)
}

func create(name string, primitive tink.AEAD, wrapped []byte, made identity) error {
	sealedIdentity, err := sealMeta(primitive, identityKey, made)
	if err != nil {
		return err
	}
	sealedLedger, err := sealMeta(primitive, ledgerKey, ledger{})
	if err != nil {
		return err
	}
	db, err := openDatabase(name)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, bucket := range append([][]byte{metaBucket}, sealedBuckets...) {
			if _, err := tx.CreateBucket(bucket); err != nil {
				return err
			}
		}
		meta := tx.Bucket(metaBucket)
		return errors.Join(
			meta.Put(schemaKey, []byte(strconv.Itoa(Schema))), meta.Put(keysetKey, wrapped),
			meta.Put(identityKey, sealedIdentity), meta.Put(ledgerKey, sealedLedger))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("writing the database: %w", err)
	}
	return nil
}
