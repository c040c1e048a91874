// SPDX-License-Identifier: Apache-2.0

// Package invariant states what must be true of every secret at every moment, as pure functions of a snapshot. The
// simulator checks them after every effect; `custody doctor` checks the same ones on a running platform.
package invariant

import (
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
)

// Credential is one value that Custody knows of, with what its upstream says of it now.
type Credential struct {
	Known   bool
	ID      authority.VersionID
	Verdict upstream.Verdict
	// FromGit: it equals the value in the secret's bootstrap document.
	FromGit bool
}

// Consumer is what one declared consumer runs on.
type Consumer struct {
	Name string
	// Runs is the version its process runs on; zero when nothing was ever delivered.
	Runs authority.VersionID
	// Verdict is what the upstream says of the value its process runs on.
	Verdict upstream.Verdict
	// Waived: a person waived its proof in the live or the last run.
	Waived bool
}

// Secret is a snapshot of one secret.
type Secret struct {
	Name string
	// Misplaced says how the secret's name and path are not those of one history, "" when they are. Nothing else is then known
	// of it.
	Misplaced  string
	Capability upstream.Capability
	// Record is the value at the secret's path, Candidate the pending value of the live run, Old what that run replaces.
	Record, Candidate, Old Credential
	// Managed is the version on record, where somebody else wrote over it and no run is live: it can be put back.
	Managed Credential
	// Older are those that a superseded run had not revoked, and that the live run is to revoke.
	Older []Credential
	// TakenBack is the candidate of the last run where that was undone, no run is live, and it is still known.
	TakenBack Credential
	// Promoted: the live run's candidate is the value of record.
	Promoted bool
	// Foreign: the value at the secret's path is one that no run of Custody wrote, see journal.Entry.Foreign.
	Foreign bool
	// Issuing: an upstream that issues by overwriting was asked for the next credential, and its answer is not kept yet. For
	// so long nobody need know a credential that works: that is what such a kind does.
	Issuing    bool
	Consumers  []Consumer
	Tombstoned bool
	// RecordAtTombstone is the version that handover wrote.
	RecordAtTombstone authority.VersionID
	// Transitions are the steps on record of the last closed run, and Due those it should have.
	Transitions, Due []string
	// Touched is the run whose change just landed upstream, if one did; Latest the live run, else the last one.
	Touched, Latest authority.RunID
}

// Violation says which invariant does not hold and how, and what a person does next.
type Violation struct {
	Invariant string
	Secret    string
	Detail    string
	Next      string `json:",omitempty"`
}

// String is one line for people.
func (v Violation) String() string { return v.Invariant + ": " + v.Secret + ": " + v.Detail }

// Invariant is a named predicate: "" when it holds, else how it is broken. Next is what a person does about it then.
type Invariant struct {
	Name  string
	Means string
	Holds func(Secret) string
	Next  func(Secret) string
}

// All are the invariants that hold at every moment.
var All = []Invariant{
	{"working-credential", "the upstream accepts at least one credential that Custody knows", workingCredential, setByHand},
	{"record-is-honoured", "the upstream accepts the current value (for overwrite kinds: it or the candidate of the run under way)", recordIsHonoured, replaceRecord},
	{"consumers-not-refused", "no consumer of a dual or alternate kind runs on a refused credential", consumersNotRefused, deliverRecord},
	{"proof-before-revocation", "during a run, the upstream accepts the old credential until every consumer runs on the new version", proofBeforeRevocation, deliverPromoted},
	{"taken-back-is-refused", "the upstream refuses the candidate of a run that was rolled back", takenBackIsRefused, revokeByHand},
	{"git-never-after-tombstone", "nothing from Git is written to a secret's path after its tombstone", gitNeverAfterTombstone, replace},
	{"foreign-value-is-not-delivered", "no consumer runs on a value that somebody else wrote to the secret's path", foreignValueIsNotDelivered, replace},
	{"one-record-per-transition", "the record has every transition of an ended run exactly once", oneRecordPerTransition, verifyRecord},
	{"one-identity", "a secret's name and path lead to one history", oneIdentity, explain},
	{"one-live-run", "no change of an earlier run reaches an account after a later run has begun", oneLiveRun, explain},
}

// Check returns every violation in s.
func Check(s Secret) []Violation {
	var found []Violation
	for _, invariant := range All {
		if detail := invariant.Holds(s); detail != "" {
			found = append(found, Violation{invariant.Name, s.Name, detail, invariant.Next(s)})
		}
	}
	return found
}

func workingCredential(s Secret) string {
	if s.Issuing || !s.Record.Known && !s.Old.Known {
		return "" // never issued: nothing depends on it yet
	}
	for _, credential := range append([]Credential{s.Record, s.Candidate, s.Old, s.Managed}, s.Older...) {
		if credential.Known && credential.Verdict != upstream.Refused {
			return ""
		}
	}
	return "the upstream refuses every credential that Custody knows"
}

func recordIsHonoured(s Secret) string {
	if !s.Record.Known || s.Record.Verdict != upstream.Refused {
		return ""
	}
	if s.Issuing || s.Capability == upstream.Overwrite && s.Candidate.Known && !s.Promoted && s.Candidate.Verdict != upstream.Refused {
		return ""
	}
	return fmt.Sprintf("the upstream refuses version %s, the current value", s.Record.ID)
}

func consumersNotRefused(s Secret) string {
	if s.Capability == upstream.Overwrite {
		return ""
	}
	for _, consumer := range s.Consumers {
		if !consumer.Waived && consumer.Runs != (authority.VersionID{}) && consumer.Verdict == upstream.Refused {
			return fmt.Sprintf("consumer %s runs on version %s, which the upstream refuses", consumer.Name, consumer.Runs)
		}
	}
	return ""
}

func proofBeforeRevocation(s Secret) string {
	if s.Capability == upstream.Overwrite || !s.Old.Known || s.Old.Verdict != upstream.Refused {
		return ""
	}
	if !s.Promoted {
		return fmt.Sprintf("the upstream refuses version %s before its successor was promoted", s.Old.ID)
	}
	for _, consumer := range s.Consumers {
		if !consumer.Waived && consumer.Runs != s.Record.ID {
			return fmt.Sprintf("the upstream refuses version %s while consumer %s runs on %s", s.Old.ID, consumer.Name, consumer.Runs)
		}
	}
	return ""
}

func takenBackIsRefused(s Secret) string {
	if s.TakenBack.Known && s.TakenBack.Verdict == upstream.Accepted {
		return fmt.Sprintf("run %s was taken back, and the upstream honours its candidate", s.TakenBack.ID.Run)
	}
	return ""
}

func gitNeverAfterTombstone(s Secret) string {
	if s.Tombstoned && s.Record.Known && s.Record.FromGit && s.Record.ID != s.RecordAtTombstone {
		return fmt.Sprintf("version %s holds the bootstrap value", s.Record.ID)
	}
	return ""
}

func foreignValueIsNotDelivered(s Secret) string {
	for _, consumer := range s.Consumers {
		if s.Foreign && consumer.Runs == s.Record.ID {
			return fmt.Sprintf("consumer %s runs on version %s, which no run of Custody wrote", consumer.Name, consumer.Runs)
		}
	}
	return ""
}

func oneRecordPerTransition(s Secret) string {
	count := map[string]int{}
	for _, step := range s.Transitions {
		count[step]++
	}
	for _, step := range s.Due {
		if count[step] != 1 {
			return fmt.Sprintf("step %s of the last closed run is on record %d times", step, count[step])
		}
	}
	return ""
}

func oneIdentity(s Secret) string { return s.Misplaced }

func oneLiveRun(s Secret) string {
	if s.Touched != "" && s.Latest != "" && s.Touched != s.Latest {
		return fmt.Sprintf("a change of run %s landed while %s is the latest", s.Touched, s.Latest)
	}
	return ""
}
