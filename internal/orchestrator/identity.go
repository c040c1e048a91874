// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"cmp"
	"context"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

// place finds out which declared secrets are not the ones that the history at their paths is of, once for each Use. It
// costs one listing of the journal.
//
// A look that began under an earlier declaration may be about to write history that no listing shows yet: it counts as
// written, and the comparison is made again after it.
func (o *Orchestrator) place(ctx context.Context) error {
	for {
		o.mu.Lock()
		use := o.uses
		if o.placed == use {
			o.mu.Unlock()
			return nil
		}
		var declared []journal.Declared
		for _, s := range o.secrets {
			declared = append(declared, journal.Declared{Name: s.Subject.Secret, Former: s.Former, Path: s.Path})
		}
		var unfinished []*journal.Entry
		for path, name := range o.busy {
			if o.secrets[path].Subject.Secret != name {
				unfinished = append(unfinished, &journal.Entry{Secret: name, Path: path, Last: &journal.Outcome{}})
			}
		}
		o.mu.Unlock()
		entries, err := o.Journal.All(ctx)
		if err != nil {
			return err
		}
		misplaced := journal.Misplaced(append(entries, unfinished...), declared)
		o.mu.Lock()
		current := o.uses == use
		if current {
			o.misplaced = misplaced
			if len(unfinished) == 0 {
				o.placed = use
			}
		}
		o.mu.Unlock()
		if current {
			return nil
		}
	}
}

// Misplaced says how the name and the path of s are not those of one history, "" when they are. See journal.Misplaced.
func (o *Orchestrator) Misplaced(ctx context.Context, s Secret) (string, error) {
	if err := o.place(ctx); err != nil {
		return "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.misplaced[s.Path], nil
}

// Held says why s must not be acted on: it is misplaced or broken, or a secret is that it uses. "" when it may be.
func (o *Orchestrator) Held(ctx context.Context, s Secret) (string, error) {
	if err := o.place(ctx); err != nil {
		return "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if reason := cmp.Or(o.misplaced[s.Path], s.Broken, o.secrets[s.Path].Broken); reason != "" { // s may be of the estate before
		return reason, nil
	}
	uses := s.Reads
	if s.Group != nil {
		for _, member := range s.Group.Members {
			uses = append(uses[:len(uses):len(uses)], member.Path)
		}
	}
	for _, path := range uses {
		if reason := cmp.Or(o.misplaced[path], o.secrets[path].Broken); reason != "" {
			return fmt.Sprintf("%s, which it needs and which waits for %s", o.secrets[path].Subject.Secret, reason), nil
		}
	}
	return "", nil
}

// acting reports whether somebody looks at the secret at path now. The caller holds the lock.
func (o *Orchestrator) acting(path authority.Path) bool {
	_, busy := o.busy[path]
	return busy
}
