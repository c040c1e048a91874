// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"go.yaml.in/yaml/v3"
)

// trail leads from a document's root to a node: string keys and int indexes.
type trail []any

func at(steps ...any) trail { return steps }

// to is t and more steps, in a new slice.
func (t trail) to(steps ...any) trail {
	return append(append(make(trail, 0, len(t)+len(steps)), t...), steps...)
}

// mark is a position in a file.
type mark struct{ line, column int }

// place finds positions in a document. With a patch, what the patch says comes first, since it is what holds.
type place struct {
	root *yaml.Node
	// patch is the merge patch over the document's spec, or nil.
	patch *yaml.Node
}

// find returns the position of the key or item that t leads to, or of the deepest one on the way that exists.
func (p place) find(t trail) mark {
	base, depth, _ := walk(p.root, t)
	if p.patch == nil || len(t) == 0 || t[0] != "spec" {
		return base
	}
	patched, patchDepth, list := walk(p.patch, t[1:])
	// A list in a patch replaces the whole list: what is in it, or missing from it, is the patch's doing.
	if patchDepth > 0 && (patchDepth+1 >= depth || list) {
		return patched
	}
	return base
}

// walk follows t as far as it leads and reports how many steps that was, and whether one of them was into a list.
func walk(n *yaml.Node, t trail) (where mark, depth int, list bool) {
	where = mark{n.Line, n.Column}
	for _, step := range t {
		key, value := child(n, step)
		if value == nil {
			return where, depth, list
		}
		_, index := step.(int)
		list = list || index
		where, n = mark{key.Line, key.Column}, value
		depth++
	}
	return where, depth, list
}

// child returns the value that step leads to, with its key (for an item, the item itself); nil when there is none.
func child(n *yaml.Node, step any) (key, value *yaml.Node) {
	switch step := step.(type) {
	case string:
		if n.Kind != yaml.MappingNode {
			return nil, nil
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && step < len(n.Content) {
			return n.Content[step], n.Content[step]
		}
	}
	return nil, nil
}

// lookup returns the node that t leads to, or nil.
func lookup(n *yaml.Node, t trail) *yaml.Node {
	for _, step := range t {
		if n == nil {
			return nil
		}
		_, n = child(n, step)
	}
	return n
}
