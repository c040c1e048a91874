// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
)

// Events yields, in order, the events that filter selects of those in the log at the time of the call. It reads the
// files as they are and checks no hash: that is Verify's. With a run or a secret in the filter it costs a look-up in the index of
// each segment that may hold one of its events, and a reading of those; without, a reading of the log from Skip on.
func (l *Log) Events(ctx context.Context, filter Filter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(Event{}, fmt.Errorf("reading audit log: %w", err))
			return
		}
		now := l.shown.Load()
		for _, s := range now.sealed {
			if s.may(filter) && !l.sealedEvents(ctx, s, filter, yield) {
				return
			}
		}
		tail := stretch{l, now.tail.number, now.tail.begin, now.covered}
		if hash, mask, ok := filter.hash(); ok && filter.Skip <= tail.begin {
			var offsets []uint32
			for _, e := range now.tail.entries {
				if e.hash&mask == hash {
					offsets = append(offsets, e.at)
				}
			}
			tail.at(offsets, filter, yield)
			return
		}
		tail.all(ctx, filter, yield)
	}
}

// hash is what an index is asked for the events of a filter; false when it would have to name all.
func (f Filter) hash() (hash, mask uint64, ok bool) {
	switch {
	case f.Run != "":
		return runHash(raw(string(f.Run))), ^uint64(stepMask), true
	case f.Secret != "":
		return secretHash(raw(f.Secret)), ^uint64(0), true
	}
	return 0, 0, false
}

// sealedEvents yields the events of a sealed segment; false when the reader has enough, or failed.
func (l *Log) sealedEvents(ctx context.Context, s *sealed, filter Filter, yield func(Event, error) bool) bool {
	within := stretch{l, s.number, s.begin, s.end}
	hash, mask, ok := filter.hash()
	if !ok || filter.Skip > s.begin { // the index knows no numbers
		return within.all(ctx, filter, yield)
	}
	offsets, err := l.find(ctx, s, hash, mask)
	if err != nil {
		yield(Event{}, fmt.Errorf("reading audit log: %w", err))
		return false
	}
	return within.at(offsets, filter, yield)
}

// stretch is a run of events, from begin to end of the log's, that stand in one segment.
type stretch struct {
	log        *Log
	number     int
	begin, end uint64
}

// all yields the events that filter selects.
func (s stretch) all(ctx context.Context, filter Filter, yield func(Event, error) bool) bool {
	next := s.begin
	for line, err := range lines(ctx, s.log.folder, []string{segment(s.number)}) {
		if next == s.end {
			break
		}
		if err != nil {
			yield(Event{}, err)
			return false
		}
		if next++; next <= filter.Skip {
			continue
		}
		event, err := Decode(line.text)
		if err != nil {
			yield(Event{}, fmt.Errorf("reading audit log: %s: %w", line.place, err))
			return false
		}
		if filter.Match(event) && !yield(event, nil) {
			return false
		}
	}
	return true
}

// at yields the events at these offsets that filter selects.
func (s stretch) at(offsets []uint32, filter Filter, yield func(Event, error) bool) bool {
	if len(offsets) == 0 {
		return true
	}
	stop := false
	err := s.log.linesAt(s.number, offsets, func(text []byte) (bool, error) {
		event, err := Decode(text)
		if err != nil {
			return false, err
		}
		stop = filter.Match(event) && !yield(event, nil)
		return !stop, nil
	})
	if err != nil {
		yield(Event{}, fmt.Errorf("reading audit log: %w", err))
		return false
	}
	return !stop
}

// linesAt gives take the lines at these offsets of a segment until it has enough. A line is valid until the next.
func (l *Log) linesAt(number int, offsets []uint32, take func(text []byte) (more bool, err error)) error {
	file, err := l.folder.Reader(segment(number))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	reader := bufio.NewReaderSize(nil, 1<<10)
	for _, at := range offsets {
		reader.Reset(io.NewSectionReader(file, int64(at), maxLine))
		text, err := reader.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%s, byte %d: %w", segment(number), at, err)
		}
		more, err := take(bytes.TrimSuffix(text, []byte("\n")))
		if err != nil {
			return fmt.Errorf("%s, byte %d: %w", segment(number), at, err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// there reports whether the log holds the event of this run and step already.
func (l *Log) there(ctx context.Context, text []byte, id key) (bool, error) {
	if _, there := l.seen[id]; there {
		return true, nil
	}
	run := runHash(field(text, beforeKey))
	for i := len(l.sealed) - 1; i >= 0; i-- {
		s := l.sealed[i]
		if !s.keys.has(run) {
			continue
		}
		offsets, err := l.find(ctx, s, run|id.step(), ^uint64(0))
		if err != nil {
			return false, err
		}
		found := false
		err = l.linesAt(s.number, offsets, func(text []byte) (bool, error) {
			other, ok := keyOf(text)
			found = ok && other == id
			return !found, nil
		})
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}
