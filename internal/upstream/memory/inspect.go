// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Accepts reports whether a sign-in with v would succeed now, lockout and rate limit aside. It counts as none.
func (u *Upstream) Accepts(v secret.Value) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.honoured(v, u.config.Clock())
}

// Credentials counts the live credentials by the run that made them; propagation is not waited for. What Seed made is
// under "".
func (u *Upstream) Credentials() map[authority.RunID]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	counts := map[authority.RunID]int{}
	for _, c := range u.credentials {
		if c.to.IsZero() {
			counts[c.run]++
		}
	}
	return counts
}

// Seed makes v honoured as if it always had been: a credential that somebody made by hand before Custody came.
func (u *Upstream) Seed(v secret.Value) error {
	if err := u.wellFormed(v); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.room(v, u.config.Clock()); err != nil {
		return err
	}
	u.credentials = append(u.credentials, credential{value: v, from: u.config.Clock().Add(-u.config.Propagation)})
	return nil
}

// SetDown makes every call fail until it is set again: changes have no effect, sign-ins are Unknown.
func (u *Upstream) SetDown(down bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down = down
}

// SetForeign puts or removes somebody else's claim on the account.
func (u *Upstream) SetForeign(foreign bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.foreign = foreign
}

// identity is the fields by which a sign-in is decided; others are carried along.
func (u *Upstream) identity() []string {
	if u.config.Shape == Alternate || u.config.Shape == Overwrite {
		return []string{Username, Password}
	}
	return []string{Key}
}

func (u *Upstream) wellFormed(v secret.Value) error {
	for _, field := range u.identity() {
		if !v.Has(field) {
			return fmt.Errorf("reading credential: %w: the field %s is missing", upstream.ErrNotApplied, field)
		}
	}
	return nil
}

func (u *Upstream) same(v, w secret.Value) bool {
	for _, field := range u.identity() {
		if !v.Has(field) || v.ExposeText(field) != w.ExposeText(field) {
			return false
		}
	}
	return true
}

func (u *Upstream) live(v secret.Value) bool {
	return slices.ContainsFunc(u.credentials, func(c credential) bool { return c.to.IsZero() && u.same(c.value, v) })
}

// honoured sees the state as it was one propagation delay ago.
func (u *Upstream) honoured(v secret.Value, now time.Time) bool {
	if u.config.TrustsAll {
		return true
	}
	seen := now.Add(-u.config.Propagation)
	return slices.ContainsFunc(u.credentials, func(c credential) bool {
		return u.same(c.value, v) && !seen.Before(c.from) && (c.to.IsZero() || seen.Before(c.to))
	})
}

// changing reports whether v was applied or ended less than one propagation delay ago.
func (u *Upstream) changing(v secret.Value, now time.Time) bool {
	seen := now.Add(-u.config.Propagation)
	return slices.ContainsFunc(u.credentials, func(c credential) bool {
		return u.same(c.value, v) && (seen.Before(c.from) || !c.to.IsZero() && seen.Before(c.to))
	})
}

// forget drops credentials that ended so long ago that no sign-in sees them.
func (u *Upstream) forget(now time.Time) {
	seen := now.Add(-u.config.Propagation)
	u.credentials = slices.DeleteFunc(u.credentials, func(c credential) bool {
		return !c.to.IsZero() && !seen.Before(c.to)
	})
}

// Snapshot is what a server knows of the account at one moment. It never changes.
type Snapshot struct {
	credentials []credential
	marker      authority.RunID
	past        []authority.RunID
}

// Marker is the run that the account's marker names, "" for none.
func (s Snapshot) Marker() authority.RunID { return s.marker }

// Snapshot copies what the server knows now.
func (u *Upstream) Snapshot() Snapshot {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Snapshot{slices.Clone(u.credentials), u.marker, slices.Clone(u.past)}
}

// FailOver loses every change since the snapshot, acknowledged or not: another server answers, which had none of them. It
// makes no name of a key twice.
func (u *Upstream) FailOver(to Snapshot) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.credentials, u.marker, u.past = slices.Clone(to.credentials), to.marker, slices.Clone(to.past)
}

// Field is the one that tells a right credential from a wrong one.
func (u *Upstream) Field() string {
	fields := u.identity()
	return fields[len(fields)-1]
}

// Lose forgets that v was applied, and what it replaced is honoured again: a fail-over to a server that did not have the
// change yet.
func (u *Upstream) Lose(v secret.Value) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.credentials {
		lost := &u.credentials[i]
		if !u.same(lost.value, v) || !lost.to.IsZero() {
			continue
		}
		for j := range u.credentials {
			if before := &u.credentials[j]; j != i && before.to.Equal(lost.from) {
				before.to = time.Time{}
			}
		}
		lost.to = u.config.Clock()
	}
}
