// SPDX-License-Identifier: Apache-2.0

// Package reason has the catalogue of everything that a secret, a run or the platform may wait for, and of everything
// that a person should look at. A Reason is data: a code and its parameters. Its text, its commands and whether a
// person has to act are rendered from the catalogue, and so are the labels of metrics and the tables in
// docs/operations.md. Nothing parses the text again.
//
// A code never changes its meaning. A code that is no longer needed moves to Retired and is never used again.
package reason

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// Code names one reason. It is kebab-case and stable: scripts and alerts may compare it.
type Code string

// Class says who ends what has the code.
func (c Code) Class() Class { return row(c).Class }

// Args are the parameters of a reason, by the names that its row in the catalogue uses.
type Args map[string]string

// Class says who ends a wait.
type Class string

// The classes.
const (
	// Normal is by design: it ends by itself, and nobody has to look.
	Normal Class = "normal"
	// Fault: a part does not do what it should. It is tried again and ends once that part works; a person should look.
	Fault Class = "fault"
	// Person: it ends only when somebody does something.
	Person Class = "person"
)

// Reason is why something waits or is to be looked at. The zero Reason is none. It holds no secret value.
type Reason struct {
	Code Code `json:"code"`
	Args Args `json:"args,omitempty"`
	// Until is when the wait ends by itself; zero where that is not known.
	Until time.Time `json:"until,omitzero"`
	// Cause is what a part said, in its own words.
	Cause string `json:"cause,omitempty"`
}

// New returns the reason of that code. Args must have every parameter of the code's sentence.
func New(code Code, args Args) Reason { return Reason{Code: code, Args: args} }

// With returns the reason with more parameters, which make the commands that use them part of it.
func (r Reason) With(args Args) Reason {
	all := maps.Clone(r.Args)
	if all == nil {
		all = Args{}
	}
	maps.Copy(all, args)
	r.Args = all
	return r
}

// Because returns the reason with a cause; "" leaves it as it is.
func (r Reason) Because(cause string) Reason {
	if cause != "" {
		r.Cause = cause
	}
	return r
}

// Till returns the reason with when it ends.
func (r Reason) Till(at time.Time) Reason {
	r.Until = at
	return r
}

// None reports whether there is no reason.
func (r Reason) None() bool { return r.Code == "" }

// Is reports whether the reason is one of those codes.
func (r Reason) Is(codes ...Code) bool { return slices.Contains(codes, r.Code) }

// Same reports whether two reasons say the same; when they end may differ.
func (r Reason) Same(other Reason) bool {
	return r.Code == other.Code && r.Cause == other.Cause && maps.Equal(r.Args, other.Args)
}

// Or returns the reason, or the other where there is none.
func (r Reason) Or(other Reason) Reason {
	if r.None() {
		return other
	}
	return r
}

// ByDesign reports whether nobody has to look: the wait ends by itself. It holds where there is no reason.
func (r Reason) ByDesign() bool { return r.None() || row(r.Code).Class == Normal }

// People reports whether it ends only when somebody does something.
func (r Reason) People() bool { return !r.None() && row(r.Code).Class == Person }

// Commands are what a person can run to go on, with all arguments; what only they know is in capitals.
func (r Reason) Commands() []string {
	var commands []string
	for _, next := range row(r.Code).Next {
		if next.given(r.Args) {
			commands = append(commands, strings.Trim(fill(next.Command, r.Args), "`"))
		}
	}
	return commands
}

// Text is the reason in a sentence for people: what happens and why, the cause, when it ends, and the commands that go on. "" for none.
func (r Reason) Text() string {
	if r.None() {
		return ""
	}
	row := row(r.Code)
	text := fill(row.Says, r.Args)
	if r.Cause != "" {
		text += ": " + r.Cause
	}
	if !r.Until.IsZero() {
		text += " (until " + r.Until.UTC().Format(time.RFC3339) + ")"
	}
	for _, next := range row.Next {
		if next.given(r.Args) {
			text += "; " + next.To + ": " + fill(next.Command, r.Args)
		}
	}
	return text
}

// Shown is a reason as answers give it: the data, and what the catalogue says of it.
type Shown struct {
	Reason
	Text string `json:"text"`
	// People: it ends only when somebody does something. ByDesign: nobody has to look.
	People   bool     `json:"people,omitempty"`
	ByDesign bool     `json:"byDesign,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// Show returns the reason as answers give it, nil for none.
func (r Reason) Show() *Shown {
	if r.None() {
		return nil
	}
	return &Shown{Reason: r, Text: r.Text(), People: r.People(), ByDesign: r.ByDesign(), Commands: r.Commands()}
}

// Said is the text of what is shown, "" for nil.
func (s *Shown) Said() string {
	if s == nil {
		return ""
	}
	return s.Text
}

// Is reports whether the reason that is shown is one of those codes.
func (s *Shown) Is(codes ...Code) bool { return s != nil && s.Reason.Is(codes...) }

// Error is an error that has a reason: what is not done is not done because of it.
type Error struct {
	Doing  string
	Reason Reason
	// Class is the error that callers compare.
	Class error
}

func (e *Error) Error() string {
	if e.Doing != "" {
		return e.Doing + ": " + e.Reason.Text()
	}
	return e.Reason.Text()
}

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.Class }

// Of returns the reason that an error has, the zero one where it has none.
func Of(err error) Reason {
	if e, has := errors.AsType[*Error](err); has {
		return e.Reason
	}
	return Reason{}
}
