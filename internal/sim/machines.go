// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"time"

	"custody.dev/custody/internal/agent/hub"
	"custody.dev/custody/internal/journal"
	materializememory "custody.dev/custody/internal/materialize/memory"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// onMachines are secrets whose consumers are on another machine, whose agent goes and comes: in the middle of a run, for longer than
// proofs may be missing, and again and again.
func onMachines() []Scenario {
	var all []Scenario
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Issued} {
		one := declare(shape, shape != upstreammemory.Issued, upstreammemory.Config{})
		all = append(all, Scenario{
			Name: "machine-away-" + string(shape), Secret: one, Requests: 1,
			Danger: "a machine that nobody can ask is taken for one whose consumers run on the new version",
			Events: []Event{{When: liveAt(journal.Staged), Do: func(w *World, s *Secret) { w.leaves(s, 4*time.Minute) }}},
		})
	}
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Policy.MaxOverlap = 2 * time.Minute
	return append(all,
		Scenario{
			Name: "machine-away-past-overlap", Secret: one, Requests: 1,
			Danger: "the old credential is revoked because the time for proofs is over",
			Events: []Event{{When: promoted, Do: func(w *World, s *Secret) { w.leaves(s, 4*time.Minute) }}},
		},
		Scenario{
			Name: "machine-goes-and-comes", Secret: declare(upstreammemory.Dual, true, upstreammemory.Config{}), Requests: 2,
			Danger: "a proof from before a machine went counts after it came back",
			Events: []Event{{When: promoted, Do: func(w *World, s *Secret) {
				for i := range 3 {
					w.At(time.Duration(i)*time.Minute, func() { w.leaves(s, 40*time.Second) })
				}
			}}},
		})
}

// leaves has the machine of a secret's consumers away for a while.
func (w *World) leaves(s *Secret, lasts time.Duration) {
	for _, consumer := range s.Consumers {
		w.away[consumer] = time.Now().Add(lasts)
	}
}

// absent is what an agent's hub says of a consumer whose machine is away, nil while it is there.
func (w *World) absent(of *materializememory.Consumer) error {
	if until := w.away[of]; time.Now().Before(until) {
		return &hub.AwayError{Machine: "web-1"}
	}
	return nil
}
