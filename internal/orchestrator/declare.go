// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"maps"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
)

// Use declares these secrets and no others. All of them are looked at on the next tick.
func (o *Orchestrator) Use(secrets []Secret) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.redeclare(secrets, o.gone(secrets))
}

// Change declares these secrets and no others. Those that are new or have another Digest are looked at on the next tick, and so are
// those that may wait for one of them, or for one that is gone: what reads it, and what is in its group or stagger set. All others
// keep the time of their next look. The journal is listed again only where a name, a path or an upstream is another.
func (o *Orchestrator) Change(secrets []Secret) {
	o.mu.Lock()
	defer o.mu.Unlock()
	changed, gone, before := o.changed(secrets), o.gone(secrets), o.uses
	compared := len(gone) == 0 && !slices.ContainsFunc(changed, o.elsewhere)
	if o.redeclare(changed, gone); compared {
		o.carry(before)
	}
}

// elsewhere reports whether a comparison with the journal may find something else of s than of what is declared at its path now. The
// caller holds the lock.
func (o *Orchestrator) elsewhere(s Secret) bool {
	known, declared := o.secrets[s.Path]
	return !declared || s.Subject.Secret != known.Subject.Secret || s.SentTo != known.SentTo || s.Allowed != known.Allowed ||
		!slices.Equal(s.Former, known.Former)
}

// carry has what a comparison found for the use before count for the present one, which declares the same names, paths and
// upstreams. The caller holds the lock.
func (o *Orchestrator) carry(before int) {
	for _, compared := range []*int{&o.placed, &o.confirmed, &o.writtenFor} {
		if *compared == before {
			*compared = o.uses
		}
	}
}

// Changed returns those of secrets that are new or have another Digest.
func (o *Orchestrator) Changed(secrets []Secret) []Secret {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed(secrets)
}

func (o *Orchestrator) changed(secrets []Secret) []Secret {
	var changed []Secret
	for _, s := range secrets {
		if known, declared := o.secrets[s.Path]; !declared || s.Digest == "" || s.Digest != known.Digest {
			changed = append(changed, s)
		}
	}
	return changed
}

// Declarations counts the changes of what is declared: while it stays the same, Secrets does.
func (o *Orchestrator) Declarations() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.uses
}

// gone are the declared secrets that are not among these.
func (o *Orchestrator) gone(secrets []Secret) []authority.Path {
	gone := maps.Clone(o.secrets)
	for _, s := range secrets {
		delete(gone, s.Path)
	}
	return slices.Collect(maps.Keys(gone))
}

// redeclare upserts some secrets and removes others, in one step. The caller holds the lock.
func (o *Orchestrator) redeclare(changed []Secret, removed []authority.Path) {
	if len(changed) == 0 && len(removed) == 0 {
		return
	}
	o.uses++
	about := related{paths: map[authority.Path]bool{}, sets: map[string]bool{}}
	for _, path := range removed {
		about.add(o.secrets[path])
		o.forget(path)
		delete(o.states, path)
		o.schedule(path)
	}
	for _, s := range changed {
		if before, declared := o.secrets[s.Path]; declared {
			about.add(before)
		}
		about.add(s)
		o.learn(s)
		state := o.states[s.Path]
		if state == nil {
			state = &State{}
			o.states[s.Path] = state
		}
		state.Secret, state.Path, state.woken, state.reconciled, state.declared = s.Secret, s.Path, true, time.Time{}, o.uses
		o.schedule(s.Path)
	}
	o.wakeAbout(about)
	for path, s := range o.secrets { // who leaves may wait for how many do, and for who needs it
		if s.Leaving && !o.states[path].woken {
			o.states[path].woken = true
			o.schedule(path)
		}
	}
}

// learn declares a secret, in place of another at its path. The caller holds the lock.
func (o *Orchestrator) learn(s Secret) {
	o.forget(s.Path)
	o.secrets[s.Path] = s
	if s.Stagger == nil {
		return
	}
	if o.sets[s.Stagger.Set] == nil {
		o.sets[s.Stagger.Set] = map[authority.Path]bool{}
	}
	o.sets[s.Stagger.Set][s.Path] = true
}

// forget takes back what learn did. The caller holds the lock.
func (o *Orchestrator) forget(path authority.Path) {
	if set := o.secrets[path].Stagger; set != nil {
		if delete(o.sets[set.Set], path); len(o.sets[set.Set]) == 0 {
			delete(o.sets, set.Set)
		}
	}
	delete(o.secrets, path)
}

// apart are the other secrets of the stagger set of s, at the cost of that set.
func (o *Orchestrator) apart(s Secret) []Secret {
	o.mu.Lock()
	defer o.mu.Unlock()
	var others []Secret
	for path := range o.sets[s.Stagger.Set] {
		if path != s.Path {
			others = append(others, o.secrets[path])
		}
	}
	return others
}

// related are secrets that others may wait for.
type related struct {
	paths map[authority.Path]bool
	sets  map[string]bool
}

func (r related) add(s Secret) {
	r.paths[s.Path] = true
	if s.Stagger != nil {
		r.sets[s.Stagger.Set] = true
	}
}

// wakeAbout has the secrets looked at that may wait for one of those. The caller holds the lock.
func (o *Orchestrator) wakeAbout(about related) {
	for path, s := range o.secrets {
		waits := slices.ContainsFunc(s.Reads, func(read authority.Path) bool { return about.paths[read] }) ||
			s.Stagger != nil && about.sets[s.Stagger.Set]
		for i := 0; !waits && s.Group != nil && i < len(s.Group.Members); i++ {
			waits = about.paths[s.Group.Members[i].Path]
		}
		if waits {
			o.states[path].woken = true
			o.schedule(path)
		}
	}
}
