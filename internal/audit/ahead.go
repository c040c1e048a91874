// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	formats "github.com/transparency-dev/formats/log"
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
	// Former: another key than the log's signed it. It is evidence against an empty log alone: anybody can write such a one.
	Former bool
}

// String says what it is evidence of.
func (o Outside) String() string {
	if o.Former {
		return fmt.Sprintf("%s keeps a checkpoint of %d events that another authority of this platform signed: the state folder may not be "+
			"the platform's own; look at `state` in the host file, and at what is to be mounted there", o.From, o.Size)
	}
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
	if givenUp {
		return nil
	}
	kept, err := readCheckpoint("the checkpoint in "+s.place.Name(), data, s.verifier)
	if err != nil {
		return strangers(data)
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

// unsigned notes what a place keeps that the log's key has not signed. It says nothing of what the log has, and must not stop
// it: who can write the place may not be trusted. But a new log of a name that had one before may be in the wrong folder.
func (l *Log) unsigned(place string, data []byte) {
	switch origin, size, is := claimed(data); {
	case !is:
		l.unasked = append(l.unasked, Finding{Unread, place, "it kept no checkpoint, so nothing was compared with the log when it was opened; it was written again"})
	case origin == l.signer.Origin() && size > 0:
		l.former = append(l.former, Outside{From: place, Size: size, Data: data, Former: true})
	}
}

// claimed is what a checkpoint says of itself; false when it has no checkpoint's form.
func claimed(data []byte) (origin string, size uint64, is bool) {
	var claims formats.Checkpoint
	_, err := claims.Unmarshal(data)
	return claims.Origin, claims.Size, err == nil
}

// strangers is the error of replacing what another key signed: it may be the only evidence that somebody else has. What has no
// checkpoint's form is no evidence.
func strangers(data []byte) error {
	origin, size, is := claimed(data)
	if !is {
		return nil
	}
	return fmt.Errorf("it keeps a checkpoint of %d events of %q that is not signed by the key of this record. It is not replaced: "+
		"give each platform a file of its own under `checkpoints` in the host file; if nobody needs that one, remove it", size, origin)
}
