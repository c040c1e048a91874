// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// lateWrites is longer than a delivery that was given up can take to land.
const lateWrites = 15 * time.Minute

// retired are secrets whose document is removed, and which their policy ends a minute later: of each shape, with what makes
// that hard, and declared again at each moment.
func retired() []Scenario {
	removed := func(name, danger string, d Declaration, events ...Event) Scenario {
		d.Policy.RetireAfter, d.Policy.RetireGrace, d.Reloads = time.Minute, lateWrites, d.Reloads[:1]
		return Scenario{Name: name, Secret: d, Danger: danger, Before: remove, Rests: isRetired, Ending: nothingLeft, Events: events}
	}
	var all []Scenario
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued} {
		all = append(all, removed("retired-"+string(shape), "a credential that nobody knows of any more works for ever", declare(shape, shape != upstreammemory.Issued, upstreammemory.Config{})))
	}
	older := removed("retired-with-older", "credentials that no rotation revoked outlive the secret", declare(upstreammemory.Dual, true, upstreammemory.Config{}))
	older.Secret.Policy.RevokeOld = false
	older.Before = func(w *World, s *Secret) {
		if err := w.Request(s); err != nil {
			panic("sim: " + err.Error())
		}
		w.drive(time.Now().Add(settleWithin), w.Settled)
		remove(w, s)
	}
	refusing := removed("retired-refusing", "a credential is revoked that a consumer still holds", declare(upstreammemory.Dual, true, upstreammemory.Config{}))
	refusing.Before = func(w *World, s *Secret) {
		s.Consumers[0].RefuseUntil(time.Now().Add(time.Hour))
		remove(w, s)
	}
	back := removed("retired-comes-back", "a secret that is declared again is revoked", declare(upstreammemory.Dual, false, upstreammemory.Config{}),
		Event{When: revocable, Do: comeBack})
	back.Rests = func(w *World, s *Secret) bool { return s.returned != (authority.VersionID{}) && w.Settled() }
	back.Ending = func(w *World, s *Secret) {
		if held, err := w.store.Read(context.Background(), s.Path); err != nil || held.ID != s.returned {
			w.violate("returned-is-kept", s, "it was declared again with version %s, and has %s (%v)", s.returned, held.ID, err)
		}
		w.Final()
	}
	anew := removed("retired-begins-anew", "a secret that was retired never has a value again", declare(upstreammemory.Dual, false, upstreammemory.Config{}),
		Event{When: isRetired, Do: comeBack})
	anew.Rests, anew.Ending = func(w *World, s *Secret) bool { return !s.Leaving && w.Settled() }, nil
	down := removed("retired-down", "a credential is given up because its upstream could not be reached", declare(upstreammemory.Dual, true, upstreammemory.Config{}),
		Event{When: revocable, Do: func(w *World, s *Secret) {
			s.Upstream.SetDown(true)
			w.At(2*time.Hour, func() { s.Upstream.SetDown(false) })
		}})
	reported := removed("retired-compromised", "a credential that was reported as compromised is honoured until the grace is over", declare(upstreammemory.Dual, true, upstreammemory.Config{}),
		Event{When: revocable, Do: func(w *World, s *Secret) { w.compromise(s, 1) }})
	reported.Secret.Policy.RetireGrace, reported.Secret.Policy.OnCompromise = 24*time.Hour, &journal.OnCompromise{BreakAfter: breakAfter, EndSessions: true}
	reported.Ending = nothingHonoured // a delivery that comes through late, without the grace, leaves a value that is refused
	return append(all, older, refusing, back, anew, down, reported)
}

// remove takes the secret's document out of the estate.
func remove(w *World, s *Secret) {
	s.Leaving = true
	w.changed()
}

func comeBack(w *World, s *Secret) {
	if held, err := w.store.Read(context.Background(), s.Path); err == nil {
		s.returned = held.ID
	}
	s.Leaving = false
	w.changed()
}

func revocable(w *World, s *Secret) bool {
	entry := w.entry(s.Path)
	return entry.Retires() && entry.Live.Step == journal.Withdrawn && entry.Live.Revocable()
}

func isRetired(w *World, s *Secret) bool { return w.entry(s.Path).Retired() && len(w.late) == 0 }

// withdrawn reports whether a retirement has taken the secret from its consumers, or nothing has come since.
func withdrawn(entry *journal.Entry) bool {
	return entry.Retires() && entry.Live.Step != journal.Planned || entry.Gone != nil && entry.Current == nil
}

// ending checks, as a retirement asks the upstream to refuse the value, that no consumer holds it.
func (w *World) ending(path authority.Path, id authority.RunID) {
	s, entry := w.secrets[path], w.entry(path)
	if !entry.Retires() || entry.Live.ID != id {
		return
	}
	for _, consumer := range s.Consumers {
		if held, _ := consumer.Held(); held != (authority.VersionID{}) {
			w.violate("withdrawn-before-revoked", s, "run %s revokes while consumer %s holds %s", id, consumer.Name(), held)
		}
	}
}

// nothingLeft checks what must hold of a retired secret.
func nothingLeft(w *World, s *Secret) {
	ctx := context.Background()
	entry := w.entry(s.Path)
	if entry.Gone == nil {
		return // it did not come to rest, which is said
	}
	for number := range entry.Gone.Number + 1 {
		if _, err := w.store.ReadVersion(ctx, s.Path, number); err == nil {
			w.violate("retired-leaves-nothing", s, "version %d can be read", number)
		}
	}
	for _, consumer := range s.Consumers {
		if held, _ := consumer.Held(); held != (authority.VersionID{}) {
			w.violate("retired-leaves-nothing", s, "consumer %s holds %s", consumer.Name(), held)
		}
		if _, v := consumer.Running(); !v.Empty() && s.Upstream.Accepts(v) {
			w.violate("retired-leaves-nothing", s, "what consumer %s ran on is honoured", consumer.Name())
		}
	}
	if shape := s.kind(); shape.Capability == "overwrite" {
		return // the account stays, with a credential that nobody knows
	}
	nothingHonoured(w, s)
}

func nothingHonoured(w *World, s *Secret) {
	for run, count := range s.Upstream.Credentials() {
		w.violate("retired-leaves-nothing", s, "%d credentials of run %s are honoured", count, run)
	}
}
