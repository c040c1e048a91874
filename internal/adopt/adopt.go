// SPDX-License-Identifier: Apache-2.0

// Package adopt plans how secrets that custody discover found come under management: which documents are written, which values are
// sealed, which files are delivered to where they stand, and what is left for people to do and to delete.
//
// Guaranteed: a plan is made in memory. The bytes that a file will be given are computed with the values that were read, by the
// same templates that the documents have, and are compared with the file: one that would change is sealed as a whole instead. A value
// is in a plan only as secret.Value; no document, no line of the checklist and no error has one. Of a file of variables, only what
// is plainly a setting stays readable in a document; comments and all other values are sealed as well. What a document says
// that it adopted is not adopted again.
//
// Not guaranteed: that what discover found is everything, and that who reads a file notices a later change.
//
// Cost: each file that is adopted is read once more, and its template is computed a few times.
package adopt

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/secret"
)

// Classes of failure, found with errors.Is. Nothing was planned.
var (
	// ErrChanged: a place does not hold what it held when it was scanned.
	ErrChanged = errors.New("it has changed since the scan")
	// ErrInput: what was asked for does not fit what was found.
	ErrInput = errors.New("it does not fit what was found")
	// ErrFolder: a file stands where Custody delivers nothing.
	ErrFolder = errors.New("no host delivers there")
	// ErrOwner: nobody is known to own a secret.
	ErrOwner = errors.New("no owner is known")
)

// Error says what to do next.
type Error struct {
	Doing, Detail, Next string
	Class               error
}

// Error implements error.
func (e *Error) Error() string { return e.Doing + ": " + e.Detail }

// Hint is the next step.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the class.
func (e *Error) Unwrap() error { return e.Class }

// How is what becomes of a candidate.
type How string

// What becomes of candidates.
const (
	// InPlace: its value is sealed, and the files that hold it are delivered to where they stand.
	InPlace How = "in-place"
	// Sealed: its value is sealed; people change the places that hold it.
	Sealed How = "sealed"
	// Task: its value cannot be read here, and somebody has to give it.
	Task How = "value-wanted"
	// Adopted: a document says that it was adopted before.
	Adopted How = "adopted"
	// Past: its value is in the history of Git alone.
	Past How = "history-only"
	// Left: it was not chosen. NoSecret: somebody says that it is no secret.
	Left     How = "left"
	NoSecret How = "not-a-secret"
)

// Choice is what somebody decides about a candidate.
type Choice string

// The choices.
const (
	Take   Choice = "adopt"
	Leave  Choice = "leave"
	Refuse Choice = "not-a-secret"
)

// Candidate is a secret that was found, and what becomes of it.
type Candidate struct {
	// Name is what discover calls it.
	Name string `json:"name"`
	// As is the name of its ManagedSecret, where it has one.
	As   string         `json:"as,omitempty"`
	How  How            `json:"how"`
	Kind string         `json:"kind"`
	Risk discover.Level `json:"risk"`
	// Places are those that hold it now, or, of one that cannot be read, those that use or name it.
	Places []Place `json:"places"`
	Owner  string  `json:"owner,omitempty"`
	// Note is why it is not adopted, or is so in another way than others.
	Note string `json:"note,omitempty"`

	found  discover.Secret
	held   []discover.Place // those of Places that hold its value, with digests
	value  secret.Value     // what the places hold: the password alone, of an address
	fields []string         // of its ManagedSecret
	input  secret.Value     // its fields, with the values that they have
	user   string           // of the address that it is the password of
	server *server          // that the address leads to
}

// Place is where a candidate was found.
type Place struct {
	Source string `json:"source"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Name   string `json:"name"`
}

// Key is what a document says of a place that it adopted.
func (p Place) Key() string { return oneLine(p.Source + " " + p.File + " " + p.Name) }

// Attributes are those of a file.
type Attributes struct {
	Mode fs.FileMode
	// User and Group own it, where that is not who adopts; "" otherwise.
	User, Group string
}

// Estate is what a plan needs to know of the estate.
type Estate struct {
	Environments []string
	// Names are taken by documents, Paths by values.
	Names, Paths map[string]bool
	// Adopted are the secrets that documents say they adopted, by the keys of places.
	Adopted map[string]string
	// Fields are those of sealed values, by secret.
	Fields map[string][]string
	// Static is a policy that rotates nothing by itself, "" where there is none.
	Static string
}

// Host is what a plan needs to know of the machine.
type Host struct {
	// File is the host file, for people. Known: there is one.
	File  string
	Known bool
	// Folders are those of the host file, absolute, by name. Private are the paths that no folder may hold or lie in, by what they are.
	Folders map[string]string
	Private map[string]string
}

// Owner is who owns what is adopted.
type Owner struct{ Team, Contact string }

// Input is what a plan is made of.
type Input struct {
	Answer *discover.Answer
	// Root is the folder that was scanned, absolute, without links.
	Root string
	// Read reads a file of the folder again; see discover.Values. Digest stands for a value in the answer.
	Read   func(file string) (secret.Value, []discover.Held, error)
	Digest func(secret.Value) string
	// Look describes a file of the folder.
	Look func(file string) (Attributes, error)
	Estate
	Host
	// Owner is whoever owns everything; with an empty team the guesses of discover do, and then Else.
	Owner, Else Owner
	// Choices are by candidate; who has none is left out, unless a file that is adopted holds it.
	Choices map[string]Choice
	// Names and Owners are those that somebody chose, by candidate.
	Names  map[string]string
	Owners map[string]Owner
	// Given are values of candidates that cannot be read here.
	Given map[string]secret.Value
	// Due is when values that are wanted are to be there.
	Due time.Time
}

// Candidates are all secrets of an answer, the gravest first. One that has different values in different places now is several.
func Candidates(answer *discover.Answer, estate Estate) []*Candidate {
	var list []*Candidate
	taken := map[string]bool{}
	for _, s := range answer.Secrets {
		for _, one := range split(s) {
			one.Name = oneLine(one.Name)
			name := one.Name
			for n := 2; taken[one.Name]; n++ {
				one.Name = fmt.Sprintf("%s-%d", name, n)
			}
			taken[one.Name] = true
			for _, p := range one.Places {
				if as := estate.Adopted[p.Key()]; as != "" && (one.How != Task || p.Name != "") {
					one.How, one.As = Adopted, as
				}
			}
			list = append(list, one)
		}
	}
	return list
}

// split makes a candidate for each value that a secret has now.
func split(s discover.Secret) []*Candidate {
	base := Candidate{Name: s.Name, Kind: s.Kind, Risk: s.Risk, found: s}
	byDigest := map[string]*Candidate{}
	var list []*Candidate
	for _, p := range s.Holders {
		if p.Role != clue.Holds || p.Commit != "" || p.Digest == "" {
			continue
		}
		one := byDigest[p.Digest]
		if one == nil {
			copied := base
			one = &copied
			one.How = Sealed
			byDigest[p.Digest] = one
			list = append(list, one)
		}
		one.held = append(one.held, p)
		one.Places = append(one.Places, Place{p.Source, p.File, p.Line, p.Name})
		if inPlace(p) {
			one.How = InPlace
		}
	}
	if len(list) > 0 {
		return list
	}
	one := base
	one.How = Task
	for _, p := range append(append(slices.Clone(s.Holders), s.Consumers...), s.Origins...) {
		if p.Commit == "" {
			one.Places = append(one.Places, Place{p.Source, p.File, p.Line, p.Name})
		}
	}
	if len(one.Places) == 0 {
		one.How = Past
		for _, p := range s.Holders {
			one.Places = append(one.Places, Place{p.Source, p.File, p.Line, p.Name})
		}
	}
	return []*Candidate{&one}
}

// inPlace reports whether the file of a place is one that programs read and nothing else writes: Custody can write it where it is.
func inPlace(p discover.Place) bool { return p.Source == "dotenv" || p.Source == "keyfile" }

// Choosable reports whether there is anything to decide.
func (c *Candidate) Choosable() bool { return c.How == InPlace || c.How == Sealed || c.How == Task }

// Ownerless reports whether nothing says who owns it.
func (c *Candidate) Ownerless() bool { return strings.TrimSpace(c.found.Owner.Name) == "" }

// files are those that hold it and are delivered to where they stand.
func (c *Candidate) files() (files []string) {
	for _, p := range c.held {
		if inPlace(p) && !slices.Contains(files, p.File) {
			files = append(files, p.File)
		}
	}
	return files
}

// oneLine is text without anything that would end a line.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' }), " ")
}
