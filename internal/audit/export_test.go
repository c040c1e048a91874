// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"
	"iter"
)

// SignLines signs a checkpoint over lines, as one who has the key can.
func SignLines(s *Signer, lines [][]byte) ([]byte, error) {
	whole := tree.NewEmptyRange(0)
	for _, line := range lines {
		if err := whole.Append(hasher.HashLeaf(line), nil); err != nil {
			return nil, err
		}
	}
	root, err := rootOf(whole)
	if err != nil {
		return nil, err
	}
	return s.sign(whole.End(), root)
}

// AppendMany appends events that are not in the log, a segment with each sync.
func AppendMany(l *Log, events iter.Seq[Event]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines [][]byte
	size := int64(0)
	flush := func() error {
		if len(lines) == 0 {
			return nil
		}
		err := l.write(lines, size)
		lines, size = nil, 0
		return err
	}
	for e := range events {
		line, err := Encode(e)
		if err != nil {
			return err
		}
		if size+int64(len(line))+1 > l.segment {
			if err := flush(); err != nil {
				return err
			}
		}
		lines, size = append(lines, line), size+int64(len(line))+1
	}
	return flush()
}

// Waiting is how many calls of Append nobody serves yet.
func Waiting(l *Log) int {
	l.queue.Lock()
	defer l.queue.Unlock()
	return len(l.waiting)
}

// WithoutFirst is an index that does not lead to its first entry, and is whole in itself.
func WithoutFirst(index []byte) []byte {
	data := append([]byte(nil), index[:headSize]...)
	data = append(data, index[headSize+entrySize:len(index)-sha256.Size]...)
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

// Checkpoint returns the newest signed checkpoint.
func (l *Log) Checkpoint() []byte { return append([]byte(nil), l.shown.Load().signed...) }
