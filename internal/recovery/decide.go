// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"strings"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// Action is what becomes of one secret.
type Action string

// The actions.
const (
	// Keeps: the version of record goes on.
	Keeps Action = "keeps"
	// KeepsCandidate: the version that a run of the older state had prepared goes on.
	KeepsCandidate Action = "keeps its candidate"
	// Rotates: a run replaces it by itself.
	Rotates Action = "rotates"
	// Person: nothing is done with it until somebody runs the command that is named.
	Person Action = "needs a person"
	// Begins: the authority holds no value of it yet, and nothing says that it ever did.
	Begins Action = "begins"
)

// Situation is all that decides about one secret.
type Situation struct {
	Secret string
	// Declared: the estate in force has it. Nothing is asked about any other.
	Declared bool
	// Derived: its value is computed from others. Blocked names one of those that needs a person, "" when none does.
	Derived bool
	Blocked string
	// HasValue: the authority holds one, with Fields.
	HasValue bool
	Fields   []string
	// Seeded: its first value is sealed in Git. HandedOver: the authority knows that it was taken from there.
	Seeded, HandedOver bool
	// Kind is nil where nothing makes its values but people.
	Kind              *upstream.Kind
	AllowInterruption bool
	// Admin: an upstream is opened with it.
	Admin bool
	// Record and Candidate are what the upstream says of the version of record and of the candidate of a run that was
	// under way; "" where it was not asked. Doubt is why the answer is unknown.
	Record, Candidate upstream.Verdict
	Doubt             string
	// HasCandidate: a run had prepared one, which may be in use.
	HasCandidate bool
	// Newer says which consumer holds something newer, "" when none does.
	Newer string
	// Stranger is the run of a newer state that changed the account last, "" for none that is known of.
	Stranger string
	// Held says why neither its upstream nor its consumers can be asked, "" when they can.
	Held string
}

// Decision is what becomes of one secret, why, and the reason for which it waits, if it does.
type Decision struct {
	Action Action
	Why    string
	Waits  reason.Reason
}

// Next is the command with which a person goes on, "" when none is needed.
func (d Decision) Next() string {
	for _, command := range d.Waits.Commands() {
		return command
	}
	return ""
}

// none is for what does not wait.
var none reason.Reason

// again is for what is asked about once more.
func again() reason.Reason { return reason.New(reason.RecoveryAsks, nil) }

// replaced is for what a run replaces.
func replaced() reason.Reason { return reason.New(reason.RecoveryReplaces, nil) }

// Decide says what becomes of a secret after an older state was put back. What its upstream accepts is kept. What it refuses
// is replaced where that disturbs nobody; everything else waits for a person.
func Decide(s Situation) Decision {
	switch {
	case !s.Declared:
		return Decision{Keeps, "no document declares it, so it was not tried", none}
	case s.Held != "":
		return Decision{Person, "it is held, and nothing outside can be asked until then: " + s.Held, again()}
	case s.Derived && s.Blocked != "":
		return Decision{Rotates, "it is computed again once " + s.Blocked + " is recovered", replaced()}
	case s.Derived:
		return Decision{Keeps, "it is computed from others", none}
	case !s.HasValue:
		return withoutValue(s)
	case s.Kind == nil || !s.Kind.Verifies:
		return unasked(s)
	case s.Record == upstream.Accepted && s.Stranger != "":
		return Decision{Keeps, "its upstream accepts it; run " + s.Stranger + ", which this state does not know, changed its account last, so its next rotation waits for a person", none}
	case s.Record == upstream.Accepted:
		return Decision{Keeps, "its upstream accepts it", none}
	case s.Candidate == upstream.Accepted:
		return Decision{KeepsCandidate, "its upstream refuses the current version and accepts the candidate of a run", none}
	case s.Record == upstream.Refused && s.HasCandidate && s.Candidate != upstream.Refused:
		return Decision{Person, "its upstream refuses the current version; it is not known yet whether it accepts the candidate of a run" + because(s.Doubt),
			again()}
	case s.Record == upstream.Refused:
		return refused(s)
	}
	return Decision{Person, "its upstream cannot say whether it accepts the value" + because(s.Doubt), again()}
}

func because(doubt string) string {
	if doubt == "" {
		return ""
	}
	return " (" + doubt + ")"
}

// withoutValue: what is sealed in Git may be older than what was used since, and is taken only where an upstream says so.
func withoutValue(s Situation) Decision {
	verifies := s.Kind != nil && s.Kind.Verifies
	switch {
	case s.Seeded && !s.HandedOver && verifies && s.Newer == "":
		return Decision{Begins, "its upstream is asked about the sealed value", none}
	case s.Newer != "" && s.Kind != nil && !verifies: // what makes its values takes none from people
		return Decision{Person, "the authority has no value of it" + because(s.Newer), rotate(s)}
	case s.Seeded || s.HandedOver:
		return Decision{Person, "the authority has no value of it" + because(s.Newer) + "; what is sealed in Git may be older than what is in use", supply(s)}
	case s.Newer != "":
		waits := supply(s).With(reason.Args{"rotate": s.Secret})
		return Decision{Person, "the authority has no value of it" + because(s.Newer) + "; supply the value in use, or rotate it", waits}
	}
	return Decision{Begins, "its first value is still to be made", none}
}

// unasked: no upstream can tell.
func unasked(s Situation) Decision {
	switch {
	case s.Newer == "":
		return Decision{Keeps, "nothing outside can be asked, and no consumer holds a newer version", none}
	case s.Kind == nil:
		return Decision{Person, s.Newer + "; no upstream can tell which is right", supply(s)}
	}
	return Decision{Person, s.Newer + ", whose value is lost with the newer state", rotate(s)}
}

func refused(s Situation) Decision {
	why := "its upstream refuses it" + because(s.Newer)
	if s.Stranger != "" {
		why += "; run " + s.Stranger + ", which this state does not know, changed its account last"
	}
	switch {
	case s.Admin:
		return Decision{Person, why + "; set the password of that account upstream by hand and supply it", supply(s)}
	case s.Kind.Capability == upstream.Dual || s.AllowInterruption:
		return Decision{Rotates, why, replaced()}
	case s.Kind.Capability == upstream.Overwrite:
		return Decision{Person, why + "; set another one there by hand and supply it", supply(s)}
	}
	return Decision{Person, why + "; a rotation may set the password of the account that its consumers use now, and refuse them until they have the new one", rotate(s)}
}

func rotate(s Situation) reason.Reason {
	return reason.New(reason.RecoveryRotates, reason.Args{"rotate": s.Secret})
}

// supply names the command with every field of the value.
func supply(s Situation) reason.Reason {
	command := []string{s.Secret}
	if len(s.Fields) > 1 || len(s.Fields) == 1 && s.Fields[0] != "value" {
		for _, field := range s.Fields {
			command = append(command, "--field", field)
		}
	}
	return reason.New(reason.RecoverySupplies, reason.Args{"supply": strings.Join(command, " ")})
}
