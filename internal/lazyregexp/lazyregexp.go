// SPDX-License-Identifier: Apache-2.0

// Package lazyregexp has regular expressions that are compiled at their first use. Custody has about seventy, of which
// one command uses a few; compiling all of them took a third of the CPU time that a command needs to start.
package lazyregexp

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression in the syntax of package regexp. Its methods are those of regexp.Regexp, for concurrent
// use, and panic where the expression is malformed: a test of this package compiles every one that the program has.
type Regexp struct {
	text     string
	compiled func() *regexp.Regexp
}

// New does not look at text, which must be a constant.
func New(text string) *Regexp {
	return &Regexp{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// String is the expression's text.
func (p *Regexp) String() string { return p.text }

// MatchString reports whether s contains a match.
func (p *Regexp) MatchString(s string) bool { return p.compiled().MatchString(s) }

// Match reports whether data contains a match.
func (p *Regexp) Match(data []byte) bool { return p.compiled().Match(data) }

// FindStringSubmatch returns the leftmost match in s and its groups, nil without one.
func (p *Regexp) FindStringSubmatch(s string) []string { return p.compiled().FindStringSubmatch(s) }

// FindAllStringSubmatch returns at most n matches in s and their groups; n below zero means all.
func (p *Regexp) FindAllStringSubmatch(s string, n int) [][]string {
	return p.compiled().FindAllStringSubmatch(s, n)
}

// FindAllString returns at most n matches in s; n below zero means all.
func (p *Regexp) FindAllString(s string, n int) []string { return p.compiled().FindAllString(s, n) }

// ReplaceAllString returns s with its matches replaced, in which $1 is the first group.
func (p *Regexp) ReplaceAllString(s, replacement string) string {
	return p.compiled().ReplaceAllString(s, replacement)
}

// Split cuts s at its matches into at most n parts; n below zero means all.
func (p *Regexp) Split(s string, n int) []string { return p.compiled().Split(s, n) }
