// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// putBack are rotations over a state that was put back, of which nothing but the account's marker shows that it is older: the
// consumers were put back with it. What is in use is used by somebody whom nobody declared.
func putBack() []Scenario {
	var all []Scenario
	for _, shape := range []upstreammemory.Shape{upstreammemory.Alternate, upstreammemory.Dual, upstreammemory.Overwrite, upstreammemory.Issued} {
		one := declare(shape, shape != upstreammemory.Issued, marked)
		one.Reloads = one.Reloads[:1]
		all = append(all, Scenario{
			Name: "older-" + string(shape), Secret: one, Requests: 1,
			Danger: "a run of an older state takes the account that is in use",
			Before: putOlderBack,
			Rests: func(w *World, s *Secret) bool {
				return w.waits(s).Is(reason.AccountMarkerUnknown) && len(w.late) == 0
			},
			Ending: leftAlone,
		})
	}
	held := all[0]
	held.Name, held.Danger = "older-let", "what a person let be changed is held for ever"
	held.Events = []Event{{When: heldByStranger, Do: letChange}}
	held.Rests, held.Ending = letGo, func(w *World, s *Secret) { // what holds the run later is not looked at
		if !letGo(w, s) {
			w.violate("converges", s, "a person let the account be changed, and nothing did")
		}
	}
	return append(all, held)
}

// putOlderBack rotates the secret, and then puts everything but the upstream back to what it was before.
func putOlderBack(w *World, s *Secret) {
	older, known := w.store.Snapshot(), w.runs
	if err := w.Request(s); err != nil {
		panic("sim: asking for a rotation: " + err.Error())
	}
	w.drive(time.Now().Add(settleWithin), w.Settled)
	w.store = authoritymemory.Restore(authoritymemory.Config{Incarnation: w.store.Incarnation(), Clock: w.Now}, older)
	w.store.Remember(staleFor)
	w.lost = map[authority.RunID]bool{}
	for run := known + 1; run <= w.runs; run++ {
		w.lost[runID(run)] = true
	}
	w.entries, w.acknowledged = map[authority.Path]*cachedEntry{}, map[string]authority.Path{}
	held, err := w.store.Read(context.Background(), s.Path)
	if err != nil {
		panic("sim: reading what was put back: " + err.Error())
	}
	s.older = true
	for i, consumer := range s.Consumers {
		double, declared := w.consumer(s.Path, i+1, 0)
		if err := double.Deliver(context.Background(), held); err != nil {
			panic("sim: putting consumer " + consumer.Name() + " back: " + err.Error())
		}
		s.Consumers[i], s.Subject.Consumers[i].Consumer = double, declared
	}
	w.changed()
}

// follows checks a change: whose the one before it was.
func (w *World) follows(path authority.Path, run, before authority.RunID) {
	if !w.lost[before] || before == run {
		return
	}
	if s := w.secrets[path]; !slices.Contains(w.entry(path).Taken, string(before)) || len(w.notes) == 0 {
		w.violate("stranger-is-left-alone", s, "run %s changes the account after run %s, of which its state knows nothing", run, before)
	}
}

func heldByStranger(w *World, s *Secret) bool {
	return w.waits(s).Is(reason.AccountMarkerUnknown)
}

// letChange is a person who says that the account may be changed, and again where a stale answer had it that nothing waits
// for that.
func letChange(w *World, s *Secret) {
	w.notes = append(w.notes, "asked")
	for range 5 {
		w.person(func(ctx context.Context, engine *rotation.Engine) error {
			_, err := engine.Force(ctx, s.Subject, w.liveRun(s), "person", "nobody uses it")
			return err
		})
		if w.notes[len(w.notes)-1] == "done" {
			return
		}
		w.Sleep(staleFor)
	}
}

// letGo holds once a run has changed the account, and the upstream has not lost that.
func letGo(w *World, s *Secret) bool {
	return len(w.notes) > 0 && !w.lost[s.Upstream.Snapshot().Marker()]
}

// leftAlone: who uses what the lost state made can go on.
func leftAlone(w *World, s *Secret) {
	if marker := s.Upstream.Snapshot().Marker(); !w.lost[marker] {
		w.violate("stranger-is-left-alone", s, "the account was changed by %s", marker)
	}
}
