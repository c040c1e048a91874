// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with an estate or a host file. It never holds the text of a value that could be a
// secret.
type Fault struct {
	// File is relative to the estate's folder, with slashes; for a host file it is the file as it was named.
	File string `json:"file,omitempty"`
	// Line and Column count from 1; 0 means the fault is about the file or the estate as a whole.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Rule is the id of the broken rule.
	Rule string `json:"rule"`
	// Subject is the document, as KIND/NAME; "" when the fault is about no single document.
	Subject string `json:"subject,omitempty"`
	// Reason says what is wrong here.
	Reason string `json:"reason"`
	// Fix says what to do next.
	Fix string `json:"fix"`
	// Here: this machine alone gets it wrong, for the consumer named, or for the whole secret. The rest of the estate can be in
	// force.
	Here bool `json:"here,omitempty"`
	// Unsealed: the sealed first value has not all that is wanted of it. The secret is not handed over until it has; one that was
	// handed over before, and the rest of the estate, can be in force.
	Unsealed bool `json:"unsealed,omitempty"`
	// Consumer is the one in question, where a fault is about what one makes.
	Consumer string `json:"consumer,omitempty"`
}

// Alone reports whether the estate can be in force without what is wrong.
func (f Fault) Alone() bool { return f.Here || f.Unsealed }

// Position is FILE:LINE:COLUMN, as far as it is known.
func (f Fault) Position() string {
	switch {
	case f.Line > 0:
		return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
	case f.File != "":
		return f.File
	}
	return "estate"
}

// String is one line for people, without the fix.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Position() + ": ")
	if f.Subject != "" {
		b.WriteString(f.Subject + ": ")
	}
	b.WriteString(f.Reason + " [" + f.Rule + "]")
	return b.String()
}

// faults collects, once each, what is wrong.
type faults struct {
	list []Fault
	seen map[Fault]bool
	in   map[string]int // how many are in a file
	// bounded counts those of which only so many are listed.
	bounded int
}

func newFaults() *faults { return &faults{seen: map[Fault]bool{}, in: map[string]int{}} }

// add keeps f unless it is known already. A rule's own fix is used where f has none. What is wrong beyond the bounds is left out,
// and one fault says so for each file in which something is: the documents of other files do not depend on how much that is.
func (l *faults) add(f Fault) {
	if f.Fix == "" {
		f.Fix = fixOf(f.Rule)
	}
	if l.seen[f] || !f.Alone() && l.crowded(f.File) {
		return
	}
	if f.File != "" && !f.Alone() {
		l.in[f.File]++
		l.bounded++
		beyond := ""
		switch {
		case l.bounded > maxFaults:
			l.in[f.File] = maxFileFaults + 1
			beyond = fmt.Sprintf("the estate has more than %d faults; those of this file are not listed", maxFaults)
		case l.crowded(f.File):
			beyond = fmt.Sprintf("this file has more than %d faults; the rest are not listed", maxFileFaults)
		}
		if beyond != "" {
			f = Fault{File: f.File, Rule: "estate-too-large", Reason: beyond, Fix: fixOf("estate-too-large")}
		}
	}
	l.seen[f] = true
	l.list = append(l.list, f)
}

// crowded reports whether more is wrong in a file than is listed.
func (l *faults) crowded(file string) bool { return file != "" && l.in[file] > maxFileFaults }

// only adds those of others that l does not have yet, and says that they hold in one environment alone.
func (l *faults) only(environment string, others []Fault) {
	for _, f := range others {
		if l.seen[f] {
			continue
		}
		f.Reason += fmt.Sprintf(" (in environment %s)", environment)
		l.add(f)
	}
}

// everywhere reports whether something is wrong with which the estate cannot be in force anywhere.
func (l *faults) everywhere() bool {
	return slices.ContainsFunc(l.list, func(f Fault) bool { return !f.Alone() })
}

func (l *faults) sorted() []Fault {
	slices.SortStableFunc(l.list, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Reason, b.Reason))
	})
	return l.list
}
