// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/secret"
)

var _ authority.Copier = (*Store)(nil)

// spoolFile is a copy on its way out. It has a name for a moment only.
const spoolFile = "authority.db.copy"

// keysField holds the keyset, in base64, in what opens a copy.
const keysField = "keyset"

// Copy implements authority.Copier. The database is first copied into a file beside it that has no name, so that a slow destination
// holds no transaction open: that would stop writes, and with them everything, as soon as the database has to grow. What is copied was
// compared with the ledger, and the copy's structure is checked.
//
// Other calls go on meanwhile, with two exceptions while the local copy is made: a write that makes the database larger waits, and
// the ciphertext of a version that is destroyed is overwritten only afterwards.
func (s *Store) Copy(ctx context.Context) (made authority.Copy, err error) {
	spool, sum, incarnation, err := s.spool(ctx)
	if err != nil {
		return authority.Copy{}, fmt.Errorf("copying the authority: %w", err)
	}
	defer func() {
		if err != nil {
			_ = spool.Close()
			err = fmt.Errorf("copying the authority: %w", err)
		}
	}()
	info, err := spool.Stat()
	if err != nil {
		return authority.Copy{}, err
	}
	if _, err := inspect(spool, info.Size()); err != nil {
		return authority.Copy{}, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return authority.Copy{}, err
	}
	keys, err := s.keysOfCopy()
	if err != nil {
		return authority.Copy{}, err
	}
	return authority.Copy{Incarnation: incarnation, Bytes: info.Size(), SHA256: sum, Keys: keys, Content: spool}, nil
}

// keysOfCopy unwraps the keyset once more: an open store keeps only what it makes of it.
func (s *Store) keysOfCopy() (secret.Value, error) {
	var plain []byte
	err := s.view(context.Background(), func(tx *bolt.Tx) (err error) {
		plain, err = s.config.Key.Unwrap(tx.Bucket(metaBucket).Get(keysetKey))
		return err
	})
	if err != nil {
		return secret.Value{}, err
	}
	return secret.Text(map[string]string{keysField: base64.StdEncoding.EncodeToString(plain)})
}

// spool copies the database as it is now into a file without a name.
func (s *Store) spool(ctx context.Context) (spool *os.File, sum [sha256.Size]byte, incarnation authority.Incarnation, err error) {
	tx, incarnation, err := s.beginCopy(ctx)
	if err != nil {
		return nil, sum, "", err
	}
	defer s.endCopy(tx)
	defer func() {
		if err != nil && spool != nil {
			_ = spool.Close()
			spool = nil
		}
	}()
	defer s.guard(&err)()
	if err := s.verifyIn(tx); err != nil {
		return nil, sum, "", err
	}
	if err := s.room(2 * tx.Size()); err != nil {
		return nil, sum, "", err
	}
	if spool, err = s.unnamed(); err != nil {
		return nil, sum, "", err
	}
	hash := sha256.New()
	if _, err = tx.WriteTo(io.MultiWriter(spool, hash)); err != nil {
		return spool, sum, "", err
	}
	hash.Sum(sum[:0])
	return spool, sum, incarnation, ctx.Err()
}

// beginCopy opens the transaction. It does not hold ops while the copy is made, which would have every call wait that begins after
// one that needs the file at rest.
func (s *Store) beginCopy(ctx context.Context) (*bolt.Tx, authority.Incarnation, error) {
	s.ops.RLock()
	defer s.ops.RUnlock()
	if err := s.ready(ctx); err != nil {
		return nil, "", err
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, "", err
	}
	s.copying.Add(1)
	return tx, s.identity.current(), nil
}

// endCopy lets the transaction go, and overwrites what was destroyed meanwhile.
func (s *Store) endCopy(tx *bolt.Tx) {
	_ = tx.Rollback()
	s.copying.Add(-1)
	_ = s.scrub(context.Background()) // else the next Destroy, or the next Open, does it
}

// room refuses to fill the disk that the authority itself needs.
func (s *Store) room(bytes int64) error {
	var found unix.Statfs_t
	if err := unix.Statfs(s.folder.Dir(), &found); err != nil {
		return fmt.Errorf("looking for room: %w", err)
	}
	if free := int64(found.Bavail) * found.Bsize; free < bytes {
		return &Error{fmt.Errorf("%s has %d MiB free, and a copy is made only where there are %d: %w", s.folder.Dir(), free>>20, bytes>>20+1, syscall.ENOSPC),
			"free space on the file system of " + s.folder.Dir()}
	}
	return nil
}

// unnamed makes a file that is gone when it is closed, or when the process ends.
func (s *Store) unnamed() (*os.File, error) {
	if err := s.folder.Remove(spoolFile); err != nil {
		return nil, err
	}
	file, err := openPlain(filepath.Join(s.folder.Dir(), spoolFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := s.folder.Remove(spoolFile); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Contents are what a copy holds.
type Contents struct {
	Platform    string                `json:"platform"`
	Environment string                `json:"environment"`
	Incarnation authority.Incarnation `json:"incarnation"`
	// Versions of values, destroyed ones included.
	Versions  int `json:"versions"`
	Documents int `json:"documents"`
}

// CopyName is the name that a copy has in the folder of CheckCopy and PutBack.
const CopyName = unfinishedFile

// CheckCopy opens the copy in a folder, which is that of nothing else, and decrypts everything that it holds. ErrCorrupt when it is not
// what was copied, authority.ErrSealed when the keys do not fit.
func CheckCopy(ctx context.Context, folder string, keys secret.Value) (found Contents, err error) {
	s, err := openCopy(ctx, Config{Folder: folder}, keys)
	if err != nil {
		return Contents{}, fmt.Errorf("checking the copy of an authority: %w", err)
	}
	defer func() { err = errors.Join(err, s.closeCopy()) }()
	found = Contents{Platform: s.identity.Platform, Environment: s.identity.Environment, Incarnation: s.identity.current()}
	err = s.db.View(func(tx *bolt.Tx) error { return s.decryptAll(ctx, tx, &found) })
	return found, err
}

func (s *Store) decryptAll(ctx context.Context, tx *bolt.Tx, found *Contents) (err error) {
	defer s.guard(&err)()
	err = tx.Bucket(valuesBucket).ForEach(func(key, _ []byte) error {
		path, number, err := splitValueKey(key)
		if err == nil {
			_, _, err = s.peek(tx, path, number)
		}
		found.Versions++
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return err
	}
	return tx.Bucket(documentsBucket).ForEach(func(key, entry []byte) error {
		_, err := s.document(key, entry)
		found.Documents++
		return errors.Join(err, ctx.Err())
	})
}

// PutBack makes the copy in config.Folder the authority there: sealed by config.Key, and with a document more. It is the authority as a
// whole or not at all; after an error or a crash the copy is written and put back anew. ErrInitialised when there is an authority,
// ErrForeign when the copy is that of another platform or environment.
func PutBack(ctx context.Context, config Config, keys secret.Value, note authority.Document) error {
	if err := putBack(ctx, config, keys, note); err != nil {
		return fmt.Errorf("putting the authority back in %s: %w", config.Folder, err)
	}
	return nil
}

func putBack(ctx context.Context, config Config, keys secret.Value, note authority.Document) (err error) {
	if err := errors.Join(ctx.Err(), config.check()); err != nil {
		return err
	}
	held, err := acquire(ctx, config.Folder, config.Timeout)
	if err != nil {
		return err
	}
	defer held.release()
	s, err := openCopy(ctx, config, keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.folder.Close()) }()
	if err := s.adopt(keys, note); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	return s.folder.Rename(unfinishedFile, databaseFile)
}

// adopt wraps the keyset for config.Key, having proved that this unwraps it again, and stores a document.
func (s *Store) adopt(keys secret.Value, note authority.Document) (err error) {
	defer s.guard(&err)()
	if err := s.foreign(); err != nil {
		return err
	}
	plain, err := keysetOf(keys)
	if err != nil {
		return err
	}
	wrapped, err := s.config.Key.Wrap(plain)
	if err != nil {
		return fmt.Errorf("wrapping the keyset: %w", err)
	}
	if _, err := unwrap(s.config.Key, wrapped); err != nil {
		return fmt.Errorf("trying the key on what it wrapped: %w", err)
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		if err := tx.Bucket(metaBucket).Put(keysetKey, wrapped); err != nil {
			return err
		}
		b, err := s.begin(tx)
		if err != nil {
			return err
		}
		before, err := s.find(tx, note.Key)
		if err != nil && !errors.Is(err, authority.ErrNotFound) {
			return err
		}
		if err := b.document(note.Key, before.Revision, note.Data); err != nil && !errors.Is(err, errUnchanged) {
			return err
		}
		return b.finish()
	})
}

// openCopy opens what Copy made, having checked all of it but the entries' content.
func openCopy(ctx context.Context, config Config, keys secret.Value) (opened *Store, err error) {
	folder, err := durable.Open(config.Folder)
	if err != nil {
		return nil, err
	}
	s := &Store{config: config, folder: folder}
	defer func() {
		if err != nil {
			_ = s.closeCopy()
		}
	}()
	if found, err := exists(folder, databaseFile); err != nil {
		return nil, err
	} else if found {
		return nil, &Error{ErrInitialised, "put the copy into an empty folder; to start with a new authority, move this one away first"}
	}
	if _, err := folder.Stat(unfinishedFile); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: %w", unfinishedFile, err)
	}
	if _, err := inspectFile(folder.Dir(), unfinishedFile); err != nil {
		return nil, err
	}
	if s.db, err = openDatabase(filepath.Join(folder.Dir(), unfinishedFile)); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	plain, err := keysetOf(keys)
	if err != nil {
		return nil, err
	}
	if s.aead, err = primitiveOf(plain); err != nil {
		return nil, err
	}
	if err := s.identify(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) closeCopy() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, s.folder.Close())
}

// keysetOf is the keyset in what opens a copy.
func keysetOf(keys secret.Value) ([]byte, error) {
	plain, err := base64.StdEncoding.DecodeString(keys.ExposeText(keysField))
	if err != nil || len(plain) == 0 {
		return nil, fmt.Errorf("%w: what is to open the copy is no keyset", authority.ErrSealed)
	}
	return plain, nil
}

// primitiveOf makes of a keyset what encrypts with it.
func primitiveOf(plain []byte) (tink.AEAD, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		return nil, fmt.Errorf("%w: the unwrapped keyset is malformed", authority.ErrSealed)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("%w: the unwrapped keyset is unusable", authority.ErrSealed)
	}
	return primitive, nil
}
