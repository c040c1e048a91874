// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/plaintext"
)

const (
	maxDepth = 32
	maxKey   = 256
)

// plainTags are the tags that the text of a scalar alone can have; whoever writes another one wants a guess.
var plainTags = map[string]bool{
	"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true, "!!timestamp": true, "!!map": true, "!!seq": true,
}

// scan looks at one document before it is decoded: what YAML allows and an estate does not. It reports whether the
// document can be decoded at all.
func scan(n *yaml.Node, report func(rule string, n *yaml.Node, reason string)) bool {
	return scanner{report}.node(n, 0)
}

type scanner struct {
	report func(rule string, n *yaml.Node, reason string)
}

func (s scanner) node(n *yaml.Node, depth int) bool {
	if depth > maxDepth {
		s.report("document-form", n, fmt.Sprintf("more than %d levels deep", maxDepth))
		return false
	}
	sound := true
	if n.Anchor != "" {
		s.report("yaml-alias", n, "an anchor is defined")
		sound = false
	}
	if n.Kind == yaml.AliasNode {
		s.report("yaml-alias", n, "an alias is used")
		return false
	}
	if tag := n.ShortTag(); tag == "!!merge" {
		s.report("yaml-alias", n, "a merge key is used")
		return false
	} else if !plainTags[tag] || n.Style&yaml.TaggedStyle != 0 {
		s.report("yaml-tag", n, "a value carries an explicit tag")
		return false
	}
	switch n.Kind {
	case yaml.ScalarNode:
		sound = s.text(n) && sound
	case yaml.SequenceNode:
		for _, item := range n.Content {
			sound = s.node(item, depth+1) && sound
		}
	case yaml.MappingNode:
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			sound = s.key(n.Content[i], seen) && sound
			sound = s.node(n.Content[i+1], depth+1) && sound
		}
	}
	return sound
}

func (s scanner) key(n *yaml.Node, seen map[string]int) bool {
	if n.Kind != yaml.ScalarNode || (n.ShortTag() != "!!merge" && !textual(n)) {
		s.report("document-form", n, "a key is not text")
		return false
	}
	if len(n.Value) > maxKey {
		s.report("text-form", n, fmt.Sprintf("a key is longer than %d bytes", maxKey))
		return false
	}
	if first, ok := seen[n.Value]; ok {
		s.report("yaml-duplicate-key", n, fmt.Sprintf("the key %s is already on line %d", plaintext.Show(n.Value), first))
		return false
	}
	seen[n.Value] = n.Line
	return s.node(n, 0)
}

// text refuses characters that no field needs and that mislead readers, terminals or the files that are written.
func (s scanner) text(n *yaml.Node) bool {
	bad := strings.ContainsFunc(n.Value, func(r rune) bool {
		return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
			r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == '\ufffe' || r == '\uffff'
	})
	if bad {
		s.report("text-form", n, "a text holds a control character")
	}
	return !bad
}
