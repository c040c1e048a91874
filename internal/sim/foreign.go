// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// decided are what ends somebody else's write to a secret's path: a person, or the policy, takes the value over or puts the managed one
// back, between runs and in the middle of one.
func decided() []Scenario {
	one := declare(upstreammemory.Dual, false, upstreammemory.Config{}) // a managed value from Git that is put back is taken for one that was seeded again
	one.Reloads = one.Reloads[:1]
	promotion := []Event{{When: promoted, Do: foreignWrite}}
	verified := []Event{{When: liveAt(journal.Staged), Do: foreignWrite}}
	all := []Scenario{
		{
			Name: "foreign-adopted", Danger: "the value before is revoked before consumers moved, or never",
			Before: foreignWrite, Events: []Event{{When: foreignFound, Do: adopt}}, Ending: adopted,
		},
		{
			Name: "foreign-reverted", Danger: "the managed value is revoked with the run that puts it back",
			Before: foreignWrite, Events: []Event{{When: foreignFound, Do: revert}}, Ending: reverted,
		},
		{
			Name: "foreign-refused", Danger: "a value that its upstream refuses is adopted",
			Before: func(w *World, s *Secret) {
				foreignWrite(w, s)
				s.Upstream.Lose(byHand())
				s.older = true // what stands at the path is refused until the managed value is back
			},
			Events: []Event{{When: foreignFound, Do: adoptElseRevert}}, Ending: reverted,
		},
		{
			Name: "foreign-adopted-after-promotion", Requests: 1, Danger: "what the run made is honoured for ever",
			Events: append(slices.Clone(promotion), Event{When: foreignFound, Do: adopt}), Ending: adopted,
		},
		{
			Name: "foreign-reverted-after-promotion", Requests: 1, Danger: "the run ends with the other value at the path",
			Events: append(slices.Clone(promotion), Event{When: foreignFound, Do: revert}), Ending: reverted,
		},
		{
			Name: "foreign-adopted-at-verified", Requests: 1, Danger: "what the run made is honoured for ever",
			Events: append(slices.Clone(verified), Event{When: foreignFound, Do: adopt}), Ending: adopted,
		},
		{
			Name: "foreign-reverted-at-verified", Requests: 1, Danger: "the run is taken back, or waits for ever",
			Events: append(slices.Clone(verified), Event{When: foreignFound, Do: revert}), Ending: reverted,
		},
	}
	adopts, reverts := one, one
	adopts.Policy.OnForeignWrite, reverts.Policy.OnForeignWrite = rotation.Adopted, rotation.Reverted
	for i := range all {
		all[i].Secret = one
	}
	all = append(all,
		Scenario{
			Name: "foreign-adopted-by-policy", Secret: adopts, Danger: "two processes decide, and each begins a run",
			Before: foreignWrite, Ending: adopted,
		},
		Scenario{
			Name: "foreign-reverted-by-policy", Secret: reverts, Requests: 1, Danger: "two processes decide, and each writes a version",
			Events: slices.Clone(promotion), Ending: reverted,
		})
	for i := range all {
		all[i].Events = append(all[i].Events, Event{When: isBack, Do: removeByHand})
		all[i].Rests = func(w *World, s *Secret) bool { return w.entry(s.Path).Decided != nil && w.Settled() }
	}
	return all
}

// byHand is the credential that somebody makes; see foreignWrite.
func byHand() secret.Value {
	v, err := secret.Text(map[string]string{upstreammemory.Key: "made-by-hand"})
	if err != nil {
		panic("sim: making a credential by hand: " + err.Error())
	}
	return v
}

// foreignFound holds once a person can read that somebody else wrote, and no effect is on its way.
func foreignFound(w *World, s *Secret) bool {
	held, err := w.store.Read(context.Background(), s.Path)
	if err != nil || held.ID.Run != "foreign" || len(w.late) > 0 {
		return false
	}
	return w.waits(s).Is(reason.ForeignWrite) || w.entry(s.Path).Live == nil && w.waiting(s.Path).Is(reason.ValueForeign, reason.ValueOverwritten)
}

func adopt(w *World, s *Secret) {
	w.person(func(ctx context.Context, engine *rotation.Engine) error {
		_, err := engine.Adopt(ctx, s.Subject, "person", "it is ours")
		return err
	})
	w.askAgain(s, adopt)
}

// askAgain is a person who was refused by what an authority that was behind showed, and finds the finding still there.
func (w *World) askAgain(s *Secret, ask func(*World, *Secret)) {
	if w.notes[len(w.notes)-1] == "done" {
		return
	}
	later := time.Now().Add(time.Minute) // nothing else may happen at this instant
	w.events = append(w.events, Event{Do: ask, of: s, When: func(w *World, s *Secret) bool {
		return !time.Now().Before(later) && foreignFound(w, s)
	}})
}

// revert is a person who puts the managed value back.
func revert(w *World, s *Secret) {
	w.person(func(ctx context.Context, engine *rotation.Engine) error {
		_, err := engine.Revert(ctx, s.Subject, "person", "a mistake")
		return err
	})
	w.askAgain(s, revert)
}

// removeByHand is a person who removes upstream what was made there by hand, once the managed value is back.
func removeByHand(_ *World, s *Secret) { s.Upstream.Lose(byHand()) }

// adoptElseRevert is a person who does what the finding names, in its order.
func adoptElseRevert(w *World, s *Secret) {
	w.person(func(ctx context.Context, engine *rotation.Engine) error {
		_, err := engine.Adopt(ctx, s.Subject, "person", "it is ours")
		return err
	})
	if w.notes[len(w.notes)-1] != "done" {
		revert(w, s)
	}
}

// isBack holds once the managed value is back.
func isBack(w *World, s *Secret) bool {
	d := w.entry(s.Path).Decided
	held, err := w.store.Read(context.Background(), s.Path)
	return d != nil && d.Choice == rotation.Reverted && err == nil && held.ID.Run != "foreign"
}

func adopted(w *World, s *Secret) {
	w.Final()
	held := w.decidedFor(s, rotation.Adopted)
	d, last := w.entry(s.Path).Decided, w.entry(s.Path).Last
	switch {
	case d == nil:
	case !w.prepared[d.Run].Equal(byHand()):
		w.violate("foreign-write-is-decided", s, "it was adopted, and run %s promotes another value", d.Run)
	case held.ID.Run == d.Run && !held.Value.Equal(byHand()):
		w.violate("foreign-write-is-decided", s, "it was adopted, and version %s holds another value", held.ID)
	case held.ID.Run != d.Run && (last.Result != journal.ResultCompleted || last.Run != held.ID.Run): // a rotation that followed replaced it
		w.violate("foreign-write-is-decided", s, "it was adopted, and version %s is of no run that completed since", held.ID)
	}
}

func reverted(w *World, s *Secret) {
	w.Final()
	if held := w.decidedFor(s, rotation.Reverted); held.Value.Equal(byHand()) {
		w.violate("foreign-write-is-decided", s, "the managed value was put back, and version %s holds what somebody else wrote", held.ID)
	}
}

// decidedFor returns the value of record, and wants the decision to be choice and on record once.
func (w *World) decidedFor(s *Secret, choice string) authority.Versioned {
	held, err := w.store.Read(context.Background(), s.Path)
	if err != nil {
		w.violate("foreign-write-is-decided", s, "there is no value: %v", err)
	}
	d := w.entry(s.Path).Decided
	switch {
	case d == nil:
		w.violate("foreign-write-is-decided", s, "nothing was decided")
	case d.Choice != choice:
		w.violate("foreign-write-is-decided", s, "%s was decided, want %s", d.Choice, choice)
	case !slices.ContainsFunc(w.log[d.Run], func(step string) bool { return len(step) > 6 && step[:6] == "value-" }):
		w.violate("foreign-write-is-decided", s, "what was decided is not on record with run %s", d.Run)
	}
	return held
}
