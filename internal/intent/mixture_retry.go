// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
)

// retry puts newest forms in force that gave way needlessly: all at once, or those that are related, or one after the other
// until none fits any more.
func (m *mixture) retry() {
	var waiting, moved []string
	for _, name := range m.names {
		switch {
		case m.chosen[name] == m.newest[name] || m.fixed[name] || m.kept[name]:
		case m.same[name]:
			moved = append(moved, name) // it says the same, from where it stands now
		default:
			waiting = append(waiting, name)
		}
	}
	if len(moved) > 0 {
		m.try(moved)
	}
	if len(waiting) == 0 || m.try(waiting) {
		return
	}
	var left []string
	for _, related := range m.related(waiting) {
		if len(related) == len(waiting) || !m.try(related) {
			left = append(left, related...)
		}
	}
	for again := len(waiting) > 1; again && len(left) > 0; {
		again = false
		left = slices.DeleteFunc(left, func(name string) bool {
			fits := m.try([]string{name})
			again = again || fits
			return fits
		})
	}
}

// try puts the newest forms of some documents in force, if the mixture lints with them.
func (m *mixture) try(names []string) bool {
	if m.looks >= maxLooks {
		return false
	}
	was := map[string]*document{}
	for _, name := range names {
		was[name] = m.chosen[name]
		m.set(name, m.newest[name])
	}
	faults := m.lint()
	if len(faults) == 0 {
		return true
	}
	for _, name := range names {
		m.set(name, was[name])
	}
	if len(names) == 1 {
		m.why[names[0]] = faults[max(0, slices.IndexFunc(faults, func(f Fault) bool { return f.Subject == names[0] }))]
	}
	return false
}

// related splits names into those that refer to each other, by way of others among them.
func (m *mixture) related(names []string) [][]string {
	of := map[string]int{}
	parts := map[int][]string{}
	for i, name := range names {
		of[name], parts[i] = i, []string{name}
	}
	join := func(a, b int) {
		if a == b {
			return
		}
		for _, name := range parts[b] {
			of[name] = a
		}
		parts[a] = append(parts[a], parts[b]...)
		delete(parts, b)
	}
	for _, name := range names {
		for _, form := range []*document{m.newest[name], m.before[name]} {
			if form == nil {
				continue
			}
			for _, other := range m.pulled(form) {
				if _, waits := of[other]; waits {
					join(of[name], of[other])
				}
			}
		}
	}
	var out [][]string
	for _, part := range parts {
		slices.SortFunc(part, func(a, b string) int { return cmp.Or(cmp.Compare(early(a), early(b)), cmp.Compare(a, b)) })
		out = append(out, part)
	}
	slices.SortFunc(out, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
	return out
}

// early orders kinds so that what is referred to is tried before what refers to it.
func early(name string) int {
	kind, _, _ := strings.Cut(name, "/")
	return slices.Index([]string{v1alpha1.KindPlatform, v1alpha1.KindRotationPolicy, v1alpha1.KindUpstream, v1alpha1.KindBootstrapSecret, v1alpha1.KindManagedSecret}, kind)
}

// finish makes the estate of what was chosen.
func (m *mixture) finish(newest, before *Files, unread []Fault) *Estate {
	e := m.estate
	told := map[string]bool{}
	tell := func(older Older) {
		older.Since = m.options.At
		if known, is := before.since[older.key()]; is {
			older.Since = known
		}
		told[older.Fault.File] = true
		e.Older = append(e.Older, older)
	}
	for _, name := range m.names {
		if form := m.settled[name]; (form != m.newest[name] || m.fixed[name]) && !m.kept[name] {
			gone := m.newest[name] == nil && !m.fixed[name]
			tell(Older{Subject: name, InForce: form != nil, Removed: gone, Fault: m.why[name]})
		}
	}
	for _, f := range unread {
		if !told[f.File] {
			tell(Older{Subject: f.Subject, Fault: f})
		}
	}
	e.Files = m.files(newest, unread)
	for _, older := range e.Older {
		e.Files.since[older.key()] = older.Since
	}
	for name := range e.Leaving {
		since, known := before.since[leavingKey(name)]
		if !known {
			since = m.options.At
		}
		e.Files.since[leavingKey(name)] = since
	}
	e.Files.declares(slices.Collect(maps.Values(m.settled)))
	return e
}

// key is what o is told from others by.
func (o Older) key() string { return cmp.Or(o.Subject, o.Fault.File) }

// origin is where a document was read: a file of the newest estate, or of the one before.
type origin struct {
	newest bool
	index  int
}

func (o origin) compare(p origin) int {
	if o.index == p.index && o.newest != p.newest {
		if o.newest {
			return -1
		}
		return 1
	}
	return cmp.Compare(o.index, p.index)
}

// files are those of the newest estate that are in force as they are, and the documents of each other file by themselves.
func (m *mixture) files(newest *Files, unread []Fault) *Files {
	torn, count := map[string]bool{}, map[int]int{}
	for _, f := range unread {
		torn[f.File] = true
	}
	for name, d := range m.settled {
		if d == m.newest[name] {
			count[d.index]++
		}
	}
	out := &Files{bounds: newest.bounds, since: map[string]time.Time{}}
	whole := map[int]bool{}
	apart := map[origin][]*document{}
	for _, name := range m.names {
		d := m.settled[name]
		switch {
		case d == nil:
		case d == m.newest[name] && !torn[d.file] && count[d.index] == d.siblings:
			whole[d.index] = true
		default:
			from := origin{d == m.newest[name], d.index}
			apart[from] = append(apart[from], d)
		}
	}
	for i, one := range newest.read {
		if whole[i] {
			out.read = append(out.read, one)
		}
	}
	part := 0
	for _, from := range slices.SortedFunc(maps.Keys(apart), origin.compare) {
		for _, text := range together(apart[from], m.shapes.trees.root) {
			part++
			out.read = append(out.read, oneFile{name: apart[from][0].file, part: part, data: text})
		}
	}
	out.addUp()
	return out
}

// together is the text of some documents of one file without the others, each on the same line where there is room. A part for each
// would have as many lines before it as the file has.
func together(documents []*document, root func(*document) *yaml.Node) (parts [][]byte) {
	slices.SortFunc(documents, func(a, b *document) int { return cmp.Compare(a.line, b.line) })
	var text []byte
	lines := 0
	for _, d := range documents {
		if d.siblings == 1 {
			return [][]byte{d.raw}
		}
		one, err := yaml.Marshal(exact(root(d)))
		if err != nil {
			panic("intent: encoding a decoded document cannot fail: " + err.Error())
		}
		if len(text) > 0 && len(text)+len(one) > maxFile/2 {
			parts, text, lines = append(parts, text), nil, 0
		}
		if len(text) > 0 {
			text, lines = append(text, "---\n"...), lines+1
		}
		above := max(0, d.line-1-lines)
		text = append(append(text, bytes.Repeat([]byte("\n"), above)...), one...)
		lines += above + bytes.Count(one, []byte("\n"))
	}
	return append(parts, text)
}

// exact is n in a form that the encoder writes so that it is read as n: its folded text is another one, and what is absent in
// braces becomes text.
func exact(n *yaml.Node) *yaml.Node {
	same := *n
	switch {
	case isNull(n):
		same.Value, same.Style = "null", 0
	case n.Style&yaml.FoldedStyle != 0:
		same.Style = n.Style&^yaml.FoldedStyle | yaml.DoubleQuotedStyle
	}
	same.Content = nil
	for _, part := range n.Content {
		same.Content = append(same.Content, exact(part))
	}
	return &same
}
