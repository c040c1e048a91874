// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"errors"
	"io"
	"iter"

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

// maxTrees bounds the YAML nodes that are kept of files that were read: each takes some 200 bytes.
const maxTrees = 20_000

// trees are the YAML nodes of the documents that were read last. All that is kept of a document in the end is what it says: where it
// says so only faults ask, and then its file is read again.
type trees struct {
	// of a file, by its first byte, the root of each document in it; nil where one cannot be read.
	of    map[*byte][]*yaml.Node
	nodes int
	// reread counts the files that were read again.
	reread int
}

func newTrees() *trees { return &trees{of: map[*byte][]*yaml.Node{}} }

// add keeps the root of the next document of a file, which has so many nodes. Older ones go where there are too many.
func (t *trees) add(data []byte, root *yaml.Node, nodes int) {
	file := &data[0]
	if t.nodes += nodes; t.nodes > maxTrees {
		t.of, t.nodes = map[*byte][]*yaml.Node{file: t.of[file]}, nodes
	}
	t.of[file] = append(t.of[file], root)
}

// root is the root of a document's nodes.
func (t *trees) root(d *document) *yaml.Node {
	file := &d.raw[0]
	if len(t.of[file]) <= d.number {
		t.reread++
		delete(t.of, file)
		for root := range roots(d.raw, nil) {
			t.add(d.raw, root, valuesIn(root))
		}
	}
	return t.of[file][d.number]
}

// roots yields the documents of a file that are not empty. Where one cannot be read, failed is told, if anybody is.
func roots(data []byte, failed func(error)) iter.Seq[*yaml.Node] {
	return func(yield func(*yaml.Node) bool) {
		for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
			var n yaml.Node
			err := decoder.Decode(&n)
			if err != nil {
				if failed != nil && !errors.Is(err, io.EOF) {
					failed(err)
				}
				return
			}
			if len(n.Content) > 0 && (!isNull(n.Content[0]) || n.Content[0].Value != "") && !yield(n.Content[0]) {
				return
			}
		}
	}
}

// find returns the position of the key or item that t leads to in d, or of the deepest one on the way that exists. Where d has an
// override merged, what that says comes first, since it is what holds.
func (r *reader) find(d *document, t trail) mark {
	if len(t) == 0 {
		return mark{d.line, d.column}
	}
	root := r.trees.root(d)
	base, depth, _ := walk(root, t)
	if d.override == "" || t[0] != "spec" {
		return base
	}
	patch := lookup(root, at("spec", "environments", d.override))
	if patch == nil {
		return base
	}
	patched, patchDepth, list := walk(patch, t[1:])
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
