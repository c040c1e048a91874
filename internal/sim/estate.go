// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// changing are runs in the middle of which the estate changes, and what is found wrong between runs.
func changing() []Scenario {
	two := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one := two
	one.Reloads = one.Reloads[:1]
	wrong := one
	wrong.Wrong = true
	return []Scenario{
		{
			Name: "policy-tightened", Secret: one, Requests: 1,
			Danger: "a run ends by the policy that it began with, though a stricter one was declared meanwhile",
			Events: []Event{{When: recorded(journal.Delivered), Do: tighten}},
		},
		{
			Name: "policy-loosened", Secret: one, Requests: 1,
			Danger: "a run takes over what is declared though it is less strict than what it began with",
			Events: []Event{{When: recorded(journal.Delivered), Do: loosen}},
		},
		{
			Name: "consumer-added", Secret: one, Requests: 1,
			Danger: "the old credential is revoked though a consumer that was declared meanwhile was never asked",
			Events: []Event{{When: recorded(journal.Delivered), Do: func(w *World, s *Secret) { w.addConsumer(s, 30*time.Second) }}},
		},
		{
			Name: "consumer-removed", Secret: two, Requests: 1,
			Danger: "a run waits for ever for the proof of a consumer that is no longer declared",
			Before: func(_ *World, s *Secret) { s.Consumers[1].IgnoreReloads(true) },
			Events: []Event{{When: lacksProof, Do: removeLastConsumer}},
		},
		{
			Name: "secret-removed", Secret: one, Requests: 1,
			Danger: "what a run did before its secret was removed is forgotten when it is declared again",
			Events: []Event{{When: recorded(journal.Applied), Do: removeForAWhile}},
		},
		{
			Name: "foreign-between-runs", Secret: one, Requests: 1,
			Danger: "a value that somebody else wrote is delivered, or rotated away",
			Before: foreignWrite,
			Rests: func(w *World, s *Secret) bool {
				return w.waiting(s.Path).Is(reason.ValueForeign, reason.ValueOverwritten) && len(w.late) == 0
			},
			Ending: nothingRevoked,
		},
		{
			Name: "path-edited", Secret: one,
			Danger: "a secret whose document says another path begins anew there, with the value from Git",
			Before: editPath,
			Rests: func(w *World, _ *Secret) bool {
				return w.waiting(elsewhere).Is(reason.HistoryElsewhere) && len(w.late) == 0
			},
			Ending: func(w *World, s *Secret) {
				w.check(elsewhere, "")
				nothingRefused(w, s, "one-identity")
			},
		},
		{
			Name: "wrong-document", Secret: wrong, Handover: true,
			Danger: "a bootstrap value that the upstream refuses becomes the value of record",
			Events: []Event{{When: refusesDocument, Do: correct}},
		},
	}
}

func tighten(w *World, s *Secret) {
	s.Policy.Settle = time.Minute
	w.changed()
}

func loosen(w *World, s *Secret) {
	s.Policy.Settle = time.Second
	w.changed()
}

// addConsumer declares one more consumer.
func (w *World) addConsumer(s *Secret, reload time.Duration) {
	double, added := w.consumer(s.Path, len(s.Consumers)+1, reload)
	s.Consumers = append(s.Consumers, double)
	s.Subject.Consumers = append(slices.Clone(s.Subject.Consumers), rotation.Consumer{Consumer: added, Needs: s.Subject.Consumers[0].Needs})
	w.changed()
}

// lacksProof holds once the live run says that it waits for a consumer.
func lacksProof(w *World, s *Secret) bool {
	return w.waits(s).Is(reason.ProofMissing, reason.OverlapExceeded)
}

func removeLastConsumer(w *World, s *Secret) {
	last := len(s.Consumers) - 1
	s.Consumers, s.Subject.Consumers = s.Consumers[:last], slices.Clone(s.Subject.Consumers[:last])
	w.changed()
}

// removeForAWhile takes the secret out of the estate for five minutes.
func removeForAWhile(w *World, s *Secret) {
	s.Undeclared = true
	w.changed()
	w.At(5*time.Minute, func() {
		s.Undeclared = false
		w.changed()
	})
}

func refusesDocument(w *World, s *Secret) bool {
	return w.waiting(s.Path).Is(reason.BootstrapRefused)
}

// correct is a person who puts the right value into the document.
func correct(_ *World, s *Secret) { s.Bootstrap = s.right }

// elsewhere is the path that an edited document says.
const elsewhere authority.Path = "sim/elsewhere"

// editPath declares the secret at another path, so soon that a standby may not know of its history yet.
func editPath(w *World, s *Secret) {
	moved := &Secret{Secret: s.Secret, Upstream: s.Upstream, Consumers: s.Consumers, Bootstrap: s.Bootstrap, movedFrom: s.Path}
	moved.Subject.Path, moved.Subject.Upstream = elsewhere, account{w, elsewhere, s.Upstream}
	moved.Subject.Consumers = nil
	for _, double := range s.Consumers {
		moved.Subject.Consumers = append(moved.Subject.Consumers, rotation.Consumer{Consumer: consumer{w, elsewhere, double}, Needs: s.Subject.Consumers[0].Needs})
	}
	handedOver := *s.Handover
	handedOver.Path, handedOver.Upstream = elsewhere, moved.Subject.Upstream
	moved.Secret.Handover = &handedOver
	s.Undeclared = true
	w.secrets[elsewhere] = moved
	w.changed()
}
