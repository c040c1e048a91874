// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// lose has the upstream fail over to a server that had not the change in hand, where that is the fault. What takes a run back
// is lost at once, and not later: nobody asks once the run is over.
func (w *World) lose(a account, before upstreammemory.Snapshot) {
	run := w.entry(a.path).Live
	fail := func() {
		honoured := map[authority.Path][]authority.Version{}
		for path, s := range w.secrets {
			honoured[path] = w.honoured(s)
		}
		a.to.FailOver(before)
		for path, s := range w.secrets {
			if s.Upstream == a.to { // and what is computed from it
				s.lost = true
				still := w.honoured(s)
				s.lostVersions = append(s.lostVersions, slices.DeleteFunc(honoured[path], func(number authority.Version) bool { return slices.Contains(still, number) })...)
				w.check(path, "")
			}
		}
	}
	switch w.inHand {
	case LostAtOnce:
		fail()
	case LostAndDown:
		fail()
		a.to.SetDown(true)
		w.At(silence, func() { a.to.SetDown(false) })
	case LostSoon:
		if run != nil && run.Workflow == journal.Rotation && run.Base > 0 && run.Step != journal.Undoing { // a first credential has none to fall back to
			w.At(soon, fail)
		}
	}
}

// honoured are the versions at the path of s that its upstream honours.
func (w *World) honoured(s *Secret) (numbers []authority.Version) {
	held, err := w.store.Read(context.Background(), s.Path)
	for number := authority.Version(1); err == nil && number <= held.ID.Number; number++ {
		if old, err := w.store.ReadVersion(context.Background(), s.Path, number); err == nil && s.Upstream.Accepts(old.Value) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// lostByUpstream reports whether a version is refused since the upstream lost a change: nobody revoked it.
func (s *Secret) lostByUpstream(number authority.Version, now upstream.Verdict) bool {
	return now == upstream.Refused && slices.Contains(s.lostVersions, number)
}

// fallBack has a consumer restored to what it had before its last delivery, where that is the fault. Once what it runs on
// then is refused, nobody can have prevented it: it must be given the version of record again.
func (w *World) fallBack(c consumer) {
	if w.inHand != FallsBack {
		return
	}
	w.At(soon, func() {
		c.FallBack()
		s := w.secrets[c.path]
		if id, v := c.Running(); id != (authority.VersionID{}) && verdict(s.Upstream, v) == upstream.Refused {
			if s.fellBack == nil {
				s.fellBack = map[string]bool{}
			}
			s.fellBack[c.Name()] = true
		}
		w.check(c.path, "")
	})
}

// excuses reports whether an invariant is broken by what the upstream did alone: it lost the value of record, which it had
// acknowledged. Some credential that works must be known all the same, of what is computed from it to its input. The excuse
// ends once the value is honoured again. Of a state that was put back, no value need be.
func (s *Secret) excuses(name string) bool {
	if s.older && slices.Contains([]string{"record-is-honoured", "consumers-not-refused", "working-credential", "proof-before-revocation"}, name) {
		return true
	}
	return s.lost && (name == "record-is-honoured" || name == "consumers-not-refused" || name == "working-credential" && s.Derived != nil)
}

// lostRecord holds once somebody knows that the upstream lost the value of record: the run that promoted it says so, or,
// once that is over, the sign-in between runs.
func lostRecord(w *World, s *Secret) bool {
	if !s.lost || len(w.late) > 0 {
		return false
	}
	run := w.entry(s.Path).Live
	if run != nil && !run.Refused {
		return false
	}
	held, err := w.store.Read(context.Background(), s.Path)
	return err == nil && !s.Upstream.Accepts(held.Value)
}

// mend is a person who sets the value of record at the upstream again.
func mend(w *World, s *Secret) {
	held, err := w.store.Read(context.Background(), s.Path)
	if err == nil {
		err = s.Upstream.Seed(held.Value)
	}
	if err != nil {
		panic("sim: setting the value of record again: " + err.Error())
	}
}

// lostCandidate holds while a run that only goes forward waits for its candidate to be accepted again. What is of record meanwhile
// may be somebody else's value, which the upstream honours.
func lostCandidate(w *World, s *Secret) bool {
	return len(w.late) == 0 && w.waits(s).Is(reason.CandidateLost) && !s.Upstream.Accepts(w.held(s.Path).Pending.Candidate)
}

// mendCandidate is a person who sets the candidate at the upstream again.
func mendCandidate(w *World, s *Secret) {
	if err := s.Upstream.Seed(w.held(s.Path).Pending.Candidate); err != nil {
		panic("sim: setting a candidate again: " + err.Error())
	}
}
