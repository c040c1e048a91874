// SPDX-License-Identifier: Apache-2.0

// Package shapes finds credentials whose form tells who issued them, in any text: the rules of gitleaks. They are the second
// look: what a structure says is secret is found by the other readers, whatever it looks like.
//
// Guaranteed: a line with gitleaks:allow is passed over. Not guaranteed: that what has the form of a credential is honoured
// by anybody.
//
// Cost: one pass over the text for all keywords of all rules; an expression is tried only near its keyword.
package shapes

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

//go:embed gitleaks/rules.json
var data []byte

// rule is one form.
type rule struct {
	ID          string
	Regex       string
	Keywords    []string
	Entropy     float64
	SecretGroup int
	Path        string
	Allow       []struct{ Regex, Target string }

	form, path func() *regexp.Regexp
	allow      []func() *regexp.Regexp
}

// book is all rules, found by the first three bytes of their keywords.
type book struct {
	rules []*rule
	// heads says which three bytes, hashed, begin a keyword; keywords are those that do.
	heads    [1 << 15]bool
	keywords map[[3]byte][]keyword
	short    []keyword
}

type keyword struct {
	text string
	rule *rule
}

// never matches nothing: not even an empty text follows a word and none.
var never, _ = regexp.Compile(`\b\B`)

var rules = sync.OnceValues(func() (*book, error) {
	b := &book{keywords: map[[3]byte][]keyword{}}
	if err := json.Unmarshal(data, &b.rules); err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	lazy := func(text string) func() *regexp.Regexp {
		return sync.OnceValue(func() *regexp.Regexp {
			form, err := regexp.Compile(text)
			if err != nil {
				return never // a test of this package compiles all
			}
			return form
		})
	}
	for _, r := range b.rules {
		r.form = lazy(r.Regex)
		if r.Path != "" {
			r.path = lazy(r.Path)
		}
		for _, a := range r.Allow {
			r.allow = append(r.allow, lazy(a.Regex))
		}
		for _, text := range r.Keywords {
			k := keyword{text, r}
			if len(text) < 3 {
				b.short = append(b.short, k)
				continue
			}
			head := [3]byte([]byte(text))
			b.heads[hash(head)] = true
			b.keywords[head] = append(b.keywords[head], k)
		}
	}
	return b, nil
})

func hash(head [3]byte) int {
	return (int(head[0])<<10 ^ int(head[1])<<5 ^ int(head[2])) & (1<<15 - 1)
}

// near is how far before and after a keyword a credential may be: rules that know a name and a value need both. pem is how
// long a private key may be.
const near, pem = 400, 12 << 10

// Find finds credentials by their form, but for those on lines that are taken: another reader has found them. understood says
// that another reader understood the whole file, and with it every private key in it.
func Find(f *clue.File, understood bool, taken func(line int) bool, found clue.Found) error {
	b, err := rules()
	if err != nil {
		return err
	}
	lower := lowered(f.Data)
	seen := map[place]bool{}
	until := map[*rule]int{} // where the last try of a rule ended
	try := func(k keyword, at int) {
		if at < until[k.rule] {
			return
		}
		after := near
		if k.rule.ID == "private-key" {
			if understood {
				return
			}
			after = pem
		}
		from, to := around(f.Data, at, at, near, after)
		until[k.rule] = at + near/2
		k.rule.try(f, from, to, seen, taken, found)
	}
	for _, k := range b.short {
		for at := 0; ; at++ {
			next := bytes.Index(lower[at:], []byte(k.text))
			if next < 0 {
				break
			}
			at += next
			try(k, at)
		}
	}
	for i := 0; i+3 <= len(lower); i++ {
		head := [3]byte(lower[i : i+3])
		if !b.heads[hash(head)] {
			continue
		}
		for _, k := range b.keywords[head] {
			if bytes.HasPrefix(lower[i:], []byte(k.text)) {
				try(k, i)
			}
		}
	}
	return nil
}

type place struct {
	rule *rule
	at   int
}

func (r *rule) try(f *clue.File, from, to int, seen map[place]bool, taken func(int) bool, found clue.Found) {
	if r.path != nil && !r.path().MatchString(f.Path) {
		return
	}
	for _, match := range r.form().FindAllSubmatchIndex(f.Data[from:to], -1) {
		group := r.SecretGroup
		if group == 0 {
			for g := 1; g*2 < len(match); g++ {
				if match[g*2] >= 0 && match[g*2+1] > match[g*2] {
					group = g
					break
				}
			}
		}
		start, end := from+match[group*2], from+match[group*2+1]
		if match[group*2] < 0 || seen[place{r, start}] {
			continue
		}
		seen[place{r, start}] = true
		text := string(f.Data[start:end])
		first, last := around(f.Data, start, end, 0, 0)
		row := string(f.Data[first:last])
		if r.Entropy > 0 && clue.Entropy(text) < r.Entropy || clue.Placeholder(text) || strings.Contains(row, "gitleaks:allow") || publicName.MatchString(row) {
			continue
		}
		whole := string(f.Data[from+match[0] : from+match[1]])
		if r.allowed(text, whole, row) {
			continue
		}
		line := clue.LineAt(f.Data, start)
		if taken(line) {
			continue
		}
		found(clue.Clue{Source: "shapes", Role: clue.Holds, Name: r.ID, Line: line, Kind: kind(r.ID), Why: "it has the form of " + r.ID + " (rule of gitleaks)",
			Value: clue.Text(text), Keys: []string{fmt.Sprintf("%s:%d", clue.FileKey(f.Path, r.ID), line)}})
	}
}

// publicName: keys that their issuers mean to be published.
var publicName = lazyregexp.New(`(?i)publishable|public[_-]?key`)

func (r *rule) allowed(text, whole, row string) bool {
	for i, a := range r.Allow {
		on := text
		switch a.Target {
		case "match":
			on = whole
		case "line":
			on = row
		}
		if r.allow[i]().MatchString(on) {
			return true
		}
	}
	return false
}

func kind(id string) string {
	words := strings.Split(id, "-")
	switch {
	case id == "private-key":
		return "private key"
	case slices.Contains(words, "webhook"):
		return "webhook"
	case slices.Contains(words, "password"):
		return "password"
	case slices.Contains(words, "token") || slices.Contains(words, "pat"):
		return "token"
	}
	return "API key"
}

// around is the part of data from before bytes ahead of a place to after bytes behind it, with whole lines where these are not
// long: lines of many megabytes are not searched for their ends.
func around(data []byte, start, end, before, after int) (from, to int) {
	from, to = max(start-before, 0), min(end+after, len(data))
	least, most := max(from-near, 0), min(to+near, len(data))
	if at := bytes.LastIndexByte(data[least:from], '\n'); at >= 0 {
		from = least + at + 1
	} else {
		from = least
	}
	if at := bytes.IndexByte(data[to:most], '\n'); at >= 0 {
		to += at
	} else {
		to = most
	}
	return from, to
}

// lowered is text with its ASCII letters in lower case, every byte where it was.
func lowered(data []byte) []byte {
	lower := bytes.Clone(data)
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	return lower
}
