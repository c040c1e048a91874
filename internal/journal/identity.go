// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/reason"
)

// Declared is a secret's identity as the estate says it: its name, the names it had before, and its path.
type Declared struct {
	Name   string
	Former []string
	Path   authority.Path
}

// Begun reports whether the secret has a history: a value, a run or a tombstone. An entry that cannot be read may have one.
func (e *Entry) Begun() bool {
	return e.Fault != nil || e.Current != nil || e.Live != nil || e.Last != nil || e.Tombstone != nil
}

// Rename gives the entry the secret's name of now, and keeps the one before: history is found by every name it had.
func (e *Entry) Rename(name string) {
	if e.Begun() && e.Secret != "" && e.Secret != name && !slices.Contains(e.Former, e.Secret) {
		e.Former = append(slices.Clone(e.Former), e.Secret)
	}
	e.Secret = name
}

// of reports whether the entry is the history of d: they have a name in common.
func (e *Entry) of(d Declared) bool {
	named := func(name string) bool { return name == d.Name || slices.Contains(d.Former, name) }
	return named(e.Secret) || slices.ContainsFunc(e.Former, named)
}

// In reports whether a listing shows the entry as it was stored last, or later.
func (e *Entry) In(listing []*Entry) bool {
	return slices.ContainsFunc(listing, func(o *Entry) bool { return o.Path == e.Path && o.revision >= e.revision })
}

// Strange reports whether the upstream of that name, "" for none, is another than the one that may know the secret's values.
func (e *Entry) Strange(upstream string) bool {
	return upstream != "" && e.Begun() && e.Upstream != nil && *e.Upstream != upstream
}

// Pin notes which upstream may know the secret's values, and reports whether that is news. One that knew them and is no
// longer declared stays noted.
func (e *Entry) Pin(upstream string) bool {
	if e.Upstream != nil && (*e.Upstream == upstream || upstream == "" && e.Begun()) {
		return false
	}
	e.Upstream = &upstream
	return true
}

// PinPlaces notes where the secret's values may be known through consumers before they are first given to any, and reports
// whether that is news. What was noted stays once the history has begun. Nil places are not noted.
func (e *Entry) PinPlaces(places []string) bool {
	if places == nil || e.Places != nil && (e.Begun() || slices.Equal(e.Places, places)) {
		return false
	}
	e.Places = places
	return true
}

// Misplaced compares declared secrets with the history there is. A secret's identity is its name and its path: history is
// found by either, and both must lead to the same entry. The answer says, by declared path, why a secret must not be acted
// on; each text completes "SECRET waits for". Secrets without a history, at a path without one, are not in it, unless an
// entry cannot be read and does not tell whose it is: then no secret is new for certain.
//
// Cost: near linear in the number of entries and secrets.
func Misplaced(entries []*Entry, declared []Declared) map[authority.Path]reason.Reason {
	byPath, byName := map[authority.Path]*Entry{}, map[string][]*Entry{}
	var nameless *Entry
	for _, entry := range entries {
		if !entry.Begun() {
			continue
		}
		byPath[entry.Path] = entry
		if entry.Fault != nil && entry.Secret == "" {
			nameless = entry
			continue
		}
		for _, name := range append([]string{entry.Secret}, entry.Former...) {
			byName[name] = append(byName[name], entry)
		}
	}
	misplaced := map[authority.Path]reason.Reason{}
	for _, d := range declared {
		var own *Entry // its history, where that is at another path
		for _, name := range append([]string{d.Name}, d.Former...) {
			for _, entry := range byName[name] {
				if entry.Path != d.Path && (own == nil || entry.Path < own.Path) {
					own = entry
				}
			}
		}
		other := byPath[d.Path]
		if own == nil && other == nil && nameless != nil {
			misplaced[d.Path] = reason.New(reason.HistoryUnreadable, reason.Args{"at": string(nameless.Path)})
			continue
		}
		if other != nil && (other.of(d) || other.Fault != nil && other.Secret == "") {
			other = nil
		}
		if why := misplacement(d, own, other); !why.None() {
			misplaced[d.Path] = why
		}
	}
	return misplaced
}

// misplacement says how own, the history of d at another path, and other, the history of another secret at its path,
// break its identity; none when neither is there.
func misplacement(d Declared, own, other *Entry) reason.Reason {
	switch {
	case own != nil && other != nil:
		return reason.New(reason.HistorySwapped, reason.Args{"own": string(own.Path), "path": string(d.Path), "other": other.Secret})
	case own != nil && !slices.Contains(append([]string{d.Name}, d.Former...), own.Secret):
		return reason.New(reason.FormerNameReused, reason.Args{"other": own.Secret, "own": string(own.Path)})
	case own != nil:
		return reason.New(reason.HistoryElsewhere, reason.Args{"own": string(own.Path), "path": string(d.Path)})
	case other != nil:
		return reason.New(reason.HistoryOfAnother, reason.Args{"path": string(d.Path), "other": other.Secret, "secret": d.Name})
	}
	return reason.Reason{}
}
