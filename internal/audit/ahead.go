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

	formats "github.com/transparency-dev/formats/log"
)

// StepGap is the step of the event that says which events a person went on without. Verify reports it.
const StepGap = "record-gap"

// ErrBehind: a place keeps a checkpoint of events that the log does not have, so an older log was put back, or its newest events
// were cut off. It can be read, and takes no event until a person gave that checkpoint up; see Log.GiveUp.
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
	// Cut: it is the one that the authority knows, so the authority's state is not older: the log alone lacks its newest events.
	Cut bool
	// Former: another key than the log's signed it. It is evidence against an empty log alone: anybody can write such a one.
	Former bool
}

// String says what it is evidence of.
func (o Outside) String() string {
	if o.Former {
		return fmt.Sprintf("%s keeps a checkpoint of %d events that another authority of this platform signed: the state folder may not be "+
			"the platform's own; check `state` in the host file, and that the right disk is mounted", o.From, o.Size)
	}
	if o.Other {
		return fmt.Sprintf("%s keeps a checkpoint of %d events that the record does not have: an older state was restored and used, or the record was altered", o.From, o.Size)
	}
	if o.Cut {
		return fmt.Sprintf("%s keeps a checkpoint of %d events, and the record has fewer: it was cut, or only the record was restored from an older copy", o.From, o.Size)
	}
	return fmt.Sprintf("%s keeps a checkpoint of %d events, and the record has fewer: an older state was restored", o.From, o.Size)
}

// Missing says which events a log of so many lacks, "" where that is not known.
func (o Outside) Missing(has uint64) string {
	if o.Former || o.Size <= has {
		return ""
	}
	return fmt.Sprintf("events %d to %d are missing", has+1, o.Size)
}

// GapOf is what a log of so many events says of what it goes on without: which events, by which checkpoints, each with its root
// hash, by which a copy that is found later can be told. "" where no checkpoint of this log is given up.
func GapOf(ahead []Outside, has uint64) string {
	var given []string
	for _, o := range ahead {
		if o.Former {
			continue
		}
		what := o.Missing(has)
		if what == "" {
			what = fmt.Sprintf("other events are among the first %d", o.Size)
		}
		_, _, root := claimed(o.Data)
		given = append(given, fmt.Sprintf("%s, by the checkpoint of %d events in %s (root %x)", what, o.Size, o.From, root))
	}
	if len(given) == 0 {
		return ""
	}
	return fmt.Sprintf("the record goes on after event %d: %s", has, strings.Join(given, "; "))
}

// Ahead returns the checkpoints kept elsewhere that cover events which the log does not have, those of places that came later
// among them. While there is one, Append fails with ErrBehind.
func (l *Log) Ahead() []Outside {
	var all []Outside
	if cut := l.cut.Load(); cut != nil {
		all = append(all, *cut)
	}
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
	if cut := l.cut.Load(); cut != nil && holds(checkpoints, cut.Data) {
		l.cut.Store(nil)
	}
	for _, s := range l.sinks {
		s.giveUp(checkpoints)
		s.offer(l.signed)
	}
}

// behind notes, before the sinks are started, what is kept outside the folder of events that the log does not have, which has so
// many.
func (l *Log) behind(kept checkpoint, has uint64) {
	found := Outside{From: cmp.Or(kept.place, kept.from), Size: kept.size, Data: kept.signed, Other: kept.size <= has, Cut: kept.anchor && kept.size > has}
	if kept.place == "" {
		l.cut.Store(&found)
		return
	}
	if found.Cut {
		l.cut.Store(nil) // the place says it
	}
	l.early = append(l.early, found)
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
	ahead.Cut = !ahead.Other && bytes.Equal(data, s.anchor)
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
	switch origin, size, root := claimed(data); {
	case root == nil:
		l.unasked = append(l.unasked, Finding{Unread, place, "it kept no checkpoint, so nothing was compared with the log when it was opened; it was written again"})
	case origin == l.signer.Origin() && size > 0:
		l.former = append(l.former, Outside{From: place, Size: size, Data: data, Former: true})
	}
}

// claimed is what a checkpoint says of itself; root is nil when it has no checkpoint's form.
func claimed(data []byte) (origin string, size uint64, root []byte) {
	var claims formats.Checkpoint
	if _, err := claims.Unmarshal(data); err != nil {
		return "", 0, nil
	}
	return claims.Origin, claims.Size, claims.Hash
}

// strangers is the error of replacing what another key signed: it may be the only evidence that somebody else has. What has no
// checkpoint's form is no evidence.
func strangers(data []byte) error {
	origin, size, root := claimed(data)
	if root == nil {
		return nil
	}
	return fmt.Errorf("it keeps a checkpoint of %d events of %q that is not signed by the key of this record. It is not replaced: "+
		"give each platform a file of its own under `checkpoints` in the host file; if nobody needs that one, remove it", size, origin)
}
