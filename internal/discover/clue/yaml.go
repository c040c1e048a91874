// SPDX-License-Identifier: Apache-2.0

package clue

import (
	"bytes"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/lazyregexp"
)

// Node is a node of a YAML or JSON document. All methods take nil for a node that is not there.
type Node struct{ *yaml.Node }

var (
	action = lazyregexp.New(`\{\{-?[^{}]*-?\}\}`)
	only   = lazyregexp.New(`^\s*(\{\{-?[^{}]*-?\}\}\s*)+$`)
	helm   = lazyregexp.New(`"?\{\{-?\s*([^{}]*?)\s*-?\}\}"?`)
)

// deepest bounds how far documents are nested that are looked at: deeper ones are made to exhaust the stack.
const deepest = 100

// Docs are the documents of a YAML file, those before the first that is not well-formed. Templates of Helm are read as far as
// their text without the actions is YAML; an action in the place of a value reads as {{action}}.
func (f *File) Docs() []*Node {
	if f.parsed {
		return f.docs
	}
	f.parsed = true
	data := f.Data
	if strings.Contains(f.Path, "templates/") && bytes.Contains(data, []byte("{{")) {
		data = plainTemplate(data)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); err != nil {
			return f.docs
		}
		if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
			f.docs = append(f.docs, &Node{node.Content[0]})
		}
	}
}

// plainTemplate makes YAML of a template: lines of actions alone are emptied, and other actions become text in quotes.
func plainTemplate(data []byte) []byte {
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if only.MatchString(line) {
			lines[i] = ""
			continue
		}
		if !strings.Contains(line, "{{") {
			continue
		}
		key, value, found := strings.Cut(line, ": ")
		whole := helm.FindStringSubmatch(strings.TrimSpace(value))
		if found && whole != nil && whole[0] == strings.TrimSpace(value) {
			lines[i] = key + ": '{{" + strings.ReplaceAll(whole[1], "'", "''") + "}}'"
			continue
		}
		lines[i] = action.ReplaceAllString(line, "*")
		if found && strings.HasPrefix(strings.TrimSpace(lines[i][min(len(key)+2, len(lines[i])):]), "*") {
			lines[i] = key + ": '" + strings.ReplaceAll(strings.TrimSpace(action.ReplaceAllString(value, "*")), "'", "''") + "'"
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// Get is the value at a path of keys, nil where there is none.
func (n *Node) Get(keys ...string) *Node {
	for _, key := range keys {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		var next *Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				next = &Node{n.Content[i+1]}
			}
		}
		n = next
	}
	return n
}

// Text is the text of a scalar, "" for anything else and for null.
func (n *Node) Text() string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// IsText reports whether the node is text, and no number, truth value or null.
func (n *Node) IsText() bool { return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

// IsMap reports whether the node is a mapping.
func (n *Node) IsMap() bool { return n != nil && n.Kind == yaml.MappingNode }

// IsList reports whether the node is a sequence.
func (n *Node) IsList() bool { return n != nil && n.Kind == yaml.SequenceNode }

// At is the line of the node, from 1; 0 for one that is not there.
func (n *Node) At() int {
	if n == nil {
		return 0
	}
	return n.Line
}

// Pairs calls visit for the pairs of a mapping.
func (n *Node) Pairs(visit func(key string, value *Node)) {
	if !n.IsMap() {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		visit(n.Content[i].Value, &Node{n.Content[i+1]})
	}
}

// Items are the items of a sequence, none of anything else.
func (n *Node) Items() []*Node {
	if !n.IsList() {
		return nil
	}
	items := make([]*Node, len(n.Content))
	for i, item := range n.Content {
		items[i] = &Node{item}
	}
	return items
}

// Leaves calls visit for every scalar beneath the node with its path, which is never empty. An item of a list that has a
// name and a value, as those of environments have, is called by its name.
func (n *Node) Leaves(visit func(path []string, leaf *Node)) { n.leaves(nil, visit) }

func (n *Node) leaves(path []string, visit func([]string, *Node)) {
	if n == nil || len(path) > deepest {
		return
	}
	under := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch n.Kind {
	case yaml.ScalarNode:
		if len(path) > 0 { // a document that is text alone has no name for it
			visit(path, n)
		}
	case yaml.MappingNode:
		n.Pairs(func(key string, value *Node) { value.leaves(under(key), visit) })
	case yaml.SequenceNode:
		for i, item := range n.Items() {
			name, value := item.Get("name").Text(), item.Get("value")
			if name != "" && value != nil && value.Kind == yaml.ScalarNode {
				visit(under(name), value)
				continue
			}
			item.leaves(under(strconv.Itoa(i)), visit)
		}
	}
}

// Dotted is a path for people.
func Dotted(path []string) string { return strings.Join(path, ".") }
