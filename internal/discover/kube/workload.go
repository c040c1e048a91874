// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

// deepest bounds how far documents are nested that are looked at.
const deepest = 100

// references finds the Secrets that an object names, at any depth: workloads, ingresses and custom resources alike.
func (o object) references(n *clue.Node, depth int) {
	if n == nil || depth > deepest {
		return
	}
	for _, item := range n.Items() {
		o.references(item, depth+1)
	}
	n.Pairs(func(key string, v *clue.Node) {
		switch {
		case strings.HasSuffix(key, "ecretKeyRef") && v.IsMap():
			o.use(v.Get("name").Text(), v.Get("key").Text(), v.At(), "a key of a Secret, in a variable or a field")
			return
		case (strings.HasSuffix(key, "ecretRef") || key == "secret" || strings.HasSuffix(key, "SecretRef")) && v.Get("name").Text() != "":
			o.use(v.Get("name").Text(), v.Get("key").Text(), v.At(), "a Secret, by reference")
			return
		case key == "secret" && v.Get("secretName").Text() != "":
			o.use(v.Get("secretName").Text(), "", v.At(), "a Secret, mounted as a volume")
			return
		case key == "imagePullSecrets" || key == "secrets":
			for _, item := range v.Items() {
				o.use(item.Get("name").Text(), "", item.At(), "a Secret for pulling images")
			}
		case key == "secretName" && v.Text() != "":
			o.use(v.Text(), "", v.At(), "the name of a Secret")
		}
		o.references(v, depth+1)
	})
}

// use tells that the object uses a field of a Secret, or all of them.
func (o object) use(name, field string, line int, why string) {
	if name == "" || strings.ContainsAny(name, "*{$") {
		return
	}
	c := clue.Clue{Role: clue.Uses, Line: line, By: o.by(), Why: why}
	if field == "" {
		c.Name, c.Set = name+"/*", o.key(name, "")
	} else {
		c.Name, c.Keys = name+"/"+field, []string{o.key(name, field)}
	}
	o.tell(c, "")
}

// literals finds values in clear in variables, arguments and fields of an object.
func (o object) literals() {
	o.doc.Leaves(func(path []string, leaf *clue.Node) {
		if len(path) == 0 || path[0] == "metadata" && path[len(path)-1] != "annotations" || !leaf.IsText() {
			return
		}
		last, text := path[len(path)-1], leaf.Text()
		if parts := option.FindStringSubmatch(text); parts != nil {
			o.literal(o.name, parts[1], strings.Trim(parts[2], `"'`), leaf.Line, "the name of an option")
			return
		}
		if o.chart != "" && strings.Contains(text, "*") || namesSecret(last, text) {
			return
		}
		o.literal(o.name, last, text, leaf.Line, "the name of the variable or field")
	})
}

// namesSecret reports whether a field has the name of a Secret and not a value: tokenSecret: shop-token.
func namesSecret(field, text string) bool {
	words := clue.Words(field)
	return len(words) > 0 && words[len(words)-1] == "secret" && kubeName.MatchString(text) && !clue.Random(text)
}
