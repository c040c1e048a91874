// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
)

// SeedSize is the length of a signing seed in bytes.
const SeedSize = ed25519.SeedSize

// Signer signs the checkpoints of one log. It prints as its public key.
type Signer struct {
	signer   noteSigner
	verifier note.Verifier
	public   string
}

// NewSeed makes a signing seed.
func NewSeed(random io.Reader) ([]byte, error) {
	seed := make([]byte, SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("making signing seed: %w", err)
	}
	return seed, nil
}

// NewSigner makes the signer of the log called origin, for example custody.dev/PLATFORM/ENVIRONMENT. The origin is the
// first line of each checkpoint and the name of the key; it holds no space and no plus sign. A log that is lost for
// good is begun again under another origin, never under the same.
func NewSigner(origin string, seed []byte) (*Signer, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("making audit signer: the seed has %d bytes, want %d", len(seed), SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, err := note.NewEd25519VerifierKey(origin, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("making audit signer: %w", err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("making audit signer: origin %q does not serve as the name of a key", origin)
	}
	sign := func(message []byte) ([]byte, error) { return ed25519.Sign(private, message), nil }
	return &Signer{noteSigner{verifier, sign}, verifier, public}, nil
}

// Verifier is the public key as text (NAME+HASH+KEY), for Verify and for any tool that reads signed notes.
func (s *Signer) Verifier() string { return s.public }

// Origin is the name of the log.
func (s *Signer) Origin() string { return s.verifier.Name() }

// String is Verifier.
func (s *Signer) String() string { return s.public }

// GoString is Verifier.
func (s *Signer) GoString() string { return s.public }

// noteSigner keeps the key inside a function, where no verb prints it.
type noteSigner struct {
	note.Verifier
	sign func(message []byte) ([]byte, error)
}

// Sign is note.Signer's.
func (s noteSigner) Sign(message []byte) ([]byte, error) { return s.sign(message) }

func (s *Signer) sign(size uint64, root []byte) ([]byte, error) {
	text := formats.Checkpoint{Origin: s.Origin(), Size: size, Hash: root}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(text)}, s.signer)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	return signed, nil
}

// checkpoint is what a verified checkpoint says.
type checkpoint struct {
	from string // where it was found, for people
	size uint64
	root []byte

	place  string // the sink that keeps it, "" for the log's own and the anchor
	anchor bool   // it is the one that the authority knows
	signed []byte // as it is kept, nil for the log's own
}

// Covers is how many events a checkpoint says that it covers, 0 when it is none. It does not verify it.
func Covers(signed []byte) uint64 {
	lines := bytes.SplitN(signed, []byte("\n"), 3)
	if len(lines) < 3 {
		return 0
	}
	events, err := strconv.ParseUint(string(lines[1]), 10, 64)
	if err != nil {
		return 0
	}
	return events
}

// readCheckpoint verifies a checkpoint. Signatures of others beside ours (witnesses) are allowed and not looked at.
func readCheckpoint(from string, data []byte, verifier note.Verifier) (checkpoint, error) {
	parsed, rest, _, err := formats.ParseCheckpoint(data, verifier.Name(), verifier)
	switch {
	case err != nil:
		return checkpoint{}, fmt.Errorf("reading checkpoint: %w", err)
	case len(rest) > 0 || len(parsed.Hash) != len(hasher.EmptyRoot()):
		return checkpoint{}, errors.New("reading checkpoint: not in the form in which it is written")
	}
	return checkpoint{from: from, size: parsed.Size, root: parsed.Hash}, nil
}

// readOwnCheckpoint takes only the bytes that sign would have written: base64 has spare bits and a note may carry more
// signatures, and neither may hide a change.
func readOwnCheckpoint(data []byte, verifier note.Verifier) (checkpoint, error) {
	read, err := readCheckpoint(ownCheckpoint, data, verifier)
	if err != nil {
		return checkpoint{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, fmt.Errorf("reading checkpoint: %w", err)
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(opened.Sigs[0].Base64)
	if err != nil || len(signature) < 4 || binary.BigEndian.Uint32(signature) != verifier.KeyHash() {
		return checkpoint{}, errors.New("reading checkpoint: the signature is not in the form in which it is written")
	}
	text := formats.Checkpoint{Origin: verifier.Name(), Size: read.size, Hash: read.root}.Marshal()
	want := fmt.Appendf(text, "\n— %s %s\n", verifier.Name(), opened.Sigs[0].Base64)
	if !bytes.Equal(data, want) {
		return checkpoint{}, errors.New("reading checkpoint: not in the form in which it is written")
	}
	return read, nil
}
