// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
)

// AnswersKind is the kind of an answers file.
const AnswersKind = "AdoptionAnswers"

// Answers are what somebody decided about candidates.
type Answers struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Candidates []Answer `yaml:"candidates"`
}

// Answer is about one candidate.
type Answer struct {
	// Name is what discover calls the candidate, Place one of its places, by which it is known again.
	Name  string `yaml:"name"`
	Place string `yaml:"place"`
	// Answer is adopt, leave or not-a-secret.
	Answer Choice `yaml:"answer"`
	// As is the name of the ManagedSecret, where it is to be another; Owner the team, where it is to be another.
	As      string `yaml:"as,omitempty"`
	Owner   string `yaml:"owner,omitempty"`
	Contact string `yaml:"contact,omitempty"`
}

// Template are answers that adopt everything, for somebody to change.
func Template(candidates []*Candidate) []byte {
	a := Answers{APIVersion: v1alpha1.APIVersion, Kind: AnswersKind, Candidates: []Answer{}}
	for _, c := range candidates {
		if c.Choosable() {
			a.Candidates = append(a.Candidates, Answer{Name: c.Name, Place: c.Places[0].Key(), Answer: Take})
		}
	}
	var b bytes.Buffer
	b.WriteString("# For `custody adopt DIR --answers FILE`. answer is adopt, leave or not-a-secret; as gives the secret another name, owner and contact\n" +
		"# another owner. What is not listed is left. There are no values here.\n")
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(a); err != nil {
		panic("adopt: encoding text cannot fail: " + err.Error())
	}
	return b.Bytes()
}

// ParseAnswers reads an answers file.
func ParseAnswers(data []byte) (Answers, error) {
	var a Answers
	if err := strict(data, &a); err != nil {
		return a, err
	}
	if a.APIVersion != v1alpha1.APIVersion || a.Kind != AnswersKind {
		return a, fmt.Errorf("want apiVersion: %s and kind: %s", v1alpha1.APIVersion, AnswersKind)
	}
	seen := map[string]bool{}
	for n, one := range a.Candidates {
		switch {
		case one.Name == "" || seen[one.Name]:
			return a, fmt.Errorf("candidate %d: the name is missing, or given twice", n+1)
		case one.Answer != Take && one.Answer != Leave && one.Answer != Refuse:
			return a, fmt.Errorf("candidate %d: the answer is not adopt, leave or not-a-secret", n+1)
		}
		seen[one.Name] = true
	}
	return a, nil
}

// Apply puts answers into what a plan is made of. An answer about what is not there, or is something else now, is an error; one
// about what was adopted before has no effect.
func (a Answers) Apply(in *Input, candidates []*Candidate) error {
	byName := map[string]*Candidate{}
	for _, c := range candidates {
		byName[c.Name] = c
	}
	var gone []string
	for _, one := range a.Candidates {
		c := byName[one.Name]
		if c == nil || one.Place != "" && !c.at(one.Place) {
			gone = append(gone, oneLine(one.Name))
			continue
		}
		in.Choices[one.Name] = one.Answer
		if one.As != "" {
			in.Names[one.Name] = one.As
		}
		if one.Owner != "" {
			in.Owners[one.Name] = Owner{oneLine(one.Owner), oneLine(one.Contact)}
		}
	}
	if len(gone) > 0 {
		return &Error{Doing: "reading the answers", Class: ErrInput, Detail: "what they are about is not there any more: " + strings.Join(gone, ", "),
			Next: "take it out of the answers file, or write a new one with --write-answers FILE"}
	}
	return nil
}

func (c *Candidate) at(key string) bool {
	for _, p := range c.Places {
		if p.Key() == key {
			return true
		}
	}
	return false
}
