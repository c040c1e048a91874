// SPDX-License-Identifier: Apache-2.0

// Package ci finds secrets in the definitions of CI systems: GitHub Actions, GitLab CI, Jenkins, CircleCI, Drone and Azure
// Pipelines. It tells which variables are used where. One that nothing in the tree sets exists only in the settings of the CI.
//
// Not guaranteed: that secrets in includes, templates and libraries outside the tree are found. A Jenkinsfile is a program; only its
// calls for credentials and the text that it assigns to variables are read.
package ci

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/script"
	"custody.dev/custody/internal/lazyregexp"
)

// Readers are those of all CI systems.
func Readers() []clue.Reader {
	return []clue.Reader{GitHub(), GitLab(), Jenkins(), CircleCI(), Drone(), Azure()}
}

// reading is one file, read by one reader.
type reading struct {
	f      *clue.File
	source string
	found  clue.Found
	seen   map[string]bool
}

func begin(f *clue.File, source string, found clue.Found) *reading {
	return &reading{f, source, found, map[string]bool{}}
}

// use tells that a job uses a secret, once for each job.
func (r *reading) use(name, by, why string, line int, keys ...string) {
	if r.seen[by+"\x00"+name] {
		return
	}
	r.seen[by+"\x00"+name] = true
	c := clue.Clue{Source: r.source, Role: clue.Uses, Name: name, Line: line, By: by, Why: why, Keys: keys}
	if clue.EnvName(name) {
		c.Env = name
	}
	r.found(c)
}

// hold tells of a value in clear.
func (r *reading) hold(name, text, by string, line int) {
	value, kind, why, ok := clue.Held(name, text, false)
	if !ok {
		return
	}
	if why == "" {
		why = "the name of the variable"
	}
	r.found(clue.Clue{Source: r.source, Role: clue.Holds, Name: name, Line: line, By: by, Why: why + ", in the definition of the CI", Kind: kind,
		Value: clue.Text(value), Keys: []string{clue.FileKey(r.f.Path, name)}})
}

// shell reads a step that is shell.
func (r *reading) shell(node *clue.Node, by string, uses bool, set func(string) bool, key func(string) string) {
	text, line := node.Text(), node.At()
	if text == "" {
		return
	}
	if node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line++
	}
	// What the CI fills in before the shell sees it is no shell.
	text = filled.ReplaceAllString(text, "filled_in")
	script.Snippet{Source: r.source, Text: text, By: by, Line: line, Uses: uses, Set: set, Key: key}.Read(r.f, func(c clue.Clue) {
		if c.Role == clue.Uses {
			if c.Maybe && !clue.EnvName(c.Name) {
				return
			}
			if r.seen[by+"\x00"+c.Name] {
				return
			}
			r.seen[by+"\x00"+c.Name] = true
			c.Why = "nothing in this file sets the variable"
		}
		r.found(c)
	})
}

var (
	filled = lazyregexp.New(`\$\{\{[^}]*\}\}|<<[^>]*>>|\$\([A-Za-z][A-Za-z0-9_.-]*\)|\$\[\[[^\]]*\]\]`)
	simple = lazyregexp.New(`\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?`)
)

// commands are the lines of a list or a text of commands.
func commands(n *clue.Node) []*clue.Node {
	if n.Text() != "" {
		return []*clue.Node{n}
	}
	var list []*clue.Node
	for _, item := range n.Items() {
		list = append(list, commands(item)...)
	}
	return list
}

func yamlNamed(f *clue.File, names ...string) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(f.Base(), ".yml"), ".yaml")
	for _, name := range names {
		if base == name && base != f.Base() {
			return true
		}
	}
	return false
}
