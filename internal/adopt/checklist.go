// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/next"
)

// Do is what a line of the checklist asks for.
type Do string

// What is left to do after an adoption.
const (
	// AddFolder: the host file is to have a folder.
	AddFolder Do = "add-folder"
	// Untrack: a file that Custody delivers is to leave Git.
	Untrack Do = "untrack"
	// Remove: the value is to be taken out of a place.
	Remove Do = "remove"
	// Rotate: a value that Git keeps is to be replaced.
	Rotate Do = "rotate"
	// GiveValue: a value that cannot be read is to be given.
	GiveValue Do = "give-value"
	// StopScript: a script is no longer to make the secret.
	StopScript Do = "stop-script"
	// AddUpstream: Custody can rotate the account.
	AddUpstream Do = "add-upstream"
	// Revoke: a value that only the history of Git has is to be made worthless.
	Revoke Do = "revoke"
)

// Dos are all of them.
func Dos() []Do {
	return []Do{AddFolder, Untrack, Remove, Rotate, GiveValue, StopScript, AddUpstream, Revoke}
}

// Item is one line of the checklist.
type Item struct {
	Do Do `json:"do" yaml:"do"`
	// Secret is the ManagedSecret, or what discover calls the candidate.
	Secret string `json:"secret,omitempty" yaml:"secret,omitempty"`
	// Source, File and Name are the place; of a folder, Name is its name and File its path.
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	File   string `json:"file,omitempty" yaml:"file,omitempty"`
	Name   string `json:"name,omitempty" yaml:"name,omitempty"`
	// Page is where a value is set.
	Page string `json:"page,omitempty" yaml:"page,omitempty"`
	// Due is a date.
	Due string `json:"due,omitempty" yaml:"due,omitempty"`
	// Text says what to do.
	Text string `json:"text" yaml:"text"`
	// Done is written by a person who did what nothing can check: when, and how.
	Done string `json:"done,omitempty" yaml:"done,omitempty"`
}

func (i Item) key() string {
	return string(i.Do) + "\x00" + i.Secret + "\x00" + i.Source + "\x00" + i.File + "\x00" + i.Name
}

// Checklist is what is left to do.
type Checklist struct {
	APIVersion string `json:"apiVersion" yaml:"apiVersion"`
	Kind       string `json:"kind" yaml:"kind"`
	// Folder is the folder that was adopted, absolute.
	Folder string `json:"folder" yaml:"folder"`
	Items  []Item `json:"items" yaml:"items"`
}

// ChecklistKind is the kind of a checklist.
const ChecklistKind = "AdoptionChecklist"

// Format writes a checklist that ParseChecklist reads.
func (c Checklist) Format() []byte {
	var b bytes.Buffer
	b.WriteString("# What is left to do after an adoption. `custody adopt --check FILE` looks which of it is done. Where nothing can be looked at,\n" +
		"# write for the item: done: WHEN AND HOW. There are no values here.\n")
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(c); err != nil {
		panic("adopt: encoding text cannot fail: " + err.Error())
	}
	return b.Bytes()
}

// ParseChecklist reads a checklist.
func ParseChecklist(data []byte) (Checklist, error) {
	var c Checklist
	if err := strict(data, &c); err != nil {
		return c, err
	}
	if c.APIVersion != v1alpha1.APIVersion || c.Kind != ChecklistKind {
		return c, fmt.Errorf("want apiVersion: %s and kind: %s", v1alpha1.APIVersion, ChecklistKind)
	}
	for n, item := range c.Items {
		if !slices.Contains(Dos(), item.Do) {
			return c, fmt.Errorf("item %d: there is nothing called %q to do", n+1, oneLine(string(item.Do)))
		}
	}
	return c, nil
}

// strict reads one document of YAML with known fields alone.
func strict(data []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		if unfit, is := errors.AsType[*yaml.TypeError](err); is {
			return errors.New(oneLine(unfit.Errors[0]))
		}
		return errors.New(oneLine(err.Error()))
	}
	var more yaml.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return errors.New("want one document alone")
	}
	return nil
}

// Without are the items that none of others has.
func (c Checklist) Without(others []Checklist) Checklist {
	known := map[string]bool{}
	for _, other := range others {
		for _, item := range other.Items {
			known[item.key()] = true
		}
	}
	c.Items = slices.DeleteFunc(slices.Clone(c.Items), func(i Item) bool { return known[i.key()] })
	return c
}

// checklist says what is left to people.
func (p *planner) checklist() {
	list := Checklist{APIVersion: v1alpha1.APIVersion, Kind: ChecklistKind, Folder: p.Root, Items: []Item{}}
	add := func(i Item) {
		if !slices.ContainsFunc(list.Items, func(o Item) bool { return o.key() == i.key() }) {
			list.Items = append(list.Items, i)
		}
	}
	for _, f := range p.plan.Folders {
		if f.New {
			add(Item{Do: AddFolder, File: f.Path, Name: f.Name, Text: fmt.Sprintf("under spec.folders of %s, add %s: %s", or(p.Host.File, "the host file"), f.Name, scalar(f.Path))})
		}
	}
	for _, f := range p.plan.Files {
		if f.Tracked {
			add(Item{Do: Untrack, Secret: f.Secret, File: f.Path, Text: fmt.Sprintf("Custody writes %s from now on: take it out of Git (git rm --cached), add it to .gitignore, and commit", f.Path)})
		}
	}
	for _, c := range p.taken() {
		p.remains(c, add)
	}
	for _, c := range p.all {
		if c.How == Past {
			place := c.Places[0]
			add(Item{Do: Revoke, Secret: c.Name, Source: place.Source, File: place.File, Name: place.Name,
				Text: "only the history of Git has this value: make sure that nobody accepts it any more, and write down how under done"})
		}
	}
	p.plan.Checklist = list
}

// remains is what is left of one candidate.
func (p *planner) remains(c *Candidate, add func(Item)) {
	if c.How == Task {
		place := c.Places[0]
		page := pageOf(place.Source, p.Answer.Remote)
		where := or(settingsOf(place.Source), "the place that has it")
		add(Item{Do: GiveValue, Secret: c.Name, Source: place.Source, File: place.File, Name: place.Name, Page: page, Due: p.Due.Format(time.DateOnly),
			Text: fmt.Sprintf("its value is in %s, where it cannot be read here. Get it from whoever issued it, and give it: custody adopt %s --only %s --from-file %s=FILE", where, next.Word(p.Root), c.Name, c.Name)})
		return
	}
	public := false
	for _, place := range c.held {
		public = public || place.Tracked
		if !inPlace(place) {
			add(Item{Do: Remove, Secret: c.As, Source: place.Source, File: place.File, Name: place.Name, Text: fmt.Sprintf("%s, line %d: let %s take the value from where Custody delivers it, and delete it here", place.File, place.Line, place.Name)})
		}
	}
	for _, place := range c.found.Holders {
		public = public || place.Commit != ""
	}
	if public {
		add(Item{Do: Rotate, Secret: c.As, Text: "Git keeps the value, also after the file is gone: replace it"})
	}
	for _, place := range c.found.Origins {
		add(Item{Do: StopScript, Secret: c.As, Source: place.Source, File: place.File, Name: place.Name, Text: fmt.Sprintf("%s, line %d, makes it: from now on Custody has the value of record", place.File, place.Line)})
	}
	if c.server != nil && slices.Contains(postgres, c.server.scheme) {
		add(Item{Do: AddUpstream, Secret: c.As, Page: PostgresPage, Text: "Custody can rotate this account; its document proposes how, and the page says how one account becomes two that take turns"})
	}
}
