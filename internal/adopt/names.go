// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
)

var others = lazyregexp.New(`[^a-z0-9]+`)

// slug is text as the name of a document, "" where nothing of it can be in one.
func slug(text string) string {
	made := strings.Trim(others.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return strings.Trim(made[:min(len(made), longest)], "-")
}

// longest leaves room for a suffix in the 63 characters that a name has.
const longest = 48

// prefix is where adopted values are in the authority.
const prefix = "adopted/"

// name makes a name that no document has: the text, or the text with the smallest number from 2 on that is free.
func (p *planner) name(text string) string {
	base := slug(text)
	if base == "" {
		base = "secret"
	}
	if slices.Contains(p.Environments, base) { // no path has the name of an environment
		base += "-secret"
	}
	made := base
	for n := 2; p.Estate.Names[made] || p.named[made] || p.Paths[prefix+made]; n++ {
		made = fmt.Sprintf("%s-%d", base, n)
	}
	p.named[made] = true
	return made
}

// chosen is a name that somebody chose, which must be free.
func (p *planner) chosen(text, by string) (string, error) {
	if !v1alpha1.WellNamed(text) || p.Estate.Names[text] || p.named[text] || p.Paths[prefix+text] || slices.Contains(p.Environments, text) {
		return "", &Error{Doing: "naming " + by, Class: ErrInput, Detail: fmt.Sprintf("%q is taken, or is no name", oneLine(text)),
			Next: "choose another: lower-case letters, digits and single hyphens, 63 at most"}
	}
	p.named[text] = true
	return text, nil
}

// fileName is what the secret of a file is called: by its folder and its name. That of shop/.env is shop-env.
func (p *planner) fileName(file string) string {
	dir := path.Base(path.Dir(file))
	if dir == "." {
		dir = filepath.Base(p.Root)
	}
	return dir + "-" + strings.Trim(path.Base(file), ".")
}

// camel is a name as templates know an input: letters and digits.
func camel(name string) string {
	var b strings.Builder
	for i, word := range strings.Split(name, "-") {
		switch {
		case word == "":
			continue
		case b.Len() == 0 && word[0] >= '0' && word[0] <= '9':
			b.WriteString("n" + word)
		case i == 0:
			b.WriteString(word)
		default:
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}
