// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/tink"
	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
)

// Schema is the layout this program writes.
const Schema = 2

// The file's buckets. Keys of values are the path, a zero byte and the version number, big-endian; of documents the
// key. Every entry of a sealed bucket is the incarnation that wrote it, then the ciphertext.
var (
	metaBucket      = []byte("meta")
	valuesBucket    = []byte("values")
	documentsBucket = []byte("documents")
	sealedBuckets   = [][]byte{valuesBucket, documentsBucket}
)

// Entries of the meta bucket: the schema number in plain, the wrapped keyset, and sealed with that keyset the identity
// and the ledger. Wrapping the keyset anew touches nothing else.
var (
	schemaKey   = []byte("schema")
	keysetKey   = []byte("keyset")
	identityKey = []byte("identity")
	ledgerKey   = []byte("ledger")
)

const incarnationBytes = 16

// identity says whose the authority is. The last of the incarnations is the present one.
type identity struct {
	Schema       int                     `json:"schema"`
	Platform     string                  `json:"platform"`
	Environment  string                  `json:"environment"`
	Incarnations []authority.Incarnation `json:"incarnations"`
	// LedgerKey keys the fingerprints of entries.
	LedgerKey []byte `json:"ledgerKey"`
	// DigestKey is what the digest keys of all paths are derived from.
	DigestKey []byte `json:"digestKey"`
}

func (i identity) current() authority.Incarnation { return i.Incarnations[len(i.Incarnations)-1] }

// ledger is what the sealed buckets hold in sum: how many entries, and the exclusive-or of their fingerprints.
type ledger struct {
	Entries uint64            `json:"entries"`
	Sum     [sha256.Size]byte `json:"sum"`
}

func (l *ledger) add(fingerprint [sha256.Size]byte)    { l.Entries++; l.mix(fingerprint) }
func (l *ledger) remove(fingerprint [sha256.Size]byte) { l.Entries--; l.mix(fingerprint) }
func (l *ledger) mix(fingerprint [sha256.Size]byte) {
	for i, b := range fingerprint {
		l.Sum[i] ^= b
	}
}

// fingerprint is a keyed hash of one entry with its place.
func (s *Store) fingerprint(bucket, key, entry []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, s.identity.LedgerKey)
	mac.Write(place(bucket, key, ""))
	mac.Write(entry)
	mac.Sum(sum[:0])
	return sum
}

// place is the associated data of an entry: unambiguous, because each part is preceded by its length.
func place(bucket, key []byte, incarnation authority.Incarnation) []byte {
	var out []byte
	for _, part := range [][]byte{[]byte("custody embedded authority"), []byte(strconv.Itoa(Schema)), bucket, key, []byte(incarnation)} {
		out = binary.AppendUvarint(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

func (s *Store) seal(bucket, key, plaintext []byte) ([]byte, error) {
	incarnation := s.identity.current()
	raw, err := hex.DecodeString(string(incarnation))
	if err != nil {
		return nil, errors.New("sealing: the incarnation is malformed")
	}
	ciphertext, err := s.aead.Encrypt(plaintext, place(bucket, key, incarnation))
	if err != nil {
		return nil, errors.New("sealing: encryption failed")
	}
	return append(raw, ciphertext...), nil
}

func (s *Store) unseal(bucket, key, entry []byte) ([]byte, error) {
	if len(entry) < incarnationBytes {
		return nil, corrupt("an entry of bucket %s is too short", bucket)
	}
	incarnation := authority.Incarnation(hex.EncodeToString(entry[:incarnationBytes]))
	if !slices.Contains(s.identity.Incarnations, incarnation) {
		return nil, corrupt("an entry of bucket %s is from an incarnation that this authority never had", bucket)
	}
	plaintext, err := s.aead.Decrypt(entry[incarnationBytes:], place(bucket, key, incarnation))
	if err != nil {
		return nil, corrupt("an entry of bucket %s is not what was written there", bucket)
	}
	return plaintext, nil
}

// sealMeta and unsealMeta are for the meta bucket, whose entries belong to no incarnation.
func sealMeta(aead tink.AEAD, key []byte, content any) ([]byte, error) {
	plaintext, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", key, err)
	}
	return aead.Encrypt(plaintext, place(metaBucket, key, ""))
}

func unsealMeta(aead tink.AEAD, tx *bolt.Tx, key []byte, into any) error {
	bucket := tx.Bucket(metaBucket)
	if bucket == nil {
		return corrupt("bucket %s is missing", metaBucket)
	}
	plaintext, err := aead.Decrypt(bucket.Get(key), place(metaBucket, key, ""))
	if err != nil || json.Unmarshal(plaintext, into) != nil {
		return corrupt("its %s is not what was written there", key)
	}
	return nil
}

func (s *Store) readLedger(tx *bolt.Tx) (ledger, error) {
	var held ledger
	err := unsealMeta(s.aead, tx, ledgerKey, &held)
	return held, err
}

// batch is one write transaction that keeps the ledger.
type batch struct {
	store  *Store
	tx     *bolt.Tx
	ledger ledger
	// changes counts what was put and removed.
	changes int
}

func (s *Store) begin(tx *bolt.Tx) (*batch, error) {
	held, err := s.readLedger(tx)
	if err != nil {
		return nil, err
	}
	return &batch{store: s, tx: tx, ledger: held}, nil
}

func (b *batch) put(bucket, key, plaintext []byte) error {
	entry, err := b.store.seal(bucket, key, plaintext)
	if err != nil {
		return err
	}
	into := b.tx.Bucket(bucket)
	if before := into.Get(key); before != nil {
		b.ledger.remove(b.store.fingerprint(bucket, key, before))
	}
	b.ledger.add(b.store.fingerprint(bucket, key, entry))
	b.changes++
	return into.Put(key, entry)
}

// remove deletes an entry and reports whether there was one.
func (b *batch) remove(bucket, key []byte) (bool, error) {
	from := b.tx.Bucket(bucket)
	before := from.Get(key)
	if before == nil {
		return false, nil
	}
	b.ledger.remove(b.store.fingerprint(bucket, key, before))
	b.changes++
	return true, from.Delete(key)
}

func (b *batch) finish() error {
	entry, err := sealMeta(b.store.aead, ledgerKey, b.ledger)
	if err != nil {
		return err
	}
	return b.tx.Bucket(metaBucket).Put(ledgerKey, entry)
}

// valueKey is where a version lives: all versions of a path lie together, in order.
func valueKey(path authority.Path, number authority.Version) []byte {
	return binary.BigEndian.AppendUint64(versionsOf(path), uint64(number))
}

func versionsOf(path authority.Path) []byte { return append([]byte(path), 0) }

// splitValueKey is the inverse of valueKey.
func splitValueKey(key []byte) (authority.Path, authority.Version, error) {
	at := bytes.IndexByte(key, 0)
	if at < 0 || len(key) != at+9 {
		return "", 0, corrupt("a key of bucket %s is malformed", valuesBucket)
	}
	return authority.Path(key[:at]), authority.Version(binary.BigEndian.Uint64(key[at+1:])), nil
}
