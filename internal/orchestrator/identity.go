// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// place finds out which declared secrets are not the ones that the history at their paths is of, once for each Use. It
// costs one listing of the journal. The listing may lack what was written lately: that a secret is misplaced is believed, and
// that it is not is confirmed before its history begins.
func (o *Orchestrator) place(ctx context.Context) error {
	o.mu.Lock()
	placed := o.placed == o.uses
	o.mu.Unlock()
	if placed {
		return nil
	}
	return o.oneAtATime(ctx, func() error { return o.compare(ctx, nil) })
}

// oneAtATime runs compare while nobody else does. All secrets need a comparison at the same moment, after each Use, and the first
// serves the others: each for itself would hold as many listings of the journal as there are secrets. Who waits holds no worker's
// place, which whoever compares needs between its calls.
func (o *Orchestrator) oneAtATime(ctx context.Context, compare func() error) error {
	if err := o.comparing.Enter(ctx, outward.First); err != nil {
		return err
	}
	defer o.comparing.Leave()
	return compare()
}

// compare is place; with written, which was stored since the last Use, the listing must show that, or it is ErrBehind. What was
// found on such a listing is confirmed.
//
// A look that began under an earlier declaration may be about to write history that no listing shows yet: it counts as
// written, and the comparison is made again after it.
func (o *Orchestrator) compare(ctx context.Context, written *journal.Entry) error {
	for {
		o.mu.Lock()
		use := o.uses
		if o.placed == use && written == nil {
			o.mu.Unlock()
			return nil
		}
		var declared []journal.Declared
		for _, s := range o.secrets {
			declared = append(declared, journal.Declared{Name: s.Subject.Secret, Former: s.Former, Path: s.Path})
		}
		var unfinished []*journal.Entry
		for path, before := range o.busy {
			if now := o.secrets[path]; now.Subject.Secret != before.Subject.Secret || now.SentTo != before.SentTo {
				unfinished = append(unfinished, &journal.Entry{
					Secret: before.Subject.Secret, Path: path, Upstream: &before.SentTo, Last: &journal.Outcome{},
				})
			}
		}
		secrets := maps.Clone(o.secrets)
		o.mu.Unlock()
		entries, err := o.Journal.All(ctx)
		if err != nil {
			return err
		}
		if written != nil && !written.In(entries) {
			return fmt.Errorf("looking for the history of %s: %w", written.Path, journal.ErrBehind)
		}
		misplaced := journal.Misplaced(append(entries, unfinished...), declared)
		moved := map[authority.Path]reason.Reason{}
		for _, entry := range append(entries, unfinished...) {
			if why := strange(entry, secrets[entry.Path]); !why.None() {
				moved[entry.Path] = why
			}
		}
		o.mu.Lock()
		current := o.uses == use
		if current {
			o.misplaced, o.moved = misplaced, moved
			switch {
			case len(unfinished) > 0:
				o.written = nil // what they write comes after it
			case written != nil:
				o.placed, o.confirmed = use, use
			default:
				o.placed = use
			}
		}
		o.mu.Unlock()
		if current {
			return nil
		}
		if written != nil {
			return outward.ErrChanged // what was written before the estate changed shows nothing
		}
	}
}

// confirm finds out whether a secret without a history, which is about to begin one, has none for certain, and returns why it
// must not: a standby that lags knows of no history yet. So it writes first, and believes only a listing that shows what it
// wrote. It costs one read, and for each Use that declares a secret without a history one write and one listing of the journal.
func (o *Orchestrator) confirm(ctx context.Context, s Secret) (held reason.Reason, err error) {
	o.mu.Lock()
	use, confirmed := o.uses, o.confirmed == o.uses
	o.mu.Unlock()
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return reason.Reason{}, err
	}
	if entry.Begun() {
		declared := journal.Declared{Name: s.Subject.Secret, Former: s.Former, Path: s.Path}
		return journal.Misplaced([]*journal.Entry{entry}, []journal.Declared{declared})[s.Path], nil
	}
	if confirmed {
		return reason.Reason{}, nil
	}
	if err := o.oneAtATime(ctx, func() error { return o.confirmUse(ctx, use, entry) }); err != nil {
		return reason.Reason{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.misplaced[s.Path], nil
}

// confirmUse is compare, on a listing that shows what was written for this use. It does nothing where another secret had the use
// confirmed already.
func (o *Orchestrator) confirmUse(ctx context.Context, use int, entry *journal.Entry) error {
	o.mu.Lock()
	confirmed := o.uses == use && o.confirmed == use
	o.mu.Unlock()
	if confirmed {
		return nil
	}
	written, err := o.mark(ctx, use, entry)
	if err != nil {
		return err
	}
	return o.compare(ctx, written)
}

// mark returns what a listing must show: what was written for this use already, or entry, which it writes.
func (o *Orchestrator) mark(ctx context.Context, use int, entry *journal.Entry) (*journal.Entry, error) {
	o.mu.Lock()
	written := o.written
	if o.writtenFor != use {
		written = nil
	}
	o.mu.Unlock()
	if written == nil {
		if err := o.Journal.Save(ctx, entry); err != nil {
			return nil, err
		}
		written = entry
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uses != use {
		return nil, outward.ErrChanged
	}
	o.written, o.writtenFor = written, use
	return written, nil
}

// admit has the journal say whom s is known to before anything is done with it, and returns why nothing must be.
func (o *Orchestrator) admit(ctx context.Context, s Secret) (held reason.Reason, err error) {
	if err := o.pin(ctx, s); err != nil {
		return reason.Reason{}, err
	}
	return o.confirm(ctx, s)
}

// strange says why s must not be acted on: its history names another upstream, and nobody granted that its values go to
// the declared one. None when it may be.
func strange(entry *journal.Entry, s Secret) reason.Reason {
	if s.Allowed || !entry.Strange(s.SentTo) {
		return reason.Reason{}
	}
	known, back := "no upstream", fmt.Sprintf("take `upstreamRef: %s` out again", s.SentTo)
	if *entry.Upstream != "" {
		known, back = fmt.Sprintf("upstream %s alone", *entry.Upstream), fmt.Sprintf("write `upstreamRef: %s` again", *entry.Upstream)
	}
	return reason.New(reason.UpstreamNotGranted, reason.Args{"upstream": s.SentTo, "known": known, "back": back})
}

// Strangers are the secrets that wait because their histories name another upstream, by path.
func (o *Orchestrator) Strangers(ctx context.Context) ([]Secret, error) {
	if err := o.place(ctx); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var strangers []Secret
	for _, path := range slices.Sorted(maps.Keys(o.moved)) {
		strangers = append(strangers, o.secrets[path])
	}
	return strangers, nil
}

// pin has the journal name the upstream that the values of s are sent to, and where consumers may read them, before they are. It costs one read, and one write
// where that is news. The estate may have changed since s was found to be in its place: then it fails.
func (o *Orchestrator) pin(ctx context.Context, s Secret) error {
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	if why := strange(entry, s); !why.None() {
		return &reason.Error{Doing: "acting on " + s.Subject.Secret, Reason: why, Class: rotation.ErrNotAllowed}
	}
	sent, placed := entry.Pin(s.SentTo), entry.PinPlaces(s.Places)
	if !sent && !placed {
		return nil
	}
	if !entry.Begun() {
		entry.Rename(s.Subject.Secret)
	}
	return o.Journal.Save(ctx, entry)
}

// Misplaced says how the name and the path of s are not those of one history, none when they are. See journal.Misplaced.
func (o *Orchestrator) Misplaced(ctx context.Context, s Secret) (reason.Reason, error) {
	if err := o.place(ctx); err != nil {
		return reason.Reason{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.misplaced[s.Path], nil
}

// Held says why s must not be acted on: it is misplaced or broken, or a secret is that it uses. None when it may be.
func (o *Orchestrator) Held(ctx context.Context, s Secret) (reason.Reason, error) {
	if err := o.place(ctx); err != nil {
		return reason.Reason{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if why := o.misplaced[s.Path].Or(s.Broken).Or(o.secrets[s.Path].Broken).Or(o.moved[s.Path]); !why.None() { // s may be of the estate before
		return why, nil
	}
	uses := s.Reads
	if s.Group != nil {
		for _, member := range s.Group.Members {
			uses = append(uses[:len(uses):len(uses)], member.Path)
		}
	}
	for _, path := range uses {
		if why := o.misplaced[path].Or(o.secrets[path].Broken).Or(o.moved[path]); !why.None() {
			return reason.New(reason.NeededSecretHeld, reason.Args{"secret": o.secrets[path].Subject.Secret}).Because(why.Text()), nil
		}
	}
	return reason.Reason{}, nil
}

// acting reports whether somebody looks at the secret at path now. The caller holds the lock.
func (o *Orchestrator) acting(path authority.Path) bool {
	_, busy := o.busy[path]
	return busy
}
