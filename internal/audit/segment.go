// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/compact"

	"custody.dev/custody/internal/durable"
)

// sealForm is the version of the form in which a seal is written.
const sealForm = 1

// part is one segment while it grows, or while it is read.
type part struct {
	number int
	begin  uint64 // events before it
	bytes  int64
	// tree covers the segment's own events: its hashes are nodes of the log's tree.
	tree             *compact.Range
	earliest, latest time.Time
	entries          []entry
	keys             map[uint64]struct{}
}

func newPart(number int, begin uint64) *part {
	return &part{number: number, begin: begin, tree: tree.NewEmptyRange(begin), keys: map[uint64]struct{}{}}
}

// add takes up the next line, whose hash is leaf. False when the line cannot be an event of a schema that this program knows.
func (p *part) add(text, leaf []byte) (bool, error) {
	id, ok := keyOf(text)
	at, err := time.Parse(time.RFC3339Nano, string(field(text, beforeAt)))
	if !ok || err != nil || !bytes.HasPrefix(text, thisSchema) && !decodes(text) {
		return false, nil
	}
	if p.earliest.IsZero() || at.Before(p.earliest) {
		p.earliest = at
	}
	if at.After(p.latest) {
		p.latest = at
	}
	run, secret := runHash(field(text, beforeKey)), uint64(0)
	p.keys[run] = struct{}{}
	p.entries = append(p.entries, entry{run | id.step(), uint32(p.bytes)})
	if name := field(text, beforeSecret); name != nil {
		secret = secretHash(name)
		p.keys[secret] = struct{}{}
		p.entries = append(p.entries, entry{secret, uint32(p.bytes)})
	}
	p.bytes += int64(len(text)) + 1
	if err := p.tree.Append(leaf, nil); err != nil {
		return false, fmt.Errorf("hashing audit log: %w", err)
	}
	return true, nil
}

func decodes(text []byte) bool {
	_, err := Decode(text)
	return err == nil
}

// sealed is what is kept of a segment that takes no event any more.
type sealed struct {
	number           int
	begin, end       uint64
	bytes            int64
	tree             *compact.Range
	earliest, latest time.Time
	keys             filter
	// indexed: the index beside the segment was read once, and is whole. The log's indexing guards it.
	indexed bool
}

func (p *part) seal() *sealed {
	keys := newFilter(len(p.keys))
	for hash := range p.keys {
		keys.add(hash)
	}
	return &sealed{number: p.number, begin: p.begin, end: p.tree.End(), bytes: p.bytes, tree: p.tree, earliest: p.earliest, latest: p.latest, keys: keys}
}

// may reports whether the segment may hold events that f selects.
func (s *sealed) may(f Filter) bool {
	return f.Skip < s.end &&
		(f.Since.IsZero() || !s.latest.Before(f.Since)) &&
		(f.Until.IsZero() || s.earliest.Before(f.Until)) &&
		(f.Run == "" || s.keys.has(runHash(raw(string(f.Run))))) &&
		(f.Secret == "" || s.keys.has(secretHash(raw(f.Secret))))
}

// sealText is a seal's file. Sum is the SHA-256 of the file without it: it finds damage. A seal that was altered on purpose does
// not hash to the log's signed checkpoint.
type sealText struct {
	Form int `json:"form"`
	// Schema is the newest of the segment's events.
	Schema   int       `json:"schema"`
	Begin    uint64    `json:"begin"`
	End      uint64    `json:"end"`
	Bytes    int64     `json:"bytes"`
	Earliest time.Time `json:"earliest"`
	Latest   time.Time `json:"latest"`
	Tree     [][]byte  `json:"tree"`
	Keys     []byte    `json:"keys"`
	Sum      []byte    `json:"sum,omitempty"`
}

func sealFile(number int) string { return fmt.Sprintf("%08d.seal", number) }

func (s *sealed) write(folder *durable.Folder) error {
	text := sealText{
		Form: sealForm, Schema: Schema, Begin: s.begin, End: s.end, Bytes: s.bytes, Earliest: s.earliest, Latest: s.latest,
		Tree: s.tree.Hashes(), Keys: s.keys,
	}
	plain, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("encoding the seal of %s: %w", segment(s.number), err)
	}
	sum := sha256.Sum256(plain)
	text.Sum = sum[:]
	whole, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("encoding the seal of %s: %w", segment(s.number), err)
	}
	return folder.Replace(sealFile(s.number), append(whole, '\n'), durable.Private)
}

// readSeal returns the seal of a segment; nil when there is none that fits the segment's length and the events before it.
func readSeal(folder *durable.Folder, number int, begin uint64) *sealed {
	data, err := folder.Read(sealFile(number))
	if err != nil {
		return nil
	}
	var text sealText
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	sum := text.Sum
	text.Sum = nil
	plain, err := json.Marshal(text)
	if want := sha256.Sum256(plain); err != nil || !bytes.Equal(sum, want[:]) {
		return nil
	}
	info, err := folder.Stat(segment(number))
	if err != nil || text.Form != sealForm || text.Schema > Schema || text.Begin != begin || text.End < begin || text.Bytes != info.Size() || len(text.Keys) == 0 {
		return nil
	}
	of, err := tree.NewRange(text.Begin, text.End, text.Tree)
	if err != nil {
		return nil
	}
	return &sealed{
		number: number, begin: text.Begin, end: text.End, bytes: text.Bytes, tree: of,
		earliest: text.Earliest, latest: text.Latest, keys: text.Keys,
	}
}

// survey reads a segment up to the event number upTo of the log, or to its end. ErrTampered when a line is no event.
func survey(ctx context.Context, folder *durable.Folder, number int, begin, upTo uint64) (*part, error) {
	p := newPart(number, begin)
	for line, err := range lines(ctx, folder, []string{segment(number)}) {
		if err != nil {
			return nil, err
		}
		if p.tree.End() >= upTo {
			break
		}
		ok, err := p.add(line.text, hasher.HashLeaf(line.text))
		if err != nil {
			return nil, err
		}
		if !ok || !line.whole {
			return nil, tampered(Finding{Malformed, line.String(), "the line is not an event"})
		}
	}
	return p, nil
}

// everything is an upTo that no log reaches.
const everything = ^uint64(0)

// resurvey reads a sealed segment again and holds it against its seal, which the signed checkpoint covers.
func (s *sealed) resurvey(ctx context.Context, folder *durable.Folder) (*part, error) {
	p, err := survey(ctx, folder, s.number, s.begin, everything)
	if err != nil {
		return nil, err
	}
	if !p.tree.Equal(s.tree) {
		return nil, tampered(Finding{Altered, segment(s.number), "its lines are not those that the signed checkpoint covers"})
	}
	return p, nil
}

// rootAt computes the root of the log's first size events. It reads the segment in which they end, and takes the others from
// their seals.
func rootAt(ctx context.Context, folder *durable.Folder, before []*sealed, size uint64) ([]byte, error) {
	whole := tree.NewEmptyRange(0)
	number := len(before) + 1
	for _, s := range before {
		if size < s.end {
			if _, err := s.resurvey(ctx, folder); err != nil {
				return nil, err
			}
			number = s.number
			break
		}
		if err := whole.AppendRange(s.tree, nil); err != nil {
			return nil, fmt.Errorf("hashing audit log: %w", err)
		}
	}
	if whole.End() < size {
		p, err := survey(ctx, folder, number, whole.End(), size)
		if err != nil {
			return nil, err
		}
		if err := whole.AppendRange(p.tree, nil); err != nil {
			return nil, fmt.Errorf("hashing audit log: %w", err)
		}
	}
	if whole.End() != size {
		return nil, fmt.Errorf("the log has %d events, not %d", whole.End(), size)
	}
	return rootOf(whole)
}

// rootOf is the root of a tree that begins with the first event.
func rootOf(of *compact.Range) ([]byte, error) {
	if of.End() == 0 {
		return hasher.EmptyRoot(), nil
	}
	root, err := of.GetRootHash(nil)
	if err != nil {
		return nil, fmt.Errorf("hashing audit log: %w", err)
	}
	return root, nil
}
