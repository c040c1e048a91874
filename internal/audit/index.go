// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"custody.dev/custody/internal/durable"
)

// An index says where in a segment the events of a run, of a secret, or of a run and step stand. Its file is indexMagic, the
// SHA-256 of the segment's tree, the entries in order, each of entrySize bytes, and the SHA-256 of all that. It is made anew when
// it is missing or does not fit. What it leads to is read and compared; that it leads to all of it nobody proves but Verify.
const (
	indexMagic = "custody index 1\n"
	headSize   = len(indexMagic) + sha256.Size
	entrySize  = 8 + 4
)

// entry says that a line at an offset of the segment has a key with this hash.
type entry struct {
	hash uint64
	at   uint32
}

// A run's hash leaves its last stepBits to the step, so that one entry is found by run, and by run and step.
const (
	stepBits = 24
	stepMask = 1<<stepBits - 1
)

func runHash(raw []byte) uint64 { return hashOf("run:", raw) &^ stepMask }

func secretHash(raw []byte) uint64 { return hashOf("secret:", raw) }

func (k key) step() uint64 { return binary.BigEndian.Uint64(k[:]) & stepMask }

func hashOf(kind string, raw []byte) uint64 {
	sum := sha256.Sum256(append([]byte(kind), raw...))
	return binary.BigEndian.Uint64(sum[:])
}

// raw is a text as it stands in a line, between its quotes.
func raw(text string) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	quoted := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	return quoted[1 : len(quoted)-1]
}

var (
	beforeSecret = []byte(`,"secret":"`)
	beforeAt     = []byte(`,"at":"`)
)

// field finds a text in a line without decoding it, as it stands between its quotes; nil when it is not there. As in keyOf, the
// first occurrence of the mark is the field.
func field(line, mark []byte) []byte {
	start := bytes.Index(line, mark)
	if start < 0 {
		return nil
	}
	rest := line[start+len(mark):]
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return rest[:i]
		}
	}
	return nil
}

// filter is a Bloom filter of hashes, 16 bits for each: about one in 2,000 that it does not hold passes it.
type filter []byte

const probes = 8

func newFilter(hashes int) filter { return make(filter, max(8, 2*hashes)) }

// bit is the place of one probe.
func (f filter) bit(hash uint64, probe int) (at int, mask byte) {
	first, step := hash*0x9e3779b97f4a7c15>>32, hash*0xc2b2ae3d27d4eb4f>>32|1
	bit := (first + uint64(probe)*step) % uint64(8*len(f))
	return int(bit / 8), 1 << (bit % 8)
}

func (f filter) add(hash uint64) {
	for probe := range probes {
		at, mask := f.bit(hash, probe)
		f[at] |= mask
	}
}

func (f filter) has(hash uint64) bool {
	for probe := range probes {
		if at, mask := f.bit(hash, probe); f[at]&mask == 0 {
			return false
		}
	}
	return true
}

func indexFile(number int) string { return fmt.Sprintf("%08d.index", number) }

// digest stands for what the segment's lines are.
func (s *sealed) digest() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(bytes.Join(s.tree.Hashes(), nil), "%d-%d", s.begin, s.end))
}

// indexOf is the file of a segment's index.
func indexOf(s *sealed, entries []entry) []byte {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.at, b.at)) })
	digest := s.digest()
	data := append([]byte(indexMagic), digest[:]...)
	for _, e := range entries {
		data = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(data, e.hash), e.at)
	}
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}

// fits reports whether data is an index of s, as it was written.
func (s *sealed) fits(data []byte) bool {
	end := len(data) - sha256.Size
	if end < headSize || (end-headSize)%entrySize != 0 {
		return false
	}
	sum, digest := sha256.Sum256(data[:end]), s.digest()
	return bytes.Equal(data[end:], sum[:]) && bytes.Equal(data[:headSize], append([]byte(indexMagic), digest[:]...))
}

// index is the index of one segment, open.
type index struct {
	file  io.ReaderAt
	n     int
	close func() error
}

func (x index) entry(i int) (entry, error) {
	var data [entrySize]byte
	if _, err := x.file.ReadAt(data[:], int64(headSize+i*entrySize)); err != nil {
		return entry{}, fmt.Errorf("reading the index of the audit log: %w", err)
	}
	return entry{binary.BigEndian.Uint64(data[:]), binary.BigEndian.Uint32(data[8:])}, nil
}

// find returns, in order, the offsets of lines one of whose keys has a hash that is hash under mask.
func (x index) find(hash, mask uint64) (offsets []uint32, err error) {
	first := sort.Search(x.n, func(i int) bool {
		e, failed := x.entry(i)
		err = errors.Join(err, failed)
		return failed != nil || e.hash >= hash
	})
	for i := first; i < x.n && err == nil; i++ {
		var e entry
		if e, err = x.entry(i); e.hash&mask != hash {
			break
		}
		offsets = append(offsets, e.at)
	}
	slices.Sort(offsets)
	return offsets, err
}

// open opens the index of a segment, and makes it anew, from the segment, when it is missing or does not fit. That it cannot be
// written keeps nobody from reading.
func (l *Log) index(ctx context.Context, s *sealed) (index, error) {
	l.indexing.Lock()
	defer l.indexing.Unlock()
	if !s.indexed {
		data, err := l.folder.Read(indexFile(s.number))
		if err != nil || !s.fits(data) {
			p, err := s.resurvey(ctx, l.folder)
			if err != nil {
				return index{}, err
			}
			data = indexOf(s, p.entries)
			if err := l.folder.Replace(indexFile(s.number), data, durable.Private); err != nil {
				return openIndex(bytes.NewReader(data), len(data), func() error { return nil }), nil //nolint:nilerr // as said
			}
		}
		s.indexed = true
	}
	file, err := l.folder.Reader(indexFile(s.number))
	if err != nil {
		s.indexed = false // the next question makes it anew
		return index{}, fmt.Errorf("reading the index of the audit log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return index{}, errors.Join(err, file.Close())
	}
	return openIndex(file, int(info.Size()), file.Close), nil
}

func openIndex(file io.ReaderAt, size int, closing func() error) index {
	return index{file, (size - headSize - sha256.Size) / entrySize, closing}
}

// find returns, in order, the offsets in a sealed segment of lines one of whose keys has a hash that is hash under mask.
func (l *Log) find(ctx context.Context, s *sealed, hash, mask uint64) ([]uint32, error) {
	x, err := l.index(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.close() }()
	return x.find(hash, mask)
}
