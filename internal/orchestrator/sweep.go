// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"custody.dev/custody/internal/authority"
)

// sweepAfter is when the consumers of the secret at path are looked at after now: once in each Reconcile, at an offset of its own, so
// that secrets that were looked at together do not stay together.
func (o *Orchestrator) sweepAfter(path authority.Path, now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.slotAfter(path, now, o.Reconcile)
}

// restAfter is the same for a secret with nothing to do: once in each Calm where somebody watches its consumers.
func (o *Orchestrator) restAfter(s Secret, now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	every := o.Reconcile
	if s.Watched && o.watching {
		every = o.Calm
	}
	return o.slotAfter(s.Path, now, every)
}

// slotAfter is the secret's own moment after now, of which there is one in each period. The caller holds the lock.
func (o *Orchestrator) slotAfter(path authority.Path, now time.Time, every time.Duration) time.Time {
	sum := sha256.Sum256([]byte(path))
	offset := time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(every)) //nolint:gosec // less than every
	wait := (offset - o.steady(now)) % every
	if wait <= 0 {
		wait += every
	}
	return now.Add(wait)
}

// Watching says whether somebody calls Doubt soon after a file of a secret that is Watched changes. Before it is first called nobody
// does. When nobody does any more, such secrets are looked at once in each Reconcile again, each at its own moment.
func (o *Orchestrator) Watching(is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.watching
	o.watching = is
	if is || !before {
		return
	}
	now := o.Now()
	for path, state := range o.states {
		sweep := o.slotAfter(path, now, o.Reconcile)
		if !o.secrets[path].Watched || !state.sweep.After(sweep) {
			continue
		}
		if state.sweep = sweep; state.Again.After(sweep) {
			state.Again = sweep
		}
		state.woken = state.woken || o.acting(path) // what that look notes was worked out before
		o.schedule(path)
	}
}
