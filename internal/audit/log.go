// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/transparency-dev/merkle/compact"

	"custody.dev/custody/internal/durable"
)

// Errors that callers branch on.
var (
	// ErrTampered: the log is not what its checkpoints say. A person decides; nothing was changed.
	ErrTampered = errors.New("the audit log was altered")
	// ErrInUse: another process, or another part of this one, has the log open.
	ErrInUse = errors.New("the audit log is open elsewhere")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the audit log is closed")
)

// SegmentBytes is how large a file of the log grows before the next begins.
const SegmentBytes = 16 << 20

// Config is what a log needs.
type Config struct {
	// Folder is the log's own: nothing else is kept in it. The log does not close it.
	Folder *durable.Folder
	// Signer signs the checkpoints.
	Signer *Signer
	// Clock dates events that carry no time.
	Clock func() time.Time
	// Anchor is the newest checkpoint that the authority knows, nil when it knows none. It shows a tail cut off
	// together with the checkpoint.
	Anchor []byte
	// Sinks are further places for checkpoints. One that keeps a checkpoint of events that the log does not have makes Ahead
	// say so, and Append fail.
	Sinks []Sink
	// GivenUp are checkpoints that a person gave up when an older state was put back: they count as if they were not there.
	GivenUp [][]byte
	// SegmentBytes is SegmentBytes when zero.
	SegmentBytes int64
}

// Log is an open log. Its methods may be called at the same time. While the disk holds up an append, only Append, GiveUp
// and Close wait for it.
type Log struct {
	folder  *durable.Folder
	signer  *Signer
	clock   func() time.Time
	segment int64 // bytes

	// shown is what the log was after the last append that ended, and broken that it can take no more: they are read without mu,
	// which an append holds while the disk takes it, however long that is.
	shown  atomic.Pointer[shown]
	broken atomic.Bool

	mu      sync.Mutex
	lock    *durable.Lock
	tail    *durable.Appender
	files   int
	tree    *compact.Range
	seen    map[key]struct{}
	covered uint64 // events that signed covers; one less than the tree holds after a failed append
	signed  []byte
	closed  bool
	sinks   []*sink
	// unasked are the sinks that could not say what they keep when the log was opened.
	unasked []Finding
	// compared is what each sink kept when it was held against the log, by its name.
	compared map[string][]byte
	// early are the checkpoints ahead of the log that were found before the sinks were started.
	early []Outside
}

// shown is what questions about the log are answered from.
type shown struct {
	covered uint64 // events that signed covers
	signed  []byte
	files   int // that those events are in
}

func (l *Log) show() { l.shown.Store(&shown{l.covered, l.signed, l.files}) }

// Open opens the log in cfg.Folder, or begins one when the folder holds none. It reads all of it, takes up an event
// that a crash left without a checkpoint (on a full disk the next Append does), and cuts a line that a crash left half
// written. ErrTampered when the log is not what its checkpoint or the anchor says; ErrInUse when it is open elsewhere. A sink
// that knows of events which the log does not have is no error: see Ahead.
func Open(cfg Config) (log *Log, err error) {
	if cfg.Folder == nil || cfg.Signer == nil || cfg.Clock == nil {
		return nil, errors.New("opening audit log: folder, signer and clock must be given")
	}
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = SegmentBytes
	}
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
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	l.show()
	for _, place := range cfg.Sinks {
		var ahead *Outside
		if at := slices.IndexFunc(l.early, func(o Outside) bool { return o.From == place.Name() }); at >= 0 {
			ahead = &l.early[at]
		}
		s := &sink{place: place, verifier: l.signer.verifier, has: l.has, compared: l.compared[place.Name()], ahead: ahead, givenUp: slices.Clone(cfg.GivenUp)}
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
		for _, k := range known {
			if k.size > 0 && k.place != "" {
				l.behind(k, 0)
			} else if k.size > 0 {
				return tampered(Finding{Missing, k.from, fmt.Sprintf("it covers %d events, and there is no log", k.size)})
			}
		}
		l.tree, l.seen = tree.NewEmptyRange(0), map[key]struct{}{}
		if err := l.cover(); err != nil {
			return err
		}
		return l.openTail(1, 0)
	}
	own, data, finding, err := ownOf(l.folder, l.signer.verifier)
	if err != nil {
		return err
	}
	if finding != nil {
		return tampered(*finding)
	}
	x, err := examine(context.Background(), l.folder, own, known, false)
	if err != nil {
		return err
	}
	if x.beyond > 1 {
		x.found(Uncovered, x.prior.String(), "%d events have no checkpoint; a crash leaves one at most", x.beyond)
	}
	if len(x.findings) > 0 {
		return tampered(x.findings[0])
	}
	if x.newer != nil {
		return x.newer
	}
	for _, kept := range x.unfit {
		l.behind(kept, x.tree.End())
	}
	l.tree, l.seen, l.covered, l.signed = x.tree, x.seen, own.size, data
	size := x.tailSize
	if len(x.files) > 0 && x.prior.file != x.files[len(x.files)-1] {
		size = 0 // a file was begun and nothing written to it
	}
	if err := l.openTail(max(1, len(x.files)), size); err != nil {
		return err
	}
	err = l.cover()
	if slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, func(full error) bool { return errors.Is(err, full) }) {
		return nil // the next append covers first; until then what is on record can be read, and it is said what to mend
	}
	return err
}

// outside reads the checkpoints that are kept elsewhere.
func (l *Log) outside(cfg Config) ([]checkpoint, error) {
	var known []checkpoint
	if len(cfg.Anchor) > 0 {
		anchor, err := readCheckpoint("the authority's checkpoint", cfg.Anchor, l.signer.verifier)
		if err != nil {
			return nil, tampered(Finding{Forged, "the authority's checkpoint", err.Error()})
		}
		known = append(known, anchor)
	}
	for _, place := range cfg.Sinks {
		kept, ok, err := lastOf(place, l.signer.verifier, cfg.GivenUp)
		if ok {
			known = append(known, kept)
			l.compared[kept.place] = kept.signed
		}
		if err != nil {
			l.unasked = append(l.unasked, Finding{Unread, place.Name(), fmt.Sprintf("what it keeps was not compared with the log when it was opened: %v", err)})
		}
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

// openTail opens the last file and cuts off what a crash left half written beyond size.
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
	l.tail, l.files = tail, number
	return nil
}

func tampered(f Finding) error { return fmt.Errorf("%w: %s", ErrTampered, f) }

// Append adds e to the log, durably and covered by a signed checkpoint before it returns nil. An event whose (Run,
// Step) is there already, whatever else it says, adds nothing. After an error the event may or may not be in the log;
// repeating the call settles it. ErrInvalid is terminal; ErrBehind lasts until GiveUp. Reason and Detail are cut to 4 KiB.
func (l *Log) Append(ctx context.Context, e Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("appending audit event: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.At.IsZero() {
		e.At = l.clock()
	}
	text, err := Encode(e)
	if err != nil {
		return err
	}
	if err := l.append(text); err != nil {
		return fmt.Errorf("appending audit event: %w", err)
	}
	return nil
}

func (l *Log) append(text []byte) error {
	if l.closed {
		return ErrClosed
	}
	if len(l.Ahead()) > 0 {
		return ErrBehind
	}
	// What a failed append left is covered first, so that never more than one event is without a checkpoint.
	if err := l.cover(); err != nil {
		return err
	}
	id, ok := keyOf(text)
	if !ok {
		return ErrInvalid
	}
	if _, there := l.seen[id]; there {
		return nil
	}
	if err := l.turn(len(text) + 1); err != nil {
		return err
	}
	if err := l.tail.Append(append(text, '\n')); err != nil {
		l.broken.Store(l.tail.Broken())
		return err
	}
	if err := l.tree.Append(hasher.HashLeaf(text), nil); err != nil {
		return err
	}
	l.seen[id] = struct{}{}
	return l.cover()
}

// turn begins the next file when the present one has no room for another line.
func (l *Log) turn(line int) error {
	if l.tail.Size() == 0 || l.tail.Size()+int64(line) <= l.segment {
		return nil
	}
	full := l.tail
	if err := l.openTail(l.files+1, 0); err != nil {
		return err
	}
	return full.Close()
}

// cover replaces the checkpoint with one over all events, unless that is there.
func (l *Log) cover() error {
	if l.signed != nil && l.covered == l.tree.End() {
		return nil
	}
	x := examination{tree: l.tree}
	root, err := x.root()
	if err != nil {
		return err
	}
	signed, err := l.signer.sign(l.tree.End(), root)
	if err != nil {
		return err
	}
	if err := l.folder.Replace(checkpointFile, signed, durable.Private); err != nil {
		return err
	}
	l.covered, l.signed = l.tree.End(), signed
	l.show()
	for _, s := range l.sinks {
		s.offer(signed)
	}
	return nil
}

// Checkpoint returns the newest signed checkpoint. Keep it where whoever writes the log cannot rewrite it.
func (l *Log) Checkpoint() []byte { return append([]byte(nil), l.shown.Load().signed...) }

// Size is the number of events that the newest checkpoint covers.
func (l *Log) Size() uint64 { return l.shown.Load().covered }

// Events yields, in order, the events that filter selects of those in the log at the time of the call. It reads the
// files as they are and checks no hash: that is Verify's. It costs a reading of the whole log.
func (l *Log) Events(ctx context.Context, filter Filter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		now := l.shown.Load()
		left := now.covered
		files := make([]string, now.files)
		for i := range files {
			files[i] = segment(i + 1)
		}
		for line, err := range lines(ctx, l.folder, files) {
			if left == 0 {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			left--
			event, err := Decode(line.text)
			if err != nil {
				yield(Event{}, fmt.Errorf("reading audit log: %s: %w", line.place, err))
				return
			}
			if filter.Match(event) && !yield(event, nil) {
				return
			}
		}
	}
}

// Findings says which sinks do not hold the newest checkpoint, or were not compared with the log when it was opened, and
// why.
func (l *Log) Findings() []Finding {
	all := slices.Clone(l.unasked)
	for _, s := range l.sinks {
		all = append(all, s.findings()...)
	}
	return all
}

// Broken says that the log can take no event any more until it is opened again, "" while it can: an append failed and
// could not be taken back, so what the last file ends with is not known.
func (l *Log) Broken() string {
	if !l.broken.Load() {
		return ""
	}
	return "an append to the audit log failed and could not be taken back"
}

// Close gives the log back, after the sinks have been offered the last checkpoint. Closing again does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.broken.Store(false)
	for _, s := range l.sinks {
		s.stop()
	}
	return errors.Join(l.tail.Close(), l.lock.Close())
}
