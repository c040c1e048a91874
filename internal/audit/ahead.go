// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrBehind: a place keeps a checkpoint of events that the log does not have, so an older log was put back. It can be read, and
// takes no event until a person gave that checkpoint up; see Log.GiveUp.
var ErrBehind = errors.New("the audit log is older than a checkpoint kept elsewhere")

// Outside is a checkpoint of this log that is kept elsewhere.
type Outside struct {
	// From is the name of the place.
	From string
	// Size is how many events it covers.
	Size uint64
	// Data is the signed checkpoint.
	Data []byte
	// Other: it covers other events than the log has, though not more: the log went on from where an older one was put back.
	Other bool
}

// String says what it is evidence of.
func (o Outside) String() string {
	if o.Other {
		return fmt.Sprintf("%s keeps a checkpoint of %d events that the record does not have: an older state was put back and went on, or the record was altered", o.From, o.Size)
	}
	return fmt.Sprintf("%s keeps a checkpoint of %d events, and the record has fewer: an older state was put back", o.From, o.Size)
}

// Ahead returns the checkpoints kept elsewhere that cover events which the log does not have, those of places that came later
// among them. While there is one, Append fails with ErrBehind.
func (l *Log) Ahead() []Outside {
	var all []Outside
	for _, s := range l.sinks {
		if ahead := s.aheadNow(); ahead != nil {
			all = append(all, *ahead)
		}
	}
	return all
}

// GiveUp says that a person gave these checkpoints up, as Config.GivenUp does: the places that keep them are offered the
// log's own again. Calling it again changes nothing.
func (l *Log) GiveUp(checkpoints ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sinks {
		s.giveUp(checkpoints)
		s.offer(l.signed)
	}
}

// behind notes, before the sinks are started, what one of them keeps of events that the log does not have, which has so many.
func (l *Log) behind(kept checkpoint, has uint64) {
	l.early = append(l.early, Outside{From: kept.place, Size: kept.size, Data: kept.signed, Other: kept.size <= has})
	delete(l.compared, kept.place) // it was not right
}

func (s *sink) aheadNow() *Outside {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ahead
}

func (s *sink) giveUp(checkpoints [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.givenUp = append(s.givenUp, checkpoints...)
	if s.ahead != nil && holds(s.givenUp, s.ahead.Data) {
		s.ahead = nil
	}
}

func holds(checkpoints [][]byte, data []byte) bool {
	return slices.ContainsFunc(checkpoints, func(held []byte) bool { return bytes.Equal(held, data) })
}

// has reports whether the log holds, as it is on disk, the events that a checkpoint covers. It costs a reading of the segment in
// which they end.
func (l *Log) has(ctx context.Context, c checkpoint) (bool, error) {
	now := l.shown.Load()
	if c.size > now.covered {
		return false, nil
	}
	root, err := rootAt(ctx, l.folder, now.sealed, c.size)
	return err == nil && bytes.Equal(root, c.root), err
}

// compare holds what the place keeps against the log, whose newest checkpoint it is offered: one of events that the log does
// not have is evidence, and stays, unless a person gave it up.
func (s *sink) compare(ctx context.Context, data, offered []byte) error {
	s.mu.Lock()
	givenUp := holds(s.givenUp, data)
	s.mu.Unlock()
	kept, err := readCheckpoint("the checkpoint in "+s.place.Name(), data, s.verifier)
	if err != nil || givenUp { // what is not signed by the log's key is nobody's evidence: see lastOf
		return nil //nolint:nilerr // as said
	}
	newest, err := readCheckpoint("the newest checkpoint", offered, s.verifier)
	if err != nil {
		return err
	}
	ahead := Outside{From: s.place.Name(), Size: kept.size, Data: bytes.Clone(data), Other: kept.size <= newest.size}
	if ahead.Other {
		if bytes.Equal(data, s.compared) {
			return nil
		}
		has, err := s.has(context.WithoutCancel(ctx), kept) // it may take longer than the place is waited for
		if err != nil {
			return err
		}
		if has {
			s.compared = bytes.Clone(data)
			return nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = &ahead
	return fmt.Errorf("%s. It is not replaced", ahead)
}
