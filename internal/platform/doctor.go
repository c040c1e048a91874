// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/upstream"
)

// askTimeout bounds each question that doctor asks outside.
const askTimeout = 15 * time.Second

// Doctor implements server.Service: it takes a snapshot of every secret, as the simulator does, and checks the same
// invariants on it. It signs in with the value of record, and with the candidate and the old value of a live run; it
// never tries a credential that should be refused otherwise.
func (p *Platform) Doctor(ctx context.Context) (server.Diagnosis, error) {
	estate, err := p.inForce()
	if err != nil {
		return server.Diagnosis{}, err
	}
	var diagnosis server.Diagnosis
	for _, name := range estate.SecretNames() {
		bound, ok := p.Orchestrator.At(estate.Secrets[name].Path)
		if !ok {
			continue
		}
		held, err := p.Orchestrator.Misplaced(ctx, bound)
		if err != nil {
			return server.Diagnosis{}, err
		}
		if !held.None() { // no credential that may be another secret's is tried
			diagnosis.Violations = append(diagnosis.Violations, invariant.Check(invariant.Secret{Name: name, Misplaced: held.Text()})...)
			continue
		}
		if held, err = p.Orchestrator.Held(ctx, bound); err != nil {
			return server.Diagnosis{}, err
		}
		if !held.None() {
			continue // the status says so
		}
		snapshot, doubts, err := p.snapshot(ctx, bound)
		if errors.Is(err, journal.ErrUnreadable) { // its own row says so
			continue
		}
		if err != nil {
			return server.Diagnosis{}, err
		}
		diagnosis.Violations = append(diagnosis.Violations, invariant.Check(snapshot)...)
		diagnosis.Findings = append(diagnosis.Findings, doubts...)
		if err := p.tell(ctx, bound, snapshot.Record); err != nil {
			diagnosis.Findings = append(diagnosis.Findings, server.NewFinding(name, reason.New(reason.AnswerNotNoted, nil).Because(err.Error())))
		}
	}
	status, err := p.survey(ctx, everything)
	if err != nil {
		return server.Diagnosis{}, err
	}
	for _, one := range status.Findings { // what was just answered is among them
		if !slices.ContainsFunc(diagnosis.Findings, func(f server.Finding) bool { return f.Secret == one.Secret && f.Same(one.Reason) }) {
			diagnosis.Findings = append(diagnosis.Findings, one)
		}
	}
	left, err := p.leftovers(ctx, estate)
	if err != nil {
		return server.Diagnosis{}, err
	}
	for _, one := range left { // the status tells of some already
		if !slices.ContainsFunc(diagnosis.Findings, func(f server.Finding) bool { return f.Same(one.Reason) }) {
			diagnosis.Findings = append(diagnosis.Findings, one)
		}
	}
	for _, invariant := range invariant.All {
		diagnosis.Checked = append(diagnosis.Checked, fmt.Sprintf("%s: %s, over %d secrets", invariant.Name, invariant.Means, len(estate.Secrets)))
	}
	diagnosis.Checked = append(diagnosis.Checked, "consumers have the current version", "no file holds a value that nobody should read", "the record's checkpoints are kept elsewhere", "the clock")
	return diagnosis, nil
}

// tell has the journal know what was just answered, so that status and explain say the same.
func (p *Platform) tell(ctx context.Context, s orchestrator.Secret, record invariant.Credential) error {
	if !record.Known || record.Verdict == upstream.Unknown || p.refuseWhileRecovering() != nil {
		return nil
	}
	return p.Orchestrator.Told(ctx, s.Path, record.ID, record.Verdict == upstream.Refused, "doctor")
}

func (p *Platform) snapshot(ctx context.Context, s orchestrator.Secret) (invariant.Secret, []server.Finding, error) {
	entry, err := p.Journal.Load(ctx, s.Path)
	if err != nil {
		return invariant.Secret{}, nil, err
	}
	snapshot := invariant.Secret{Name: s.Subject.Secret, Tombstoned: entry.Tombstone != nil}
	if entry.Retires() || entry.Retired() { // what it had is to be refused, and nobody is to hold it
		return snapshot, nil, nil
	}
	if s.Upstream != nil {
		snapshot.Capability = s.Upstream.Kind().Capability
	}
	var doubts []server.Finding
	held, err := p.Authority.Read(ctx, s.Path)
	if err == nil {
		doubts = append(doubts, p.opens(ctx, s, held)...)
		snapshot.Record = p.judge(ctx, s, held.ID, held.Value, &doubts)
		snapshot.Foreign = entry.Foreign(held.ID)
	}
	if snapshot.Foreign && entry.Live == nil && entry.Current != nil {
		if managed, err := p.Authority.ReadVersion(ctx, s.Path, entry.Current.Number); err == nil {
			snapshot.Managed = p.judge(ctx, s, managed.ID, managed.Value, &doubts)
		}
	}
	if run := entry.Live; run != nil && run.Workflow == journal.Rotation && s.Upstream != nil {
		kind := s.Upstream.Kind()
		snapshot.Issuing = kind.Issues && kind.Capability == upstream.Overwrite && run.Step == journal.Staged
		snapshot.Promoted = held.ID.Run == run.ID
		if old, err := p.Authority.ReadVersion(ctx, s.Path, run.Base); run.Base > 0 && err == nil {
			snapshot.Old = p.judge(ctx, s, old.ID, old.Value, &doubts)
		}
		for _, number := range run.Older {
			if older, err := p.Authority.ReadVersion(ctx, s.Path, number); err == nil {
				snapshot.Older = append(snapshot.Older, p.judge(ctx, s, older.ID, older.Value, &doubts))
			}
		}
		if candidate, err := p.Orchestrator.Rotation.Candidate(ctx, s.Path); err == nil && !candidate.Empty() {
			id := authority.VersionID{Run: run.ID, Number: run.Follows() + 1}
			snapshot.Candidate = p.judge(ctx, s, id, candidate, &doubts)
		}
	}
	if entry.Live == nil && entry.Last != nil && entry.Last.Workflow == journal.Rotation {
		snapshot.Due = []string{string(journal.Planned), string(journal.Undone)}
		if entry.Last.Result == journal.ResultCompleted {
			snapshot.Due[1] = string(journal.Completed)
		}
		events, err := p.Audit(ctx, audit.Filter{Run: entry.Last.Run})
		if err != nil {
			return snapshot, nil, err
		}
		for _, event := range events {
			snapshot.Transitions = append(snapshot.Transitions, event.Step)
		}
		if p.mayBeInAGap(ctx, entry.Last) {
			snapshot.Due = slices.DeleteFunc(snapshot.Due, func(step string) bool { return !slices.Contains(snapshot.Transitions, step) })
		}
	}
	for _, consumer := range s.Consumers {
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		proof, err := p.Orchestrator.Rotation.Prove(ask, s.Subject, consumer, held, outward.First)
		cancel()
		if err != nil {
			why := reason.New(reason.ConsumerUnasked, reason.Args{"consumer": consumer.Name()}).Because(err.Error())
			doubts = append(doubts, server.NewFinding(s.Subject.Secret, why))
			continue
		}
		seen := invariant.Consumer{Name: consumer.Name(), Runs: proof.Version, Verdict: upstream.Unknown, Waived: entry.Waives(consumer.Name())}
		if proof.Version == held.ID {
			seen.Verdict = snapshot.Record.Verdict
		} else if entry.Live == nil && entry.Current != nil {
			why := reason.New(reason.ConsumerNotOnRecord, reason.Args{"consumer": consumer.Name(), "deliver": s.Subject.Secret})
			doubts = append(doubts, server.NewFinding(s.Subject.Secret, why))
		}
		snapshot.Consumers = append(snapshot.Consumers, seen)
	}
	return snapshot, doubts, nil
}

// opens is the finding of an admin credential that no upstream rotates, and that does not open what it is for. What was answered is
// noted, so that status and explain say the same.
func (p *Platform) opens(ctx context.Context, s orchestrator.Secret, held authority.Versioned) (found []server.Finding) {
	if s.Upstream != nil || s.Opens == nil {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	verdict, err := p.Orchestrator.Rotation.Opens(ask, s.Subject, held.Value)
	switch {
	case verdict == upstream.Refused:
		found = append(found, server.NewFinding(s.Subject.Secret, reason.New(reason.AdminRefused, reason.Args{"supply": s.Subject.Secret})))
	case err != nil:
		return append(found, server.NewFinding(s.Subject.Secret, reason.New(reason.AdminUndecided, nil).Because(s.Explained(err))))
	case verdict != upstream.Accepted: // it cannot be asked about
		return nil
	}
	if err := p.tell(ctx, s, invariant.Credential{Known: true, ID: held.ID, Verdict: verdict}); err != nil {
		found = append(found, server.NewFinding(s.Subject.Secret, reason.New(reason.AnswerNotNoted, nil).Because(err.Error())))
	}
	return found
}

// judge asks the upstream about one credential.
func (p *Platform) judge(ctx context.Context, s orchestrator.Secret, id authority.VersionID, v secret.Value, doubts *[]server.Finding) invariant.Credential {
	credential := invariant.Credential{Known: true, ID: id, Verdict: upstream.Unknown}
	if s.Upstream == nil {
		return credential
	}
	if held, err := p.Authority.Read(ctx, s.Path); s.Upstream.Kind().WrongEvery > 0 && (err != nil || held.ID != id) {
		*doubts = append(*doubts, server.NewFinding(s.Subject.Secret, reason.New(reason.CredentialUntried, nil)))
		return credential
	}
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	verdict, err := p.Orchestrator.Rotation.SignIn(ask, s.Subject, v)
	if err == nil {
		credential.Verdict = verdict
	}
	if credential.Verdict == upstream.Unknown {
		why := reason.New(reason.VersionUndecided, reason.Args{"version": strconv.FormatUint(uint64(id.Number), 10)})
		if err != nil {
			why = why.Because(err.Error())
		}
		*doubts = append(*doubts, server.NewFinding(s.Subject.Secret, why))
	}
	return credential
}

// mayBeInAGap reports whether events of the run may be among those that a person went on without.
func (p *Platform) mayBeInAGap(ctx context.Context, run *journal.Outcome) bool {
	if p.Recovery == nil {
		return false
	}
	accepted, err := recovery.Last(ctx, p.Recovery.Authority)
	return err == nil && run.Started.Before(accepted.Cut)
}
