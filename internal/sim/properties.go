// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
)

// Properties are what the world checks beyond the invariants of package invariant, by name: what only somebody can see who
// knows all that ever happened, or what must hold in the end.
var Properties = map[string]string{
	"cap":                         "the clock alone starts no more runs within an hour than is allowed",
	"completes-on-evidence":       "when a rotation completes, the upstream honours the value of record",
	"copy-before-apply":           "no candidate of an admin credential is applied before its emergency copy is kept",
	"compromise-ends":             "when the time that the policy gives consumers after a compromise is over, every credential that was known then is refused",
	"consumers-have-their-time":   "after a compromise no consumer is broken before the time that the policy gives it",
	"converges":                   "once nothing goes wrong any more, every run ends and every consumer runs on the version of record",
	"declared-policy-is-enforced": "the journal enforces the policy that the estate declares",
	"foreign-write-is-decided":    "once it is decided about, what somebody else wrote is the value of record or is gone, as the decision says",
	"foreign-write-holds":         "what somebody else wrote is neither overwritten nor believed, and nothing is revoked",
	"gives-up":                    "a call that never returns stops nothing but itself",
	"interrupting-goes-last":      "of a group, who ends the old credential by making the new one waits for all others",
	"kept-apart":                  "no rotation begins beside that of another secret of its stagger set, or within the gap after it",
	"liveness":                    "no value lives longer than its policy says",
	"no-orphans":                  "in the end one credential is honoured upstream, the one on record",
	"one-fate":                    "no member of a group goes forward while another is taken back",
	"report-served-once":          "a report of a compromise that is sent again makes no other version",
	"request-kept":                "a request that was acknowledged is closed by a run that completed, or that a person aborted, and by no other",
	"retired-leaves-nothing":      "once a secret is retired, the upstream honours no value of it, no value can be read, and no consumer holds one",
	"returned-is-kept":            "a secret that is declared again before its upstream was asked to refuse it keeps its value",
	"revoked-value-is-gone":       "in the end the values that a completed rotation replaced can be read no more",
	"settle-time":                 "the old credential is honoured for the settle time after the last consumer moved, unless the time after a compromise is over",
	"silence-is-no-refusal":       "an upstream that cannot be asked has nothing taken back",
	"stranger-is-left-alone":      "no run changes an account that a run of a lost state changed last, unless a person lets it",
	"used-credential-is-kept":     "a credential that somebody undeclared still uses is not revoked",
	"withdrawn-before-revoked":    "no retirement revokes what a consumer still holds",
	"verified-goes-forward":       "a run whose candidate was verified is not taken back by a person",
}

// violate notes that a named property does not hold.
func (w *World) violate(name string, s *Secret, format string, args ...any) {
	if !named(name) {
		panic("sim: nothing is called " + name)
	}
	violation := invariant.Violation{Invariant: name, Secret: s.Subject.Secret, Detail: fmt.Sprintf(format, args...)}
	if !slices.Contains(w.Violations, violation) {
		w.Violations = append(w.Violations, violation)
	}
}

// named reports whether an invariant or a property has the name.
func named(name string) bool {
	return Properties[name] != "" || slices.ContainsFunc(invariant.All, func(one invariant.Invariant) bool { return one.Name == name })
}

// settling checks, as the live run's call to revoke takes effect, that every consumer moved a settle time ago: the one that the run
// began with or, where it is longer, that of the policy declared now.
func (w *World) settling(path authority.Path, id authority.RunID, old secret.Value) {
	s, entry := w.secrets[path], w.entry(path)
	run := entry.Live
	if run == nil || run.ID != id || run.Step != journal.Delivered || len(run.Waived) > 0 || !s.Upstream.Accepts(old) {
		return
	}
	if c := run.Compromise; c != nil && run.Policy.OnCompromise != nil && w.Now().Sub(c.At) >= run.Policy.OnCompromise.BreakAfter {
		return // its time is over, whoever moved when
	}
	settle := max(run.Policy.Settle, s.Policy.Settle, w.pinned[id])
	for _, consumer := range s.Consumers {
		if ran := time.Since(consumer.Since()); ran < settle {
			w.violate("settle-time", s, "the old credential is revoked %s after %s moved, want %s", ran, consumer.Name(), settle)
		}
	}
}

// copied checks, as a candidate is applied, that its emergency copy is kept, where it has one. What is of record is set again when a
// run is taken back.
func (w *World) copied(path authority.Path, id authority.RunID, candidate secret.Value) {
	s := w.secrets[path]
	if s.Escrow == nil || candidate.Equal(w.escrowed[id]) {
		return
	}
	if held, err := w.store.Read(context.Background(), path); err == nil && held.Value.Equal(candidate) {
		return
	}
	w.violate("copy-before-apply", s, "run %s applies its candidate without an emergency copy", id)
}

// closing checks a run as it is closed, and notes what one began with.
func (w *World) closing(entry *journal.Entry) {
	if run := entry.Live; run != nil {
		if _, known := w.pinned[run.ID]; !known {
			w.pinned[run.ID] = run.Policy.Settle
		}
	}
	last := entry.Last
	if last == nil || entry.Live != nil || w.closed[last.Run] {
		return
	}
	w.closed[last.Run] = true
	if last.Workflow != journal.Rotation || last.Result != journal.ResultCompleted {
		return
	}
	s := w.secrets[entry.Path]
	held, err := w.store.Read(context.Background(), entry.Path)
	if err != nil || !s.Upstream.Accepts(held.Value) {
		w.violate("completes-on-evidence", s, "run %s completed while the upstream refuses version %s (%v)", last.Run, held.ID, err)
	}
}

// serves checks which run closes a request, as it is closed.
func (w *World) serves(id string, data []byte) {
	var request trigger.Request
	if err := json.Unmarshal(data, &request); err != nil {
		panic("sim: reading a closed request: " + err.Error())
	}
	if slices.Contains(w.log[request.Run], string(journal.Completed)) {
		return
	}
	for path := range w.secrets {
		if last := w.entry(path).Last; last != nil && last.Run == request.Run && last.Aborted {
			return
		}
	}
	w.violate("request-kept", w.secrets[request.Path], "request %s is closed by run %s, which neither completed nor was aborted", id, request.Run)
}

// revoked checks that what the last rotation replaced is gone.
func (w *World) revoked(s *Secret, held authority.Version) {
	last := w.entry(s.Path).Last
	if last == nil || last.Workflow != journal.Rotation || last.Result != journal.ResultCompleted || !s.Policy.RevokeOld {
		return
	}
	for number := range held {
		if _, err := w.store.ReadVersion(context.Background(), s.Path, number); err == nil {
			w.violate("revoked-value-is-gone", s, "version %d can be read though %d replaced it", number, held)
		}
	}
}
