// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/transparency-dev/merkle/compact"

	"custody.dev/custody/internal/durable"
)

// Open opens the log in cfg.Folder, or begins one when the folder holds none. It reads the seals and the last segment (all of it where
// these do not fit), takes up what a crash left without a checkpoint (on a full disk the next Append does), and cuts off what a crash
// left half written. ErrTampered when the log is not what its checkpoint or the anchor says; ErrInUse when it is open elsewhere. That
// the anchor or a sink knows of events which the log does not have is no error: see Ahead.
func Open(cfg Config) (log *Log, err error) {
	if cfg.Folder == nil || cfg.Signer == nil || cfg.Clock == nil {
		return nil, errors.New("opening audit log: folder, signer and clock must be given")
	}
	cfg.SegmentBytes = min(cmp.Or(cfg.SegmentBytes, SegmentBytes), maxSegment)
	lock, err := cfg.Folder.Lock(lockFile)
	if err != nil {
		if errors.Is(err, durable.ErrLocked) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	l := &Log{folder: cfg.Folder, signer: cfg.Signer, clock: cfg.Clock, segment: cfg.SegmentBytes, lock: lock, compared: map[string][]byte{}}
	if err := l.load(cfg); err != nil {
		return nil, fmt.Errorf("opening audit log: %w", in(cfg.Folder.Dir(), err))
	}
	if l.tree.End() == 0 {
		l.early = append(l.early, l.former...)
	}
	for _, place := range cfg.Sinks {
		var ahead *Outside
		if at := slices.IndexFunc(l.early, func(o Outside) bool { return o.From == place.Name() }); at >= 0 {
			ahead = &l.early[at]
		}
		s := &sink{
			place: place, verifier: l.signer.verifier, has: l.has, compared: l.compared[place.Name()], ahead: ahead,
			anchor: cfg.Anchor, givenUp: slices.Clone(cfg.GivenUp),
		}
		l.sinks = append(l.sinks, s.start(l.signed))
	}
	return l, nil
}

func (l *Log) load(cfg Config) error {
	known, err := l.outside(cfg)
	if err != nil {
		return err
	}
	if err := l.sweep(); err != nil {
		return err
	}
	fresh, err := absent(l.folder)
	if err != nil {
		return err
	}
	if fresh {
		return l.begin(known)
	}
	own, data, finding, err := ownOf(l.folder, l.signer.verifier)
	if err != nil {
		return err
	}
	if finding != nil {
		return tampered(*finding)
	}
	r, err := l.resume(context.Background(), *own, known)
	if err != nil {
		return err
	}
	for _, kept := range r.unfit {
		l.behind(kept, r.tree.End())
	}
	l.tree, l.seen, l.sealed, l.part, l.covered, l.signed = r.tree, r.seen, r.sealed, r.part, own.size, data
	l.shown.Store(&shown{own.size, data, r.sealed, r.covered})
	if err := l.openTail(r.part.number, r.part.bytes); err != nil {
		return err
	}
	for _, s := range r.fresh {
		_ = s.write(l.folder) // or the next start makes it again
	}
	err = l.cover()
	if slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, func(full error) bool { return errors.Is(err, full) }) {
		return nil // the next append covers first; until then what is on record can be read, and it is said what to mend
	}
	return err
}

// begin begins a log in a folder that holds none.
func (l *Log) begin(known []checkpoint) error {
	for _, k := range known {
		if k.size > 0 {
			l.behind(k, 0)
		}
	}
	l.tree, l.seen, l.part = tree.NewEmptyRange(0), map[key]struct{}{}, newPart(1, 0)
	if err := l.cover(); err != nil {
		return err
	}
	return l.openTail(1, 0)
}

// outside reads the checkpoints that are kept elsewhere.
func (l *Log) outside(cfg Config) ([]checkpoint, error) {
	var known []checkpoint
	if len(cfg.Anchor) > 0 && !holds(cfg.GivenUp, cfg.Anchor) {
		anchor, err := readCheckpoint(anchored, cfg.Anchor, l.signer.verifier)
		if err != nil {
			return nil, tampered(Finding{Forged, anchored, err.Error()})
		}
		anchor.signed, anchor.anchor = cfg.Anchor, true
		known = append(known, anchor)
	}
	for _, place := range cfg.Sinks {
		data, err := lastOf(place)
		if err != nil {
			l.unasked = append(l.unasked, Finding{Unread, place.Name(), fmt.Sprintf("what it keeps was not compared with the log when it was opened: %v", err)})
		}
		if err != nil || len(data) == 0 || holds(cfg.GivenUp, data) {
			continue
		}
		kept, err := readCheckpoint("the checkpoint in "+place.Name(), data, l.signer.verifier)
		if err != nil {
			l.unsigned(place.Name(), data)
			continue
		}
		kept.place, kept.signed, kept.anchor = place.Name(), data, bytes.Equal(data, cfg.Anchor)
		known = append(known, kept)
		l.compared[kept.place] = kept.signed
	}
	return known, nil
}

// sweep removes what a crash left of replacing the checkpoint.
func (l *Log) sweep() error {
	names, err := l.folder.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp") {
			if err := l.folder.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// openTail opens a segment to append to, and cuts off what a crash left half written beyond size.
func (l *Log) openTail(number int, size int64) error {
	tail, err := l.folder.Append(segment(number))
	if err != nil {
		return err
	}
	if tail.Size() > size {
		if err := tail.Cut(size); err != nil {
			_ = tail.Close()
			return err
		}
	}
	l.tail = tail
	return nil
}

// resumed is the log as a start finds it: the seals of all segments but the last, and what the last one holds.
type resumed struct {
	folder *durable.Folder
	sealed []*sealed
	fresh  []*sealed // those whose seal is not on disk
	tree   *compact.Range
	part   *part
	// covered is part without what is beyond the log's own checkpoint.
	covered part
	seen    map[key]struct{}
	unfit   []checkpoint // kept outside the folder, and of events that the log does not have
}

// resume finds where the log goes on. It believes nothing that does not hash to the log's own signed checkpoint: when the seals
// do not, all segments are read, and when these do not either, so that it can be said which lines are altered.
func (l *Log) resume(ctx context.Context, own checkpoint, known []checkpoint) (*resumed, error) {
	var err error
	for _, believe := range []bool{true, false} {
		r := &resumed{folder: l.folder, tree: tree.NewEmptyRange(0), seen: map[key]struct{}{}}
		err = r.read(ctx, own, l.groupAfter(own), known, believe)
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, ErrTampered) {
			return nil, err
		}
	}
	x, failed := examine(ctx, l.folder, &own, known, nil)
	if failed != nil {
		return nil, failed
	}
	if x.beyond > 1 {
		x.found(Uncovered, x.prior.String(), "%d events have no checkpoint; a crash leaves one at most, or one group that was signed", x.beyond)
	}
	if len(x.findings) > 0 {
		return nil, tampered(x.findings[0])
	}
	if x.newer != nil {
		return nil, x.newer
	}
	return nil, err
}

// groupAfter returns the checkpoint of the group of events whose lines were being written when own was the newest; one of no
// events when there is none.
func (l *Log) groupAfter(own checkpoint) checkpoint {
	data, err := l.folder.Read(groupFile)
	if err != nil {
		return checkpoint{}
	}
	group, err := readCheckpoint("the newest group's checkpoint", data, l.signer.verifier)
	if err != nil || group.size <= own.size+1 || group.size-own.size > maxGroup {
		return checkpoint{}
	}
	return group
}

// read takes up the log up to its last whole event. ErrTampered when it is not what own and the known checkpoints say.
func (r *resumed) read(ctx context.Context, own, group checkpoint, known []checkpoint, believe bool) error {
	files, missing, err := segments(r.folder)
	if err != nil {
		return err
	}
	if missing != "" {
		return tampered(Finding{Missing, missing, "it is not there"})
	}
	for number := 1; number < len(files); number++ {
		if err := r.readSealed(ctx, number, believe); err != nil {
			return err
		}
	}
	r.part = newPart(max(1, len(files)), r.tree.End())
	var beyond []line
	if len(files) > 0 {
		if beyond, err = r.readTail(ctx, own); err != nil {
			return err
		}
	}
	root, err := rootOf(r.tree)
	if err != nil {
		return err
	}
	if r.tree.End() != own.size || !bytes.Equal(root, own.root) {
		return tampered(Finding{Altered, segment(r.part.number), "the log is not what its own checkpoint covers"})
	}
	r.covered = *r.part
	if err := r.include(beyond, own, group); err != nil {
		return err
	}
	return r.compare(ctx, own, known)
}

func (r *resumed) readSealed(ctx context.Context, number int, believe bool) error {
	var s *sealed
	if believe {
		s = readSeal(r.folder, number, r.tree.End())
	}
	if s == nil {
		p, err := survey(ctx, r.folder, number, r.tree.End(), everything)
		if err != nil {
			return err
		}
		s = p.seal()
		r.fresh = append(r.fresh, s)
	}
	r.sealed = append(r.sealed, s)
	if err := r.tree.AppendRange(s.tree, nil); err != nil {
		return fmt.Errorf("hashing audit log: %w", err)
	}
	return nil
}

// readTail reads the last segment, and returns the lines beyond the log's own checkpoint.
func (r *resumed) readTail(ctx context.Context, own checkpoint) (beyond []line, err error) {
	for l, err := range lines(ctx, r.folder, []string{segment(r.part.number)}) {
		if err != nil {
			return nil, err
		}
		if r.tree.End() < own.size {
			if !l.whole {
				return nil, tampered(Finding{Malformed, l.String(), "the line is not an event"})
			}
			if err := r.add(l); err != nil {
				return nil, err
			}
			continue
		}
		if len(beyond) > maxGroup {
			return nil, tampered(Finding{Uncovered, l.String(), "these events have no checkpoint"})
		}
		l.text = bytes.Clone(l.text)
		beyond = append(beyond, l)
	}
	return beyond, nil
}

func (r *resumed) add(l line) error {
	id, _ := keyOf(l.text)
	if _, twice := r.seen[id]; twice {
		return tampered(Finding{Repeated, l.String(), "the event stands in the log before"})
	}
	leaf := hasher.HashLeaf(l.text)
	ok, err := r.part.add(l.text, leaf)
	if err != nil {
		return err
	}
	if !ok {
		return tampered(Finding{Malformed, l.String(), "the line is not an event"})
	}
	r.seen[id] = struct{}{}
	if err := r.tree.Append(leaf, nil); err != nil {
		return fmt.Errorf("hashing audit log: %w", err)
	}
	return nil
}

// include adds what a crash left beyond the checkpoint: one event, or the whole of a group that was signed before it was written.
// A half-written line, and a part of a group, nobody was told of: they are cut off.
func (r *resumed) include(beyond []line, own, group checkpoint) error {
	whole := 0
	for whole < len(beyond) && beyond[whole].whole {
		_, err := Decode(beyond[whole].text)
		if errors.Is(err, ErrNewer) {
			return tampered(Finding{Malformed, beyond[whole].String(), err.Error()})
		}
		if err != nil {
			break
		}
		whole++
	}
	grouped := int(group.size) - int(own.size) // of no group less than 2
	switch {
	case whole <= 1 && len(beyond)-whole <= 1: // one event was being appended
	case whole < grouped:
		return nil
	case whole != grouped || len(beyond) > whole:
		return tampered(Finding{Uncovered, segment(r.part.number), "these events have no checkpoint"})
	}
	for _, l := range beyond[:whole] {
		if err := r.add(l); err != nil {
			return err
		}
	}
	if whole <= 1 {
		return nil
	}
	if root, err := rootOf(r.tree); err != nil || !bytes.Equal(root, group.root) {
		return tampered(Finding{Uncovered, segment(r.part.number), "these events are not those of the checkpoint of their group"})
	}
	return nil
}

// compare holds the log against the checkpoints that are kept elsewhere. Of a log that was cut, what its own checkpoint does not
// cover is vouched for by nothing.
func (r *resumed) compare(ctx context.Context, own checkpoint, known []checkpoint) error {
	for _, k := range known {
		fits := false
		if k.size <= r.tree.End() {
			root, err := r.rootAt(ctx, k.size)
			if err != nil {
				return err
			}
			fits = bytes.Equal(root, k.root)
		}
		switch {
		case fits:
		case k.anchor && k.size > r.tree.End() && own.size < r.tree.End():
			return tampered(Finding{Uncovered, segment(r.part.number), fmt.Sprintf("its last %d events have no checkpoint, and %s has others", r.tree.End()-own.size, k.from)})
		case k.place != "" || k.size > r.tree.End():
			r.unfit = append(r.unfit, k)
		default:
			return tampered(Finding{Altered, k.from, "the log is not what it covers"})
		}
	}
	return nil
}

func (r *resumed) rootAt(ctx context.Context, size uint64) ([]byte, error) {
	if size == r.tree.End() {
		return rootOf(r.tree)
	}
	return rootAt(ctx, r.folder, r.sealed, size)
}
