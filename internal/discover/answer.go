// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/discover/clue"
)

// Answer is what a scan found. It has no values.
type Answer struct {
	Folder string `json:"folder"`
	// Repository: the folder is a Git repository, and its history was read unless it was left out.
	Repository bool `json:"repository"`
	// Remote is the web address of where the repository was cloned from, as its configuration has it.
	Remote  string   `json:"remote,omitempty"`
	Counts  Counts   `json:"counts"`
	Secrets []Secret `json:"secrets"`
}

// Secret is one, with all its places.
type Secret struct {
	// Name is the one that most tells what it is, and unique in the answer.
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Digests stand for its values: one for each, from the newest place on.
	Digests []string `json:"digests,omitempty"`
	Owner   Owner    `json:"owner"`
	Expires *Expiry  `json:"expires,omitempty"`
	Risk    Level    `json:"risk"`
	// Risks are the reasons for the level, the gravest first.
	Risks []Risk `json:"risks,omitempty"`
	// Origins make it, Holders have its value or say where it is, Consumers use it: the way from source to consumer.
	Origins   []Place `json:"origins,omitempty"`
	Holders   []Place `json:"holders,omitempty"`
	Consumers []Place `json:"consumers,omitempty"`
	// Why says why the places are one secret.
	Why []string `json:"why,omitempty"`
}

// Owner is a guess.
type Owner struct {
	Name string `json:"name,omitempty"`
	Why  string `json:"why,omitempty"`
}

// Expiry is when a value ends.
type Expiry struct {
	At time.Time `json:"at"`
	// By is what says so: a certificate or a token.
	By      string `json:"by"`
	Expired bool   `json:"expired"`
}

// Place is one place that has to do with a secret.
type Place struct {
	Source string    `json:"source"`
	Role   clue.Role `json:"role"`
	File   string    `json:"file"`
	Line   int       `json:"line"`
	// Name is what the place calls the secret.
	Name string `json:"name"`
	// By is who uses it there.
	By  string `json:"by,omitempty"`
	Why string `json:"why"`
	// Tracked: the newest commit of the repository has the file.
	Tracked bool `json:"tracked,omitempty"`
	// Digest stands for the value that is there in clear.
	Digest string `json:"digest,omitempty"`
	// Commit brought it. It is set for what is in the history alone.
	Commit string     `json:"commit,omitempty"`
	When   *time.Time `json:"when,omitempty"`
	// Steps are those of a script.
	Steps []clue.Step `json:"steps,omitempty"`
}

// Text is the place for people.
func (p Place) Text() string {
	text := fmt.Sprintf("%s:%d", p.File, p.Line)
	if p.Commit != "" {
		text += " in commit " + p.Commit[:min(12, len(p.Commit))]
	}
	return text
}

// answer makes secrets of what was found.
func (s *scan) answer() (*Answer, error) {
	slices.SortStableFunc(s.records, func(a, b record) int {
		return cmp.Or(boolean(a.at != nil)-boolean(b.at != nil), cmp.Compare(a.file, b.file), a.Line-b.Line, cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name))
	})
	files := map[string]bool{}
	for _, r := range s.records {
		files[r.file] = true
	}
	there := map[string]bool{}
	s.mu.Lock()
	for _, r := range s.records {
		there[r.file] = there[r.file] || r.at == nil
	}
	s.mu.Unlock()
	owners, err := s.owners()
	if err != nil {
		return nil, err
	}
	tracked := s.repo.tracked(slices.Collect(maps.Keys(files)))
	a := &Answer{Folder: s.Folder, Repository: s.repo != nil, Counts: s.counts, Secrets: []Secret{}}
	if s.repo != nil {
		a.Remote = s.repo.remote
	}
	read := func(file string) bool { return there[file] || exists(s.Folder, file) }
	names := map[string]int{}
	for _, g := range join(s.records, read) {
		one := s.secret(g, owners, tracked)
		names[one.Name]++
		if n := names[one.Name]; n > 1 {
			one.Name = fmt.Sprintf("%s-%d", one.Name, n)
		}
		a.Secrets = append(a.Secrets, one)
	}
	slices.SortStableFunc(a.Secrets, func(x, y Secret) int { return cmp.Or(y.Risk.rank()-x.Risk.rank(), cmp.Compare(x.Name, y.Name)) })
	return a, nil
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *scan) secret(g group, owners *owners, tracked map[string]bool) Secret {
	one := Secret{Why: g.why}
	for _, i := range g.records {
		r := s.records[i]
		p := Place{Source: r.Source, Role: r.Role, File: r.file, Line: r.Line, Name: r.Name, By: r.By, Why: r.Why, Tracked: tracked[r.file], Digest: r.digest, Steps: r.Steps}
		if r.at != nil {
			p.Commit, p.When = r.at.commit, &r.at.when
		}
		switch r.Role {
		case clue.Makes:
			one.Origins = append(one.Origins, p)
		case clue.Uses:
			one.Consumers = append(one.Consumers, p)
		default:
			one.Holders = append(one.Holders, p)
		}
		if r.digest != "" && !slices.Contains(one.Digests, r.digest) {
			one.Digests = append(one.Digests, r.digest)
		}
		if end := r.End; !end.At.IsZero() && (one.Expires == nil || end.At.Before(one.Expires.At)) && r.at == nil {
			one.Expires = &Expiry{At: end.At, By: end.By, Expired: !end.At.After(s.Now)}
		}
		if one.Kind == "" {
			one.Kind = r.Kind
		}
		if one.Owner.Name == "" && r.Team != "" {
			one.Owner = Owner{Name: r.Team, Why: "a label in " + p.Text()}
		}
	}
	one.Name = s.named(g)
	for _, i := range g.records {
		if one.Kind == "" {
			one.Kind = clue.Kind(s.records[i].Name)
		}
	}
	if one.Kind == "" {
		one.Kind = "secret"
	}
	if one.Owner.Name == "" {
		one.Owner = owners.of(one)
	}
	one.Risks = s.risks(one, g, tracked)
	for _, r := range one.Risks {
		if r.Level.rank() > one.Risk.rank() {
			one.Risk = r.Level
		}
	}
	if one.Risk == "" {
		one.Risk = Low
	}
	return one
}

// named is the name that most tells what a secret is: that of a variable before that of a field, and either before a file.
func (s *scan) named(g group) string {
	best, score := "", -1
	for _, i := range g.records {
		r := s.records[i]
		name, points := r.Name, 0
		switch {
		case r.Set != "":
			name, points = strings.TrimSuffix(r.Name, "/*"), 0
		case r.Name == "*":
			name, points = path.Base(r.file), 1
		case clue.EnvName(r.Name):
			points = 4
		case !clue.Common(r.Name):
			points = 3
		default:
			points = 2
		}
		if r.Role == clue.Holds && r.at == nil {
			points += 3
		}
		if points > score {
			best, score = name, points
		}
	}
	return strings.ReplaceAll(strings.Trim(clue.Alike(best), "_"), "_", "-")
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
