// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/transparency-dev/merkle/compact"

	"custody.dev/custody/internal/durable"
)

// groupFile holds the signed checkpoint of the newest group of events, from before its first line was written: events beyond the
// log's own checkpoint are taken up, after a crash, if this one covers them.
const groupFile = "group"

// maxGroup bounds how many events share one write.
const maxGroup = 128

// waiter is a call of Append. The log's mu guards it once it waits.
type waiter struct {
	event Event
	text  []byte
	id    key
	done  bool
	err   error
}

// Append adds e to the log, durably and covered by a signed checkpoint before it returns nil. An event whose (Run,
// Step) is there already, whatever else it says, adds nothing. After an error the event may or may not be in the log;
// repeating the call settles it. ErrInvalid is terminal; ErrBehind lasts until GiveUp. Reason and Detail are cut to 4 KiB.
//
// Calls that come while the disk takes others are written together, in the order in which they came, and share their syncs and
// their failure.
func (l *Log) Append(ctx context.Context, e Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("appending audit event: %w", err)
	}
	w := &waiter{event: e}
	l.queue.Lock()
	l.waiting = append(l.waiting, w)
	l.queue.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !w.done { // nobody took it along
		l.queue.Lock()
		waiting := l.waiting
		l.waiting = nil
		l.queue.Unlock()
		l.serve(context.WithoutCancel(ctx), waiting)
	}
	return w.err
}

// serve appends for all of these calls.
func (l *Log) serve(ctx context.Context, waiting []*waiter) {
	err := l.ready()
	for at := 0; at < len(waiting) && err == nil; {
		var taken int
		taken, err = l.together(ctx, waiting[at:])
		at += taken
	}
	for _, w := range waiting {
		if !w.done { // it was not reached
			w.fail(err)
		}
	}
}

func (w *waiter) fail(err error) {
	if w.done = true; err != nil {
		w.err = fmt.Errorf("appending audit event: %w", err)
	}
}

// ready says why the log takes no event. What a failed append left is covered first, so that never more than one group is without
// a checkpoint.
func (l *Log) ready() error {
	if l.closed {
		return ErrClosed
	}
	if len(l.Ahead()) > 0 {
		return ErrBehind
	}
	return l.cover()
}

// together appends what can be written at once, in one segment, for the first of these calls, and says of how many. The error is
// that of the disk, which those calls share.
func (l *Log) together(ctx context.Context, waiting []*waiter) (taken int, err error) {
	group, lines, bytes := map[key]*waiter{}, [][]byte(nil), int64(0)
	sharing := []*waiter(nil)
	for taken < len(waiting) {
		w := waiting[taken]
		if there, err := l.encode(ctx, w); there || err != nil {
			w.done, w.err = true, err
			taken++
			continue
		}
		if group[w.id] == nil {
			size := int64(len(w.text)) + 1
			if len(lines) > 0 && (len(lines) == maxGroup || bytes+size > l.room(lines[0])) {
				break
			}
			group[w.id], lines, bytes = w, append(lines, w.text), bytes+size
		}
		sharing = append(sharing, w)
		taken++
	}
	if len(lines) == 0 {
		return taken, nil
	}
	err = l.write(lines, bytes)
	for _, w := range sharing {
		w.fail(err)
	}
	return taken, err
}

// encode gives a call its line, and reports whether its event is there already.
func (l *Log) encode(ctx context.Context, w *waiter) (there bool, err error) {
	if w.text == nil {
		if w.event.At.IsZero() {
			w.event.At = l.clock()
		}
		if w.text, err = Encode(w.event); err != nil {
			return false, err
		}
		w.id, _ = keyOf(w.text) // what Encode wrote has one
	}
	if there, err = l.there(ctx, w.text, w.id); err != nil {
		err = fmt.Errorf("appending audit event: %w", err)
	}
	return there, err
}

// room is how many bytes the segment takes that the line begins to be written to.
func (l *Log) room(first []byte) int64 {
	if l.full(len(first) + 1) {
		return l.segment
	}
	return l.segment - l.tail.Size()
}

// full reports whether so many bytes more are to begin another segment.
func (l *Log) full(bytes int) bool {
	return l.tail.Size() > 0 && l.tail.Size()+int64(bytes) > l.segment
}

// write adds lines to the log, and covers them.
func (l *Log) write(lines [][]byte, bytes int64) error {
	if l.full(len(lines[0]) + 1) {
		if err := l.turn(); err != nil {
			return err
		}
	}
	leaves, data := make([][]byte, 0, len(lines)), make([]byte, 0, bytes)
	for _, text := range lines {
		leaves = append(leaves, hasher.HashLeaf(text))
		data = append(append(data, text...), '\n')
	}
	if len(lines) > 1 {
		if err := l.announce(leaves); err != nil {
			return err
		}
	}
	if err := l.tail.Append(data); err != nil {
		l.broken.Store(l.tail.Broken())
		return err
	}
	for i, text := range lines {
		if err := l.take(text, leaves[i]); err != nil {
			return err
		}
	}
	return l.cover()
}

// take adds a line that is written to what is known of the log.
func (l *Log) take(text, leaf []byte) error {
	id, _ := keyOf(text)
	l.seen[id] = struct{}{}
	if _, err := l.part.add(text, leaf); err != nil {
		return err
	}
	if err := l.tree.Append(leaf, nil); err != nil {
		return fmt.Errorf("hashing audit log: %w", err)
	}
	return nil
}

// announce puts the checkpoint of a group beside the log's own before its lines are written. It is overwritten in place: a half
// of it counts for nothing, and no line of the group is there then.
func (l *Log) announce(leaves [][]byte) error {
	whole, err := cloned(l.tree)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		if err := whole.Append(leaf, nil); err != nil {
			return fmt.Errorf("hashing audit log: %w", err)
		}
	}
	root, err := rootOf(whole)
	if err != nil {
		return err
	}
	signed, err := l.signer.sign(whole.End(), root)
	if err != nil {
		return err
	}
	err = l.folder.Overwrite(groupFile, signed, durable.Private)
	if errors.Is(err, fs.ErrNotExist) {
		return l.folder.Create(groupFile, signed)
	}
	return err
}

func cloned(of *compact.Range) (*compact.Range, error) {
	whole := tree.NewEmptyRange(of.Begin())
	if err := whole.AppendRange(of, nil); err != nil {
		return nil, fmt.Errorf("hashing audit log: %w", err)
	}
	return whole, nil
}

// turn seals the present segment and begins the next. That the seal or the index cannot be written is no fault: a start, or the
// first question, makes them anew.
func (l *Log) turn() error {
	full, last := l.tail, l.part
	if err := l.openTail(last.number+1, 0); err != nil {
		return err
	}
	s := last.seal()
	_ = s.write(l.folder)
	s.indexed = l.folder.Replace(indexFile(s.number), indexOf(s, last.entries), durable.Private) == nil
	l.sealed, l.part, l.seen = append(l.sealed, s), newPart(last.number+1, s.end), map[key]struct{}{}
	return full.Close()
}

// cover replaces the checkpoint with one over all events, unless that is there.
func (l *Log) cover() error {
	if l.signed != nil && l.covered == l.tree.End() {
		return nil
	}
	root, err := rootOf(l.tree)
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
