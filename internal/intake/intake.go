// SPDX-License-Identifier: Apache-2.0

// Package intake takes values that were sealed for a running platform: whoever has its intake key (a public key) can seal a new value of a
// secret, and whoever carries the file, or keeps it, cannot read it. A value that is taken becomes the candidate of an ordinary run; it is
// never handed over as a first value from Git is.
//
// Guaranteed: the private key is made in the authority (secrets store) and stays there. A sealed value is of one secret and has a
// generation, a number that grows: once one was taken, an older one of that secret is refused, and the same one is taken once, however
// often it comes.
//
// Not guaranteed: who sealed a value, since the key is public. Who hands it in is an operator, and is on record. After an older state
// was put back, what was taken since is not known, and can be taken again.
//
// Cost: taking a value reads two documents and writes one twice, besides what supplying it costs.
package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

const (
	schema     = 1
	keyName    = "intake/key"
	takenPlace = "intake/taken/"
)

// Errors of taking a value. Nothing was done.
var (
	// ErrNotSealed: the file is not sealed to this platform's intake key.
	ErrNotSealed = errors.New("the file is not sealed to the intake key of this platform")
	// ErrOtherSecret: it is a value of another secret.
	ErrOtherSecret = errors.New("the file is sealed for another secret")
	// ErrOlder: a value of the same or a later generation was taken before.
	ErrOlder = errors.New("a value of this or a later generation was taken before")
)

// Sealed is what is sealed.
type Sealed struct {
	Secret string
	// Generation grows with each value of the secret, from 1.
	Generation uint64
	Reason     string
	Made       time.Time
	Value      secret.Value
}

// content is a Sealed inside its encryption.
type content struct {
	Schema     int             `json:"schema"`
	Secret     string          `json:"secret"`
	Generation uint64          `json:"generation"`
	Reason     string          `json:"reason"`
	Made       time.Time       `json:"made"`
	Value      json.RawMessage `json:"value"`
}

// Seal encrypts a value to an intake key. The file can be kept and sent in the open.
func Seal(key string, s Sealed) ([]byte, error) {
	if s.Generation == 0 {
		return nil, errors.New("sealing a value: the generation is a number from 1")
	}
	if err := root.CheckRecipient(key); err != nil {
		return nil, fmt.Errorf("sealing a value: %w", err)
	}
	plain, err := json.Marshal(content{schema, s.Secret, s.Generation, s.Reason, s.Made.UTC().Truncate(time.Second), s.Value.Encode()})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return root.EncryptArmored([]string{key}, plain)
}

// Records keeps Custody's own documents under compare-and-set; see authority.Documents.
type Records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
}

// Book has the platform's intake key, and knows what was taken.
type Book struct {
	Records Records
	Now     func() time.Time
}

// key is the intake key as the authority keeps it.
type key struct {
	Schema   int    `json:"schema"`
	Identity []byte `json:"identity"`
}

// taken is the newest value of a secret that was taken: its file by its digest, and the run that has it, "" while that has not begun.
type taken struct {
	Schema     int             `json:"schema"`
	Generation uint64          `json:"generation"`
	Digest     string          `json:"digest"`
	Run        authority.RunID `json:"run,omitempty"`
}

// Key returns the public intake key. create makes one where there is none; else that is authority.ErrNotFound.
func (b *Book) Key(ctx context.Context, create bool) (public string, made bool, err error) {
	identity, err := b.identity(ctx)
	if !errors.Is(err, authority.ErrNotFound) || !create {
		return identity.Public(), false, err
	}
	if identity, err = root.NewIdentity(); err != nil {
		return "", false, err
	}
	data, err := json.Marshal(key{schema, identity.ExposeFile(b.Now())})
	if err == nil {
		_, err = b.Records.Put(ctx, keyName, 0, data)
	}
	if err != nil {
		return "", false, fmt.Errorf("keeping the intake key: %w", err)
	}
	return identity.Public(), true, nil
}

func (b *Book) identity(ctx context.Context) (root.Identity, error) {
	held, err := b.Records.Get(ctx, keyName)
	if err != nil {
		return root.Identity{}, fmt.Errorf("reading the intake key: %w", err)
	}
	var kept key
	if err := json.Unmarshal(held.Data, &kept); err != nil || kept.Schema != schema {
		return root.Identity{}, fmt.Errorf("reading the intake key: it is damaged, or was written by a newer custody (schema %d)", kept.Schema)
	}
	identities, err := root.Parse(kept.Identity)
	if err != nil || len(identities) != 1 {
		return root.Identity{}, errors.New("reading the intake key: it is damaged")
	}
	return identities[0], nil
}

// Open decrypts a sealed file.
func (b *Book) Open(ctx context.Context, file []byte) (Sealed, error) {
	identity, err := b.identity(ctx)
	if errors.Is(err, authority.ErrNotFound) {
		return Sealed{}, ErrNotSealed // to a key that there is not
	}
	if err != nil {
		return Sealed{}, err
	}
	plain, err := root.Decrypt([]root.Identity{identity}, bytes.TrimSpace(file))
	if err != nil {
		return Sealed{}, ErrNotSealed
	}
	defer clear(plain)
	var c content
	if err := json.Unmarshal(plain, &c); err != nil || c.Schema != schema || c.Generation == 0 {
		return Sealed{}, fmt.Errorf("%w, or by a newer custody (schema %d)", ErrNotSealed, c.Schema)
	}
	v, err := secret.Decode(c.Value)
	if err != nil {
		return Sealed{}, ErrNotSealed
	}
	return Sealed{c.Secret, c.Generation, c.Reason, c.Made, v}, nil
}

// Take opens a sealed file and has supply begin or go on with the run that takes its value, as that of the secret that is called name and
// lies at path. The same file again gives the same run, and supplies nothing, unless the first time ended before there was one.
func (b *Book) Take(ctx context.Context, name string, path authority.Path, file []byte, supply func(Sealed) (authority.RunID, error)) (authority.RunID, error) {
	s, err := b.Open(ctx, file)
	if err != nil {
		return "", err
	}
	if s.Secret != name {
		return "", fmt.Errorf("%w: %s", ErrOtherSecret, s.Secret)
	}
	sum := sha256.Sum256(bytes.TrimSpace(file))
	this := taken{Schema: schema, Generation: s.Generation, Digest: hex.EncodeToString(sum[:])}
	before, base, err := b.taken(ctx, path)
	same := before.Generation == this.Generation && before.Digest == this.Digest
	switch {
	case err != nil:
		return "", err
	case same && before.Run != "":
		return before.Run, nil
	case !same && before.Generation >= this.Generation:
		return "", fmt.Errorf("%w: this is generation %d, and %d was taken", ErrOlder, this.Generation, before.Generation)
	case !same:
		if base, err = b.keep(ctx, path, base, this); err != nil {
			return "", err
		}
	}
	if this.Run, err = supply(s); err != nil {
		return "", err
	}
	_, err = b.keep(ctx, path, base, this)
	return this.Run, err
}

func (b *Book) taken(ctx context.Context, path authority.Path) (taken, authority.Revision, error) {
	held, err := b.Records.Get(ctx, takenPlace+string(path))
	if errors.Is(err, authority.ErrNotFound) {
		return taken{}, 0, nil
	}
	var t taken
	if err == nil && (json.Unmarshal(held.Data, &t) != nil || t.Schema != schema) {
		err = fmt.Errorf("it is damaged, or was written by a newer custody (schema %d)", t.Schema)
	}
	if err != nil {
		return t, 0, fmt.Errorf("reading which sealed value of %s was taken: %w", path, err)
	}
	return t, held.Revision, nil
}

func (b *Book) keep(ctx context.Context, path authority.Path, base authority.Revision, t taken) (authority.Revision, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	revision, err := b.Records.Put(ctx, takenPlace+string(path), base, data)
	if err != nil {
		return 0, fmt.Errorf("noting which sealed value of %s was taken: %w", path, err)
	}
	return revision, nil
}
