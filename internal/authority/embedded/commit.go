// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
)

// waiter is a change that is to be committed. turns guards it once it is in waiting.
type waiter struct {
	ctx    context.Context
	change func(*batch) error
	done   bool
	err    error
}

// commit is update for a caller that holds ops. Changes that come while others are committed share the next transaction, in the
// order in which they came: each sees what those before it did, and gets its own conflict. They share what a failed commit means.
// A change may be run again, in a transaction without those that failed.
func (s *Store) commit(ctx context.Context, change func(*batch) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	w := &waiter{ctx: ctx, change: change}
	s.queue.Lock()
	s.waiting = append(s.waiting, w)
	s.queue.Unlock()
	s.turns.Lock()
	defer s.turns.Unlock()
	if !w.done { // nobody took it along
		s.queue.Lock()
		group := s.waiting
		s.waiting = nil
		s.queue.Unlock()
		s.serve(group)
	}
	return w.err
}

// serve commits these changes, in one transaction unless one of them fails half-way.
func (s *Store) serve(group []*waiter) {
	defer func() { // also of a panic, which guard takes from whoever serves
		for _, w := range group {
			if !w.done {
				w.done, w.err = true, fmt.Errorf("committing: %w: reading the file failed inside the database", authority.ErrUnavailable)
			}
		}
	}()
	for left := group; len(left) > 0; {
		failed, err := s.together(left)
		if failed == nil { // committed, or not, all of them
			for _, w := range left {
				if w.done = true; err != nil {
					w.err = err
				}
			}
			return
		}
		// It may have changed something before it failed: by itself, it takes nobody along.
		_, err = s.together([]*waiter{failed})
		failed.done = true
		if err != nil {
			failed.err = err
		}
		left = without(left, failed)
	}
}

func without(group []*waiter, gone *waiter) (left []*waiter) {
	for _, w := range group {
		if w != gone {
			left = append(left, w)
		}
	}
	return left
}

// together runs these changes in one transaction, which is on disk when it returns nil; the errors of those that changed nothing
// are theirs alone. failed is the first of several that changed something and failed: then nothing was written.
func (s *Store) together(group []*waiter) (failed *waiter, err error) {
	number, committing := 0, false
	err = s.db.Update(func(tx *bolt.Tx) error {
		b, err := s.begin(tx)
		if err != nil {
			return err
		}
		for _, w := range group {
			before := b.changes
			if w.err = s.ready(w.ctx); w.err == nil { // again: the wait for the turn may have been long
				w.err = w.change(b)
			}
			if errors.Is(w.err, errUnchanged) {
				w.err = nil
			}
			if w.err != nil && b.changes != before {
				failed = w
				return w.err
			}
		}
		if b.changes == 0 {
			return errUnchanged
		}
		number, committing = tx.ID(), true
		return b.finish()
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil, nil
	case failed != nil && len(group) > 1:
		return failed, err
	case err == nil:
		s.noteCommit()
		return nil, nil
	case !committing:
		return nil, err
	}
	s.free.lost = true
	return nil, s.uncommitted(number, err)
}
