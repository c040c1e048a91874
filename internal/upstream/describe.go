// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Description is what people are told of one kind of upstream: by `custody upstream explain`, and on its page of the
// documentation, which is made from it.
type Description struct {
	// Type is the name of its parameters in documents, such as postgres; of an http recipe, the recipe's name.
	Type string
	// Title is a heading, Summary one sentence.
	Title   string
	Summary string
	// Modes are the ways in which it can be used, in the order of the page. A kind without a choice has one, named "".
	Modes []Mode
	// Tried says against what it has been run, and plainly when that was never the real service.
	Tried string
	// Page is Markdown from "## Documents" on: example documents, least permissions, what is not guaranteed, the failure
	// table, what a claim and a marker look like, how wrong sign-ins are kept below a lock-out.
	Page string
}

// Mode is one way to use a kind of upstream.
type Mode struct {
	// Name is the value of the account's mode, "" where there is none.
	Name string
	Kind Kind
	// FencesIf says under which settings the kind fences, "" when it always does what Kind says.
	FencesIf string
	// Means says in a sentence how old and new credentials overlap.
	Means string
}

// Fact is one line of what a kind can do.
type Fact struct {
	Name, Value string
}

// Facts puts a kind into words, always in the same order and number.
func (k Kind) Facts() []Fact {
	return []Fact{
		{"overlap", string(k.Capability) + ": " + k.Capability.means()},
		{"credential", choose(k.Issues, "created by the upstream", "created by Custody")},
		{"verify", choose(k.Verifies, "the upstream says whether it accepts the credential", "none: no system checks the value")},
		{"undo before promotion", string(k.Undo) + ": " + k.Undo.means(k)},
		{"lost reply", string(k.LostReply) + ": " + k.LostReply.means()},
		{"settle upstream", choose(k.Settle == 0, "none: a change takes effect at once", "up to "+span(k.Settle)+" until a change takes effect everywhere")},
		{"call deadline", span(k.CallDeadline)},
		{"late calls", choose(k.Fences, "the upstream refuses a delayed call once a later run has started", "the next run starts only after the deadline of the last call")},
		{"evidence of use", k.Evidence.words()},
		{"supplied by hand", k.supplied()},
		{"wrong sign-ins", choose(k.WrongEvery == 0, "not limited", "at most one every "+span(k.WrongEvery)+", so that the account is not locked")},
	}
}

// supplied says which credentials a person may hand in.
func (k Kind) supplied() string {
	switch {
	case !k.Verifies:
		return "none: Custody generates the values"
	case k.Whose == "":
		return "any that the upstream accepts; Custody cannot tell which account it belongs to"
	}
	return "only one of the account in the document, or of the account that the secret has now; Custody tells by " + k.Whose
}

// facts are the kind's, with the settings under which they hold.
func (m Mode) facts() []Fact {
	facts := m.Kind.Facts()
	if m.FencesIf == "" {
		return facts
	}
	without := m.Kind
	without.Fences = !without.Fences
	for i, fact := range without.Facts() {
		if fact != facts[i] {
			facts[i].Value = m.FencesIf + ": " + facts[i].Value + "; else " + fact.Value
		}
	}
	return facts
}

func choose(which bool, yes, no string) string {
	if which {
		return yes
	}
	return no
}

// span is a duration without units that are zero.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (c Capability) means() string {
	switch c {
	case Dual:
		return "the old and the new credential are valid at the same time"
	case Alternate:
		return "two accounts take turns, and during a run both are valid"
	default:
		return "the new credential replaces the old one; sign-ins are refused until it is delivered"
	}
}

func (u Undo) means(k Kind) string {
	switch {
	case u == Discard && k.Issues:
		return "the new credential is revoked; the current one was never touched"
	case u == Discard:
		return "the candidate (new credential) is revoked; the current one was never touched"
	case u == Reapply:
		return "the current credential is applied again"
	default:
		return "impossible to undo; the run goes forward or waits for a person"
	}
}

func (l LostReply) means() string {
	switch l {
	case Recover:
		return "a sign-in shows whether the change took effect; making it again does no harm"
	case Reissue:
		return "the credential that the lost call created is found by the run's id and removed; then another one is created"
	default:
		return "the upstream cannot tell what happened; a person decides"
	}
}

func (e *Evidence) words() string {
	if e == nil {
		return "none: the upstream cannot tell who still uses the old credential"
	}
	words := e.Source + choose(e.Names, ", with the name of the user", ", without the name of the user")
	if e.Late > 0 {
		words += "; up to " + span(e.Late) + " late"
	}
	if e.Fine > 0 {
		words += "; exact to " + span(e.Fine)
	}
	return words
}

// Markdown is the page of the documentation, and what `custody upstream explain` prints.
func (d Description) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n## Modes\n\n", d.Title, d.Summary)
	for _, mode := range d.Modes {
		if mode.Name == "" {
			fmt.Fprintf(&b, "There is one mode: %s\n\n", mode.Means)
			continue
		}
		fmt.Fprintf(&b, "**%s**: %s\n\n", mode.Name, mode.Means)
	}
	b.WriteString("## At a glance\n\n|")
	for _, mode := range d.Modes {
		fmt.Fprintf(&b, " | %s", mode.Name)
	}
	b.WriteString(" |\n|---|" + strings.Repeat("---|", len(d.Modes)) + "\n")
	for i := range (Kind{}).Facts() {
		fmt.Fprintf(&b, "| %s", (Kind{}).Facts()[i].Name)
		for j, mode := range d.Modes {
			value := mode.facts()[i].Value
			if j > 0 && value == d.Modes[j-1].facts()[i].Value {
				value = "the same"
			}
			fmt.Fprintf(&b, " | %s", cell(value))
		}
		b.WriteString(" |\n")
	}
	fmt.Fprintf(&b, "\nTried: %s\n\n%s\n", d.Tried, strings.TrimSpace(d.Page))
	return b.String()
}

// cell keeps text within one cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "\n", " ")
}

// Check reports what a description lacks, nil when it is whole.
func (d Description) Check() error {
	var errs []error
	for name, text := range map[string]string{"type": d.Type, "title": d.Title, "summary": d.Summary, "tried": d.Tried} {
		if strings.TrimSpace(text) == "" {
			errs = append(errs, fmt.Errorf("the description has no %s", name))
		}
	}
	if len(d.Modes) == 0 {
		errs = append(errs, errors.New("the description has no modes"))
	}
	if !strings.HasPrefix(strings.TrimSpace(d.Page), "## Documents") {
		errs = append(errs, errors.New(`the page does not begin with "## Documents"`))
	}
	for _, mode := range d.Modes {
		if err := mode.Kind.Check(); err != nil {
			errs = append(errs, fmt.Errorf("mode %q: %w", mode.Name, err))
		}
		if mode.Means == "" {
			errs = append(errs, fmt.Errorf("mode %q does not say what it means", mode.Name))
		}
	}
	return errors.Join(errs...)
}
