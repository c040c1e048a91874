// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/transparency-dev/merkle/compact"
	"golang.org/x/mod/sumdb/note"

	"custody.dev/custody/internal/durable"
)

// Copy is the log as it was at one moment: the bytes of its files that the checkpoint covers. Later events change nothing of it. Seals
// and indexes are not part of it: whoever opens the log makes them again.
type Copy struct {
	// Checkpoint is signed, and covers all events of Files and no others.
	Checkpoint []byte
	Events     uint64
	// Verifier is the public key, as VerifyConfig takes it.
	Verifier string
	Files    []CopiedFile

	folder *durable.Folder
}

// CopiedFile is a beginning of one of the log's files.
type CopiedFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Copy returns the log as it is now. It waits for nothing, and reads nothing.
func (l *Log) Copy() Copy {
	now := l.shown.Load()
	made := Copy{Checkpoint: bytes.Clone(now.signed), Events: now.covered, Verifier: l.signer.Verifier(), folder: l.folder}
	for _, s := range now.sealed {
		made.Files = append(made.Files, CopiedFile{segment(s.number), s.bytes})
	}
	made.Files = append(made.Files, CopiedFile{segment(now.tail.number), now.tail.bytes})
	return made
}

// Open reads one of the files, which gives io.ErrUnexpectedEOF when it is shorter now.
func (c Copy) Open(file CopiedFile) (io.ReadCloser, error) {
	from, err := c.folder.Reader(file.Name)
	if err != nil {
		return nil, err
	}
	return &beginning{from, file.Bytes}, nil
}

// beginning reads exactly so many bytes.
type beginning struct {
	io.ReadCloser
	left int64
}

func (b *beginning) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// CheckpointFile is the name that Copy.Checkpoint has in the folder of a log.
const CheckpointFile = checkpointFile

// IsFile reports whether a name is that of one of a log's files with events: the number of them, from 1.
func IsFile(name string, number int) bool { return name == segment(number) }

// Check holds the files of a copy against its checkpoint while somebody reads them: write them to it one after another, then ask for
// the verdict. It keeps one line in memory.
type Check struct {
	own  checkpoint
	tree *compact.Range
	rest []byte
}

// NewCheck verifies the checkpoint. ErrTampered when the key has not signed it.
func NewCheck(verifier string, signed []byte) (*Check, error) {
	key, err := note.NewVerifier(verifier)
	if err != nil {
		return nil, fmt.Errorf("checking a copy of the record: reading the public key: %w", err)
	}
	own, err := readOwnCheckpoint(signed, key)
	if err != nil {
		return nil, tampered(Finding{Forged, checkpointFile, err.Error()})
	}
	return &Check{own: own, tree: tree.NewEmptyRange(0)}, nil
}

// Write implements io.Writer.
func (c *Check) Write(p []byte) (int, error) {
	whole := len(p)
	for len(p) > 0 {
		at := bytes.IndexByte(p, '\n')
		if at < 0 {
			if c.rest = append(c.rest, p...); len(c.rest) > maxLine {
				return 0, tampered(Finding{Malformed, "the copy", "a line is longer than any event"})
			}
			break
		}
		text := append(c.rest, p[:at]...)
		c.rest, p = c.rest[:0], p[at+1:]
		if err := c.tree.Append(hasher.HashLeaf(text), nil); err != nil {
			return 0, fmt.Errorf("hashing a copy of the record: %w", err)
		}
	}
	return whole, nil
}

// Verdict is nil when what was written is what the checkpoint covers, no more and no less; else ErrTampered.
func (c *Check) Verdict() error {
	root, err := rootOf(c.tree)
	if err != nil {
		return err
	}
	if len(c.rest) > 0 || c.tree.End() != c.own.size || !bytes.Equal(root, c.own.root) {
		return tampered(Finding{Altered, "the copy", fmt.Sprintf("it has %d events that are not the %d of its checkpoint", c.tree.End(), c.own.size)})
	}
	return nil
}
