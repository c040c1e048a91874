// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// template is text with ${expressions} in it; $${ stands for ${.
type template struct {
	place string
	// parts are texts and expressions in turn, beginning and ending with a text.
	texts       []string
	expressions []*expression
}

// template compiles text.
func (c *compiler) template(place, text string, s scope) *template {
	t := &template{place: place}
	var literal strings.Builder
	for text != "" {
		at := strings.Index(text, "${")
		if at < 0 {
			break
		}
		if at > 0 && text[at-1] == '$' {
			literal.WriteString(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		literal.WriteString(text[:at])
		inner, rest, ok := cutExpression(text[at+2:])
		if !ok || strings.TrimSpace(inner) == "" {
			c.bad(place, "a ${ is not closed, or there is nothing in it")
			return t
		}
		if e := c.expression(place, inner, s, nil); e != nil {
			t.texts = append(t.texts, literal.String())
			t.expressions = append(t.expressions, e)
			literal.Reset()
		}
		text = rest
	}
	t.texts = append(t.texts, literal.String()+text)
	if name := plainName(t, s); name != "" {
		c.bad(place, "it names %s outside of ${…}, which would be sent as it stands; write ${%s}", name, name)
	}
	return t
}

// plainName is a name of the scope that stands in a template without any ${…}, "" when none does: the braces were
// forgotten. Names of one word may be text.
func plainName(t *template, s scope) string {
	if len(t.expressions) > 0 {
		return ""
	}
	words := strings.FieldsFunc(t.texts[0], func(r rune) bool {
		return r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, word := range words {
		if _, known := s[word]; known && strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}

// cutExpression finds the brace that ends an expression: braces within it pair, those within quotes do not count.
func cutExpression(text string) (inner, rest string, ok bool) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case quote != 0:
			switch b {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case b == '"' || b == '\'':
			quote = b
		case b == '{':
			depth++
		case b == '}' && depth > 0:
			depth--
		case b == '}':
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

// names are the variables in it.
func (t *template) names() []string {
	var out []string
	for _, e := range t.expressions {
		out = append(out, e.names...)
	}
	return out
}

// fill joins the parts, each expression's text run through escape (nil for none).
func (t *template) fill(v Values, escape func(string) (string, error)) (string, error) {
	var b strings.Builder
	for i, e := range t.expressions {
		b.WriteString(t.texts[i])
		text, err := e.text(v)
		if err != nil {
			return "", err
		}
		if escape != nil {
			if text, err = escape(text); err != nil {
				return "", fmt.Errorf("%s: %w", t.place, err)
			}
		}
		b.WriteString(text)
	}
	b.WriteString(t.texts[len(t.texts)-1])
	return b.String(), nil
}

// header is fill for what goes into a header.
func (t *template) header(v Values) (string, error) {
	text, err := t.fill(v, nil)
	if err == nil && strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", fmt.Errorf("%s: a header cannot hold line breaks", t.place)
	}
	return text, err
}

// whole returns the expression that is all of the template, nil otherwise.
func (t *template) whole() *expression {
	if len(t.expressions) == 1 && t.texts[0] == "" && t.texts[1] == "" {
		return t.expressions[0]
	}
	return nil
}

func (c *compiler) templates(place string, texts map[string]string, s scope) map[string]*template {
	out := map[string]*template{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		out[name] = c.template(join(place, name), texts[name], s)
	}
	return out
}

// tree is a JSON body with templates in its texts: a *template, a map[string]tree, a []tree, or plain data.
type tree any

func (c *compiler) tree(place string, data any, s scope) tree {
	switch data := data.(type) {
	case string:
		return c.template(place, data, s)
	case map[string]any:
		out := map[string]tree{}
		for _, name := range slices.Sorted(maps.Keys(data)) {
			out[name] = c.tree(join(place, name), data[name], s)
		}
		return out
	case []any:
		out := make([]tree, len(data))
		for i, item := range data {
			out[i] = c.tree(fmt.Sprintf("%s[%d]", place, i), item, s)
		}
		return out
	}
	return data
}

// build makes the JSON data of a tree. What comes out as optional.none() is left out of mappings and lists.
func build(t tree, v Values) (data any, present bool, err error) {
	switch t := t.(type) {
	case *template:
		if e := t.whole(); e != nil {
			out, err := e.eval(v)
			if err != nil {
				return nil, false, err
			}
			data, present, ok := asData(out)
			if !ok {
				return nil, false, fmt.Errorf("%s: nothing that JSON can hold", t.place)
			}
			return data, present, nil
		}
		text, err := t.fill(v, nil)
		return text, true, err
	case map[string]tree:
		out := map[string]any{}
		for name, part := range t {
			item, present, err := build(part, v)
			if err != nil {
				return nil, false, err
			}
			if present {
				out[name] = item
			}
		}
		return out, true, nil
	case []tree:
		out := []any{}
		for _, part := range t {
			item, present, err := build(part, v)
			if err != nil {
				return nil, false, err
			}
			if present {
				out = append(out, item)
			}
		}
		return out, true, nil
	}
	return t, true, nil
}
