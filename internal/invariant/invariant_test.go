// SPDX-License-Identifier: Apache-2.0

package invariant_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/upstream"
)

func id(number authority.Version) authority.VersionID {
	return authority.VersionID{Incarnation: "one", Run: "run", Number: number}
}

// healthy is a dual secret in the middle of a run that promoted version 2 and whose consumer runs on it.
func healthy() invariant.Secret {
	return invariant.Secret{
		Name: "db", Capability: upstream.Dual, Promoted: true, Tombstoned: true, RecordAtTombstone: id(1),
		Record:      invariant.Credential{Known: true, ID: id(2), Verdict: upstream.Accepted},
		Candidate:   invariant.Credential{Known: true, ID: id(2), Verdict: upstream.Accepted},
		Old:         invariant.Credential{Known: true, ID: id(1), Verdict: upstream.Accepted, FromGit: true},
		Consumers:   []invariant.Consumer{{Name: "app", Runs: id(2), Verdict: upstream.Accepted}},
		Transitions: []string{"planned", "completed"}, Due: []string{"planned", "completed"},
		Touched: "run", Latest: "run",
	}
}

// Each invariant is broken by what it names, and by nothing less.
func TestEachInvariantCanBreak(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*invariant.Secret)
		want   []string
	}{
		"healthy": {func(*invariant.Secret) {}, nil},
		"old refused after the proof": {
			func(s *invariant.Secret) { s.Old.Verdict = upstream.Refused }, nil,
		},
		"an answer that decides nothing": {func(s *invariant.Secret) {
			s.Record.Verdict, s.Candidate.Verdict, s.Old.Verdict = upstream.Unknown, upstream.Unknown, upstream.Unknown
			s.Consumers[0].Verdict = upstream.Unknown
		}, nil},
		"never issued": {func(s *invariant.Secret) {
			*s = invariant.Secret{Name: "db", Capability: upstream.Dual, Candidate: invariant.Credential{Known: true, Verdict: upstream.Refused}}
		}, nil},
		"everything refused": {func(s *invariant.Secret) {
			s.Record.Verdict, s.Candidate.Verdict, s.Old.Verdict = upstream.Refused, upstream.Refused, upstream.Refused
		}, []string{"working-credential", "record-is-honoured"}},
		"everything refused but what a superseded run had not revoked": {func(s *invariant.Secret) {
			s.Record.Verdict, s.Candidate.Verdict, s.Old.Verdict = upstream.Refused, upstream.Refused, upstream.Unknown
			s.Old.Known, s.Older = false, []invariant.Credential{{Known: true, Verdict: upstream.Accepted}}
		}, []string{"record-is-honoured"}},
		"somebody else's value refused, the managed one accepted": {func(s *invariant.Secret) {
			s.Foreign, s.Managed, s.Record.Verdict, s.Old, s.Candidate = true, s.Old, upstream.Refused, invariant.Credential{}, invariant.Credential{}
			s.Consumers[0].Runs = s.Managed.ID
		}, []string{"record-is-honoured"}},
		"record refused": {
			func(s *invariant.Secret) { s.Record.Verdict = upstream.Refused }, []string{"record-is-honoured"},
		},
		"overwritten before promotion": {func(s *invariant.Secret) {
			s.Capability, s.Promoted = upstream.Overwrite, false
			s.Record.Verdict, s.Old.Verdict, s.Consumers[0].Verdict = upstream.Refused, upstream.Refused, upstream.Refused
		}, nil},
		"overwritten and lost": {func(s *invariant.Secret) {
			s.Capability, s.Promoted, s.Candidate = upstream.Overwrite, false, invariant.Credential{}
			s.Record.Verdict, s.Old.Verdict = upstream.Refused, upstream.Refused
		}, []string{"working-credential", "record-is-honoured"}},
		"consumer refused": {
			func(s *invariant.Secret) { s.Consumers[0].Verdict = upstream.Refused }, []string{"consumers-not-refused"},
		},
		"consumer refused, as a person said": {
			func(s *invariant.Secret) { s.Consumers[0].Verdict, s.Consumers[0].Waived = upstream.Refused, true }, nil,
		},
		"old refused before promotion": {func(s *invariant.Secret) {
			s.Promoted, s.Old.Verdict = false, upstream.Refused
		}, []string{"proof-before-revocation"}},
		"old refused before the proof": {func(s *invariant.Secret) {
			s.Old.Verdict, s.Consumers[0].Runs = upstream.Refused, id(1)
		}, []string{"proof-before-revocation"}},
		"same number, other run": {func(s *invariant.Secret) {
			s.Old.Verdict, s.Consumers[0].Runs.Run = upstream.Refused, "run-before"
		}, []string{"proof-before-revocation"}},
		"bootstrap value again": {
			func(s *invariant.Secret) { s.Record.FromGit = true }, []string{"git-never-after-tombstone"},
		},
		"bootstrap value of another incarnation": {func(s *invariant.Secret) {
			s.Record.FromGit, s.Record.ID = true, authority.VersionID{Incarnation: "two", Run: "run", Number: 1}
			s.Consumers[0].Runs = s.Record.ID
		}, []string{"git-never-after-tombstone"}},
		"bootstrap value before any rotation": {func(s *invariant.Secret) {
			s.Record = invariant.Credential{Known: true, ID: id(1), Verdict: upstream.Accepted, FromGit: true}
		}, nil},
		"somebody else's value": {func(s *invariant.Secret) {
			s.Foreign, s.Consumers[0].Runs = true, id(1)
		}, nil},
		"somebody else's value, delivered": {
			func(s *invariant.Secret) { s.Foreign = true }, []string{"foreign-value-is-not-delivered"},
		},
		"a step that is not on record": {
			func(s *invariant.Secret) { s.Transitions = s.Transitions[:1] }, []string{"one-record-per-transition"},
		},
		"a step that is on record twice": {
			func(s *invariant.Secret) { s.Transitions = append(s.Transitions, "planned") }, []string{"one-record-per-transition"},
		},
		"a run taken back, and its candidate honoured": {func(s *invariant.Secret) {
			s.TakenBack = invariant.Credential{Known: true, ID: id(3), Verdict: upstream.Accepted}
		}, []string{"taken-back-is-refused"}},
		"two histories": {func(s *invariant.Secret) { s.Misplaced = "it waits for its own path" }, []string{"one-identity"}},
		"a late change": {func(s *invariant.Secret) { s.Touched = "run-before" }, []string{"one-live-run"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			c.change(&s)
			var got []string
			for _, violation := range invariant.Check(s) {
				got = append(got, violation.Invariant)
				if violation.Secret != "db" || violation.Detail == "" || !strings.Contains(violation.Next, "`custody ") {
					t.Errorf("%q names no secret, no reason or no command", violation)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("violations differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvariantsAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, one := range invariant.All {
		if seen[one.Name] || one.Name == "" || one.Means == "" {
			t.Errorf("%q is named twice, or not at all, or says nothing", one.Name)
		}
		seen[one.Name] = true
	}
}
