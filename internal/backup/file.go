// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// A backup is a tar archive, encrypted with age: the manifest, what opens the authority, the authority, and the files of the record. The
// standard programs open it: age --decrypt --identity root.agekey FILE | tar --list.
const (
	form          = 1
	manifestName  = "manifest.json"
	keysName      = "keys.json"
	authorityName = "authority.db"
	recordPrefix  = "audit/"
)

// Bounds of what is read into memory. A record of a hundred million events has some two thousand files.
const (
	maxManifest = 4 << 20
	maxKeys     = 64 << 10
)

// Manifest says what is in a backup. It is in the file, encrypted like the rest.
type Manifest struct {
	Form int `json:"form"`
	// Custody is the version of the program that made it.
	Custody     string                `json:"custody"`
	Platform    string                `json:"platform"`
	Environment string                `json:"environment"`
	Incarnation authority.Incarnation `json:"incarnation"`
	// Made is when it was begun.
	Made       time.Time `json:"made"`
	Recipients []string  `json:"recipients"`
	Authority  File      `json:"authority"`
	// Checkpoint is signed with the key of which RecordKey is the public half. It covers the Events that are in Record, and is their digest.
	Events     uint64 `json:"events"`
	Checkpoint string `json:"checkpoint"`
	RecordKey  string `json:"recordKey"`
	Record     []File `json:"record"`
}

// File is one in a backup.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	// SHA256 is in hexadecimal; "" for files of the record, whose digest is in the checkpoint.
	SHA256 string `json:"sha256,omitempty"`
}

// write writes a backup.
func write(out io.Writer, m Manifest, values authority.Copy, record audit.Copy) error {
	sealed, err := root.EncryptTo(out, m.Recipients)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(sealed)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the manifest: %w", err)
	}
	if err := add(archive, m, manifestName, int64(len(text)), strings.NewReader(string(text))); err != nil {
		return err
	}
	keys := values.Keys.Encode()
	if err := add(archive, m, keysName, int64(len(keys)), strings.NewReader(string(keys))); err != nil {
		return err
	}
	if err := add(archive, m, authorityName, values.Bytes, values.Content); err != nil {
		return err
	}
	for i, file := range record.Files {
		from, err := record.Open(file)
		if err != nil {
			return err
		}
		err = add(archive, m, m.Record[i].Name, file.Bytes, from)
		if err := errors.Join(err, from.Close()); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), sealed.Close())
}

func add(archive *tar.Writer, m Manifest, name string, bytes int64, from io.Reader) error {
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: bytes, Mode: 0o600, ModTime: m.Made}); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	n, err := io.Copy(archive, from)
	if err == nil && n != bytes {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// Taker takes what is read of a backup, in this order. What it was given counts only once Read has returned nil.
type Taker interface {
	// Begin is told what comes, and what opens the authority.
	Begin(m Manifest, keys secret.Value) error
	// Authority and Record take a file. What they leave unread is read for them. A name of the record has no folder.
	Authority(from io.Reader) error
	Record(name string, from io.Reader) error
}

// Read reads a whole backup, checks everything that can be checked while it is read (each byte, each digest, the record against its
// checkpoint), and hands it to a taker. Its errors are ErrDamaged, ErrNewer, those of root.Decrypt, and the taker's.
func Read(ctx context.Context, in io.Reader, identities []root.Identity, to Taker) (Manifest, error) {
	plain, err := root.DecryptFrom(reader{ctx, in}, identities)
	if err != nil {
		return Manifest{}, err
	}
	r := &reading{archive: tar.NewReader(plain), to: to}
	m, err := r.all()
	if err != nil {
		return Manifest{}, err
	}
	if n, err := io.Copy(io.Discard, plain); err != nil { // to the end: only that shows that nothing was cut off
		return Manifest{}, err
	} else if n > 2*512 { // the end of the archive
		return Manifest{}, damaged("something follows the archive")
	}
	return m, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	in  io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

type reading struct {
	archive *tar.Reader
	to      Taker
	m       Manifest
}

func (r *reading) all() (Manifest, error) {
	text, err := r.small(manifestName, maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	if err := json.Unmarshal(text, &r.m); err != nil || r.m.Form < 1 {
		return Manifest{}, damaged("its manifest cannot be read")
	}
	if r.m.Form > form {
		return Manifest{}, fmt.Errorf("%w (%s, form %d)", ErrNewer, r.m.Custody, r.m.Form)
	}
	encoded, err := r.small(keysName, maxKeys)
	if err != nil {
		return Manifest{}, err
	}
	keys, err := secret.Decode(encoded)
	if err != nil {
		return Manifest{}, damaged("what opens the authority cannot be read")
	}
	check, err := audit.NewCheck(r.m.RecordKey, []byte(r.m.Checkpoint))
	if err != nil {
		return Manifest{}, err
	}
	if covers := audit.Covers([]byte(r.m.Checkpoint)); covers != r.m.Events {
		return Manifest{}, damaged("its checkpoint covers %d events, and its manifest says %d", covers, r.m.Events)
	}
	if err := r.to.Begin(r.m, keys); err != nil {
		return Manifest{}, err
	}
	hash := sha256.New()
	if err := r.file(r.m.Authority, authorityName, hash, r.to.Authority); err != nil {
		return Manifest{}, err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != r.m.Authority.SHA256 {
		return Manifest{}, damaged("the authority in it has the digest %s, not %s", sum, r.m.Authority.SHA256)
	}
	for i, file := range r.m.Record {
		name := strings.TrimPrefix(file.Name, recordPrefix)
		if !audit.IsFile(name, i+1) {
			return Manifest{}, damaged("its manifest names %q as file %d of the record", file.Name, i+1)
		}
		if err := r.file(file, file.Name, check, func(from io.Reader) error { return r.to.Record(name, from) }); err != nil {
			return Manifest{}, err
		}
	}
	if err := check.Verdict(); err != nil {
		return Manifest{}, err
	}
	if _, err := r.archive.Next(); !errors.Is(err, io.EOF) {
		return Manifest{}, r.unread("its end", err)
	}
	return r.m, nil
}

// small reads a file that fits into memory.
func (r *reading) small(name string, most int64) ([]byte, error) {
	header, err := r.archive.Next()
	if err != nil {
		return nil, r.unread(name, err)
	}
	if header.Name != name || header.Typeflag != tar.TypeReg || header.Size > most {
		return nil, damaged("%s is not where it must be", name)
	}
	text, err := io.ReadAll(r.archive)
	if err != nil {
		return nil, r.unread(name, err)
	}
	return text, nil
}

// file hands on the next file, which must be the one that the manifest names, and has check see all of it.
func (r *reading) file(of File, name string, check io.Writer, take func(io.Reader) error) error {
	header, err := r.archive.Next()
	if err != nil {
		return r.unread(name, err)
	}
	if header.Name != name || of.Name != name || header.Typeflag != tar.TypeReg || header.Size != of.Bytes {
		return damaged("%s is not what its manifest says", name)
	}
	seen := io.TeeReader(r.archive, check)
	if err := take(seen); err != nil {
		return r.unread(name, err)
	}
	if _, err := io.Copy(io.Discard, seen); err != nil {
		return r.unread(name, err)
	}
	return nil
}

// unread is the error of a file that cannot be read: that of the archive's form is that the backup is damaged.
func (r *reading) unread(name string, err error) error {
	switch {
	case err == nil, errors.Is(err, tar.ErrHeader), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("%s cannot be read in it", name)
	}
	return fmt.Errorf("reading %s in the backup: %w", name, err)
}

// Checked discards what it is given: Read alone has checked it.
type Checked struct{}

var _ Taker = Checked{}

// Begin implements Taker.
func (Checked) Begin(Manifest, secret.Value) error { return nil }

// Authority implements Taker.
func (Checked) Authority(io.Reader) error { return nil }

// Record implements Taker.
func (Checked) Record(string, io.Reader) error { return nil }
