// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// ErrBehind: a place keeps a checkpoint of more events than the log has, so an older log was put back. It can be read, and
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
}

// Ahead returns the checkpoints kept elsewhere that cover more events than the log has, those of places that came later
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

// apart sorts the checkpoints kept elsewhere that are ahead of the log out of what was found, and leaves the rest.
func (l *Log) apart(known []checkpoint, found []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f Finding) bool {
		at := slices.IndexFunc(known, func(k checkpoint) bool { return k.place != "" && k.from == f.Where })
		if f.Kind != Cut || at < 0 {
			return false
		}
		l.behind(known[at])
		return true
	})
}

// behind notes, before the sinks are started, what one of them keeps.
func (l *Log) behind(kept checkpoint) {
	l.early = append(l.early, Outside{kept.place, kept.size, kept.signed})
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

// compare holds what the place keeps against the checkpoint that it is offered: one of more events is evidence, and stays,
// unless a person gave it up.
func (s *sink) compare(data, offered []byte) error {
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
	if kept.size <= newest.size {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = &Outside{s.place.Name(), kept.size, bytes.Clone(data)}
	return fmt.Errorf("it holds a checkpoint of %d events and this log has %d: an older state was put back. It is not replaced", kept.size, newest.size)
}
