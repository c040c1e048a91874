// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

// maxSegment keeps offsets in a segment within what an index holds.
const maxSegment = 1 << 30

// Config is what a log needs.
type Config struct {
	// Folder is the log's own: nothing else is kept in it. The log does not close it.
	Folder *durable.Folder
	// Signer signs the checkpoints.
	Signer *Signer
	// Clock dates events that carry no time.
	Clock func() time.Time
	// Anchor is the newest checkpoint that the authority knows, nil when it knows none. It shows a tail cut off
	// together with the checkpoint: Ahead then says so, and Append fails.
	Anchor []byte
	// Sinks are further places for checkpoints. One that keeps a checkpoint of events that the log does not have makes Ahead
	// say so, and Append fail.
	Sinks []Sink
	// GivenUp are checkpoints that a person gave up when an older state was put back: they count as if they were not there.
	GivenUp [][]byte
	// SegmentBytes is SegmentBytes when zero, and at most maxSegment.
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

	// queue guards waiting, the calls of Append that nobody serves yet. Whoever has mu serves them all.
	queue   sync.Mutex
	waiting []*waiter

	// indexing is held while an index is opened or made.
	indexing sync.Mutex

	mu      sync.Mutex
	lock    *durable.Lock
	tail    *durable.Appender
	tree    *compact.Range
	sealed  []*sealed
	part    *part            // the last segment
	seen    map[key]struct{} // what is in it
	covered uint64           // events that signed covers; fewer than the tree holds after a failed append
	signed  []byte
	closed  bool
	sinks   []*sink
	// unasked are the sinks that could not say what they keep when the log was opened.
	unasked []Finding
	// compared is what each sink kept when it was held against the log, by its name.
	compared map[string][]byte
	// early are the checkpoints ahead of the log that were found before the sinks were started.
	early []Outside
	// cut is the anchor where it covers more events than the log has and no sink keeps it; nil once it was given up.
	cut atomic.Pointer[Outside]
	// former are the checkpoints of the log's name that another key signed, which count while the log is empty.
	former []Outside
}

// shown is what questions about the log are answered from.
type shown struct {
	covered uint64 // events that signed covers
	signed  []byte
	sealed  []*sealed
	tail    part // its entries are those of the covered events
}

func (l *Log) show() { l.shown.Store(&shown{l.covered, l.signed, l.sealed, *l.part}) }

// Size is the number of events that the newest checkpoint covers.
func (l *Log) Size() uint64 { return l.shown.Load().covered }

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
	return "an append to the audit log failed and could not be undone"
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

// anchored is where a finding is about the checkpoint that the authority keeps.
const anchored = "the authority's checkpoint"

func tampered(f Finding) error { return alteration{found: f} }

// alteration is why a log does not open.
type alteration struct {
	found Finding
	// folder is the log's, "" until that is known.
	folder string
}

// in names the folder of the log that was altered, for what to do about it.
func in(folder string, err error) error {
	var a alteration
	if !errors.As(err, &a) {
		return err
	}
	a.folder = folder
	return a
}

func (a alteration) Error() string { return fmt.Sprintf("%s: %s", ErrTampered, a.found) }

func (alteration) Unwrap() error { return ErrTampered }

// Hint is the next move. Nothing vouches for what the folder holds, so it goes on only without it.
func (a alteration) Hint() string {
	if a.folder == "" {
		return ""
	}
	if a.found.Where == anchored {
		return "restore the newest copy of the whole state folder while no server runs; do not delete anything"
	}
	return fmt.Sprintf("restore the newest copy of %[1]s while no server runs. If there is none: mv %[1]s %[1]s.kept, then start custody; "+
		"it says what is missing and does nothing until `custody recover accept --reason TEXT` puts that on record. Delete nothing", a.folder)
}
