// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// check takes a snapshot of the secret at path and checks every invariant on it.
func (w *World) check(path authority.Path, touched authority.RunID) {
	s := w.secrets[path]
	if s == nil {
		return
	}
	w.Checks++
	snapshot := w.snapshot(s, touched)
	s.lost = s.lost && snapshot.Record.Verdict != upstream.Accepted
	s.older = s.older && (snapshot.Record.Verdict != upstream.Accepted || slices.ContainsFunc(snapshot.Consumers, func(c invariant.Consumer) bool {
		return c.Runs != snapshot.Record.ID
	}))
	for _, violation := range invariant.Check(snapshot) {
		if !s.excuses(violation.Invariant) && !slices.Contains(w.Violations, violation) {
			w.Violations = append(w.Violations, violation)
		}
	}
}

func (w *World) snapshot(s *Secret, touched authority.RunID) invariant.Secret {
	ctx := context.Background()
	document := w.held(s.Path)
	entry := &document.Entry
	snapshot := invariant.Secret{
		Name: s.Subject.Secret, Capability: s.kind().Capability, Tombstoned: entry.Tombstone != nil, Touched: touched,
	}
	if _, err := w.store.Read(ctx, s.Path); s.movedFrom != "" && (err == nil || entry.Live != nil || entry.Tombstone != nil) {
		snapshot.Misplaced = fmt.Sprintf("%s has a history at %s and begins another at %s", s.Subject.Secret, s.movedFrom, s.Path)
	}
	judge := func(id authority.VersionID, v secret.Value) invariant.Credential {
		return invariant.Credential{Known: true, ID: id, Verdict: verdict(s.Upstream, v), FromGit: w.isBootstrap(s, v)}
	}
	if held, err := w.store.Read(ctx, s.Path); err == nil {
		snapshot.Record = judge(held.ID, held.Value)
		snapshot.Foreign = entry.Foreign(held.ID)
	}
	if snapshot.Foreign && entry.Live == nil && entry.Current != nil {
		if managed, err := w.store.ReadVersion(ctx, s.Path, entry.Current.Number); err == nil {
			snapshot.Managed = judge(managed.ID, managed.Value)
		}
	}
	if entry.Tombstone != nil {
		snapshot.RecordAtTombstone = authority.VersionID{Incarnation: w.store.Incarnation(), Run: entry.Tombstone.Run, Number: 1}
	}
	if entry.Last != nil {
		snapshot.Latest = entry.Last.Run
		// The write that closed the run removed its candidate: that is looked at once, in the moment of it.
		if run := entry.Last.Run; entry.Live == nil && undone(entry.Last) && !w.judged[run] {
			w.judged[run] = true
			if candidate := w.prepared[run]; !candidate.Empty() {
				snapshot.TakenBack = judge(authority.VersionID{Run: run}, candidate)
			}
		}
		if entry.Live == nil {
			snapshot.Transitions, snapshot.Due = w.log[entry.Last.Run], due(entry.Last, s)
		}
	}
	if run := entry.Live; run != nil {
		snapshot.Latest = run.ID
		snapshot.Promoted = snapshot.Record.ID.Run == run.ID
		if old, err := w.store.ReadVersion(ctx, s.Path, run.Base); err == nil && run.Workflow == journal.Rotation {
			snapshot.Old = judge(old.ID, old.Value)
			snapshot.Old.Known = !s.lostByUpstream(old.ID.Number, snapshot.Old.Verdict)
		}
		for _, number := range run.Older {
			if older, err := w.store.ReadVersion(ctx, s.Path, number); err == nil {
				snapshot.Older = append(snapshot.Older, judge(older.ID, older.Value))
			}
		}
		if values := document.Pending; values != nil && values.Run == run.ID {
			w.prepared[run.ID] = values.Candidate
			snapshot.Candidate = judge(authority.VersionID{Run: run.ID}, values.Candidate)
		}
	}
	if kind, run := s.kind(), entry.Live; run != nil && kind.Issues && kind.Capability == upstream.Overwrite {
		snapshot.Issuing = run.Workflow == journal.Rotation && run.Step == journal.Staged && !snapshot.Candidate.Known
	}
	if withdrawn(entry) { // nobody is to run on it any more, and it may be refused
		snapshot.Record = invariant.Credential{}
		return snapshot
	}
	for _, c := range s.Consumers {
		id, v := c.Running()
		if id == snapshot.Record.ID {
			delete(s.fellBack, c.Name())
		}
		seen := invariant.Consumer{Name: c.Name(), Runs: id, Waived: entry.Waives(c.Name()) || s.fellBack[c.Name()]}
		if !v.Empty() {
			seen.Verdict = verdict(s.Upstream, v)
			seen.Waived = seen.Waived || s.lostByUpstream(id.Number, seen.Verdict)
		}
		snapshot.Consumers = append(snapshot.Consumers, seen)
	}
	return snapshot
}

// undone: a run was taken back, and no person waived what was left of it.
func undone(last *journal.Outcome) bool {
	return last.Result == journal.ResultUndone && !slices.ContainsFunc(last.Waived, func(w journal.Waiver) bool { return w.Kind == journal.WaivedUndo })
}

func (w *World) isBootstrap(s *Secret, v secret.Value) bool {
	is, known := w.fromGit[v]
	if !known {
		is = !s.Bootstrap.Empty() && v.Equal(s.Bootstrap)
		w.fromGit[v] = is
	}
	return is
}

func verdict(u *upstreammemory.Upstream, v secret.Value) upstream.Verdict {
	if u.Accepts(v) {
		return upstream.Accepted
	}
	return upstream.Refused
}

// due are the steps that a closed run must have on record.
func due(last *journal.Outcome, s *Secret) []string {
	switch {
	case last.Workflow == journal.Retirement && last.Result == journal.ResultCompleted:
		return []string{"planned", "withdrawn", "ended", "completed"}
	case last.Workflow == journal.Derivation:
		return []string{"planned", "promoted", "completed"}
	case last.Result == journal.ResultCompleted && (last.Trigger.Kind == rotation.Adopted || last.Trigger.Kind == rotation.Reverted):
		return []string{"planned", "verified", "promoted", "delivered", "completed"}
	case last.Workflow == journal.Handover:
		return []string{"planned", "verified", "written", "read-back", "tombstoned", "consumed"}
	case last.Result == journal.ResultCompleted && slices.ContainsFunc(last.Waived, func(w journal.Waiver) bool { return w.Kind == journal.WaivedConsumer }):
		return []string{"planned", "staged", "applied", "verified", "promoted", "completed"}
	case last.Result == journal.ResultCompleted:
		return []string{"planned", "staged", "applied", "verified", "promoted", "delivered", "completed"}
	}
	return []string{"planned", "undone"}
}

// Final checks what must hold once nothing is going on any more, beyond the invariants of every moment.
func (w *World) Final() {
	ctx := context.Background()
	settled := w.Settled()
	if w.stood {
		w.violate("gives-up", slices.Collect(maps.Values(w.secrets))[0], "a process waited for ever for a call that does not return")
	}
	for id, path := range w.acknowledged {
		if !w.done[id] {
			w.violate("request-kept", w.secrets[path], "acknowledged request %s was not served", id)
		}
	}
	for path, s := range w.secrets {
		if entry := w.entry(path); entry.Live != nil {
			w.violate("converges", s, "run %s is still at %s after the time allowed: %+v", entry.Live.ID, entry.Live.Step, entry.Live.Waiting)
		} else if !settled {
			w.violate("converges", s, "the world is not settled after the time allowed")
		}
		held, err := w.store.Read(ctx, path)
		if err != nil {
			w.violate("converges", s, "no value of record")
			continue
		}
		live := 0
		for _, count := range s.Upstream.Credentials() {
			live += count
		}
		if live != 1 {
			w.violate("no-orphans", s, "%d credentials are honoured upstream, 1 is on record", live)
		}
		if !s.Upstream.Accepts(held.Value) {
			w.violate("record-is-honoured", s, "the upstream refuses the value of record")
		}
		w.revoked(s, held.ID.Number)
		w.check(path, "")
	}
}
