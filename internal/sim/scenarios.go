// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/reason"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

const day = 24 * time.Hour

// marked upstreams keep a marker of the current run; slow ones show a change two seconds after it was made.
var (
	marked = upstreammemory.Config{EnforcesRun: true}
	slow   = upstreammemory.Config{Propagation: 2 * time.Second}
)

func policy(settle time.Duration) journal.Policy {
	return journal.Policy{
		Name: "sim", RotationType: "time", TTL: 30 * day, RotateBefore: day, RevokeOld: true,
		MaxOverlap: day, FailureStrategy: "retry", Settle: settle,
	}
}

func declare(shape upstreammemory.Shape, bootstrap bool, account upstreammemory.Config) Declaration {
	return Declaration{
		Name: "secret", Shape: shape, Bootstrap: bootstrap, Policy: policy(10 * time.Second), Needs: materialize.Rolled,
		Reloads: []time.Duration{0, 3 * time.Second}, Account: account,
	}
}

func admin() Declaration {
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Admin, one.Reloads = true, one.Reloads[:1]
	return one
}

// Scenarios are the workflows whose every call is broken: handover, rotation of every kind, what undoes a run, and what
// others do to a secret while it is rotated.
func Scenarios() []Scenario {
	all := []Scenario{
		{Name: "handover", Secret: declare(upstreammemory.Alternate, true, marked), Handover: true},
		{Name: "first-issue", Secret: declare(upstreammemory.Alternate, false, marked), Handover: true},
		{Name: "dual", Secret: declare(upstreammemory.Dual, true, upstreammemory.Config{}), Requests: 2},
		{Name: "alternate", Secret: declare(upstreammemory.Alternate, true, marked), Requests: 2},
		{Name: "alternate-unmarked", Secret: declare(upstreammemory.Alternate, true, slow), Requests: 2},
		{Name: "overwrite", Secret: declare(upstreammemory.Overwrite, true, upstreammemory.Config{}), Requests: 2},
		{Name: "issued", Secret: declare(upstreammemory.Issued, false, slow), Requests: 2},
		{Name: "admin", Secret: admin(), Requests: 1, Danger: "a candidate is applied that is lost with the authority"},
	}
	all = append(all, undoing()...)
	all = append(all, disturbed()...)
	all = append(all, changing()...)
	all = append(all, decided()...)
	all = append(all, putBack()...)
	all = append(all, retired()...)
	all = append(all, onMachines()...)
	return append(all, related()...)
}

// undoing are runs that are taken back: by a person at either side of applying, and by an upstream that refuses the
// first candidates. A refusal leaves the request open, for the run after it; an abort takes the request with it, and the
// person asks again.
func undoing() []Scenario {
	var all []Scenario
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued} {
		one := declare(shape, shape != upstreammemory.Issued, upstreammemory.Config{})
		one.Reloads = one.Reloads[:1]
		turn := recorded(journal.Staged) // of the turn that calls the upstream: what is planned is staged before it begins
		if shape == upstreammemory.Issued {
			turn = liveAt(journal.Staged)
		}
		all = append(all,
			Scenario{
				Name: "abort-staged-" + string(shape), Secret: one, Requests: 2,
				Danger: "a call under way lands after the run was taken back",
				Events: []Event{{When: turn, Do: abort}},
			},
			Scenario{
				Name: "abort-applied-" + string(shape), Secret: one, Requests: 2,
				Danger: "the engine promotes what a person is taking back",
				Events: []Event{{When: recorded(journal.Applied), Do: abort}},
			})
		if shape != upstreammemory.Issued {
			refused := one
			refused.RefuseFirst = 2
			all = append(all, Scenario{Name: "refused-" + string(shape), Secret: refused, Requests: 1, Danger: "a refused candidate is retried for ever"})
		}
	}
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Reloads = one.Reloads[:1]
	return append(all, Scenario{
		Name: "abort-verified", Secret: one, Requests: 1,
		Danger: "a run that only goes forward is taken back",
		Events: []Event{{When: liveAt(journal.Verified), Do: abort}},
		Rests:  (*World).settledWith,
		Ending: func(w *World, s *Secret) {
			if len(w.notes) == 1 && w.notes[0] != "not allowed" {
				w.violate("verified-goes-forward", s, "aborting a verified run was answered with: %s", w.notes[0])
			}
			w.Final()
		},
	})
}

func (w *World) settledWith(*Secret) bool { return w.Settled() }

// disturbed are rotations during which somebody else changes what the run stands on.
func disturbed() []Scenario {
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Reloads = one.Reloads[:1]
	delivered := one
	delivered.Needs = materialize.Delivered
	stuck := func(w *World, s *Secret) bool {
		run := w.entry(s.Path).Live
		if run == nil { // taken back, and no other begins
			return w.waiting(s.Path).Is(reason.ForeignWrite, reason.ValueForeign, reason.ValueOverwritten)
		}
		return run.Waiting != nil && run.Waiting.Reason.Is(reason.ForeignWrite)
	}
	return []Scenario{
		{
			Name: "restored", Secret: delivered, Requests: 1,
			Danger: "a version of an earlier incarnation is taken for the one that was promoted, by its number",
			Before: holdEarlierIncarnation,
		},
		{
			Name: "foreign-before-promotion", Secret: one, Requests: 1,
			Danger: "somebody else's value is overwritten, or what it replaced is revoked",
			Events: []Event{{When: liveAt(journal.Staged), Do: foreignWrite}},
			Rests:  stuck, Ending: nothingRevoked,
		},
		{
			Name: "foreign-after-promotion", Secret: one, Requests: 1,
			Danger: "the old credential is revoked though consumers were given another value",
			Events: []Event{{When: promoted, Do: foreignWrite}},
			Rests:  stuck, Ending: nothingRevoked,
		},
		{
			Name: "value-lost", Secret: one, Requests: 1,
			Danger: "the bootstrap value from Git is written again when the authority's is gone",
			Before: loseValue,
			Rests:  func(w *World, s *Secret) bool { return w.waiting(s.Path).Is(reason.ValueGone) && len(w.late) == 0 },
			Ending: stillLost,
		},
	}
}

// holdEarlierIncarnation leaves the consumer with a version of before a restore, whose number is the one that the next
// promotion gets, and deaf to deliveries for ten minutes.
func holdEarlierIncarnation(w *World, s *Secret) {
	id := authority.VersionID{Incarnation: "incarnation-0", Run: "run-before", Number: 2}
	earlier := authority.Versioned{Path: s.Path, ID: id, Created: time.Now(), Value: s.Bootstrap}
	for _, consumer := range s.Consumers {
		if err := consumer.Deliver(context.Background(), earlier); err != nil {
			panic("sim: delivering an earlier version: " + err.Error())
		}
		consumer.RefuseUntil(time.Now().Add(10 * time.Minute))
	}
}

// nothingRevoked: whoever is right, everybody can still sign in.
func nothingRevoked(w *World, s *Secret) {
	if !s.Upstream.Accepts(s.Bootstrap) {
		w.violate("foreign-write-holds", s, "the version before somebody else's write was revoked")
	}
	nothingRefused(w, s, "foreign-write-holds")
	if held, err := w.store.Read(context.Background(), s.Path); err != nil || held.ID.Run != "foreign" {
		w.violate("foreign-write-holds", s, "the value that somebody else wrote was overwritten: %s %v", held.ID, err)
	}
}

func nothingRefused(w *World, s *Secret, name string) {
	for _, consumer := range s.Consumers {
		if _, v := consumer.Running(); !s.Upstream.Accepts(v) {
			w.violate(name, s, "consumer %s runs on a refused credential", consumer.Name())
		}
	}
}

// loseValue deletes the value and its history from the authority, as a metadata delete does.
func loseValue(w *World, s *Secret) {
	if err := w.store.Remove(context.Background(), s.Path); err != nil {
		panic("sim: removing the value: " + err.Error())
	}
}

func stillLost(w *World, s *Secret) {
	if held, err := w.store.Read(context.Background(), s.Path); err == nil {
		w.violate("git-never-after-tombstone", s, "a value was made up: %s", held.ID)
	}
	if !s.Upstream.Accepts(s.Bootstrap) {
		w.violate("working-credential", s, "the credential that consumers run on was revoked")
	}
}

// Short are the workflows whose calls are broken two at a time: one rotation (or handover) with one consumer that
// reloads at once, and a settle time of a second.
func Short() []Scenario {
	short := func(name string, shape upstreammemory.Shape, bootstrap bool, account upstreammemory.Config) Scenario {
		one := declare(shape, bootstrap, account)
		one.Policy, one.Reloads = policy(time.Second), one.Reloads[:1]
		return Scenario{Name: name, Secret: one, Handover: name == "handover", Requests: 1}
	}
	all := []Scenario{
		short("handover", upstreammemory.Alternate, true, marked),
		short("dual", upstreammemory.Dual, true, upstreammemory.Config{}),
		short("alternate", upstreammemory.Alternate, true, marked),
		short("overwrite", upstreammemory.Overwrite, true, upstreammemory.Config{}),
		short("issued", upstreammemory.Issued, false, upstreammemory.Config{}),
	}
	all[0].Requests = 0
	return all
}
