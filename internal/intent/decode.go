// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/upstream"

	"go.yaml.in/yaml/v3"
)

// decoder fills API types from YAML nodes, field by field, and goes on after each fault. It neither follows aliases nor
// guesses types: what is not written as a field's type is a fault.
type decoder struct {
	// report is told of each fault, where it is, and never of a value.
	report func(rule string, t trail, reason, fix string)
	types  upstream.Types
	shapes map[reflect.Type][]field
	words  words
}

// words are short texts that were read before, each once: owners, folders and policies are the same in very many documents.
type words map[string]string

const (
	// mostWords bounds how many are remembered; what is common is among the first.
	mostWords = 4096
	// longestWord is the longest that is, in bytes.
	longestWord = 64
)

// once returns text as it was read first. Nil remembers nothing.
func (w words) once(text string) string {
	if w == nil || len(text) > longestWord {
		return text
	}
	if first, known := w[text]; known {
		return first
	}
	if len(w) < mostWords {
		w[text] = text
	}
	return text
}

// field is one JSON field of a struct type.
type field struct {
	name     string
	index    []int
	required bool
	// parameters makes blank ones of a type of upstream, which are kept by name in the field that index leads to; nil for
	// every other field.
	parameters func() any
}

// shape lists the fields of a struct type, those of an inlined struct and the parameters of each type of upstream among them.
func (d *decoder) shape(t reflect.Type) []field {
	if known, ok := d.shapes[t]; ok {
		return known
	}
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			for _, inner := range d.shape(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		}
		if f.Type == reflect.TypeFor[v1alpha1.Parameters]() {
			for _, of := range d.types {
				made := of.NewServer
				if f.Tag.Get("parameters") == "account" {
					made = of.NewAccount
				}
				out = append(out, field{name: of.Name(), index: []int{i}, parameters: made})
			}
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		out = append(out, field{name: name, index: []int{i}, required: !strings.Contains(options, "omitempty")})
	}
	d.shapes[t] = out
	return out
}

// value decodes n into v. Null leaves v as it is: absent.
func (d *decoder) value(n *yaml.Node, v reflect.Value, t trail) {
	if isNull(n) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		d.value(n, fresh.Elem(), t)
		v.Set(fresh)
	case reflect.Struct:
		d.object(n, v, t)
	case reflect.Map:
		d.mapping(n, v, t)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.wrong(n, "a list", t)
			return
		}
		list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			if isNull(item) {
				d.wrong(item, "a value", t.to(i))
			}
			d.value(item, list.Index(i), t.to(i))
		}
		v.Set(list)
	case reflect.String, reflect.Int, reflect.Bool:
		d.scalar(n, v, t)
	case reflect.Interface:
		if free, ok := d.free(n, t); ok && free != nil {
			v.Set(reflect.ValueOf(free))
		}
	default:
		panic("intent: no decoding for type " + v.Type().String())
	}
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, t trail) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, "a mapping", t)
		return
	}
	shape := d.shape(v.Type())
	present := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, part := n.Content[i].Value, n.Content[i+1]
		known := false
		for _, f := range shape {
			if f.name == key {
				known = true
				if !present[key] {
					d.field(f, part, v.FieldByIndex(f.index), t.to(key))
				}
				present[key] = !isNull(part)
			}
		}
		if !known {
			fix := ""
			if near := nearest(key, shape); near != "" {
				fix = fmt.Sprintf("Write %s, or remove the field.", near)
			}
			d.report("field-unknown", t.to(key), fmt.Sprintf("%s has no field %s", t.describe(), plaintext.Show(key)), fix)
		}
	}
	for _, f := range shape {
		if !f.required {
			continue
		}
		switch part := v.FieldByIndex(f.index); {
		case !present[f.name]:
			d.report("field-missing", t.to(f.name), fmt.Sprintf("%s lacks the field %s", t.describe(), f.name), "")
		case blank(part) && written(lookup(n, at(f.name)), part):
			d.report("field-missing", t.to(f.name), fmt.Sprintf("%s is empty", t.to(f.name).describe()), "")
		}
	}
}

// field decodes n into one field of a struct.
func (d *decoder) field(f field, n *yaml.Node, v reflect.Value, t trail) {
	switch {
	case f.parameters == nil:
		d.value(n, v, t)
	case !isNull(n):
		made := f.parameters()
		d.value(n, reflect.ValueOf(made).Elem(), t)
		if v.IsNil() {
			v.Set(reflect.ValueOf(v1alpha1.Parameters{}))
		}
		v.SetMapIndex(reflect.ValueOf(f.name), reflect.ValueOf(made))
	}
}

// blank reports whether a required field holds nothing. Structs are judged by their own fields.
func blank(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return false
}

// written reports whether n has the kind that v wants, so that a wrong type is not also called empty.
func written(n *yaml.Node, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return n.Kind == yaml.ScalarNode && textual(n)
	case reflect.Slice:
		return n.Kind == yaml.SequenceNode
	case reflect.Map:
		return n.Kind == yaml.MappingNode
	}
	return false
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, t trail) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, "a mapping", t)
		return
	}
	made := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, part := n.Content[i].Value, n.Content[i+1]
		// A null in a merge patch removes: there, and only there, it is kept.
		if isNull(part) && v.Type().Elem().Kind() != reflect.Interface {
			d.wrong(part, "a value", t.to(key))
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(part, item, t.to(key))
		made.SetMapIndex(reflect.ValueOf(key), item)
	}
	v.Set(made)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, t trail) {
	switch v.Kind() {
	case reflect.String:
		if n.Kind != yaml.ScalarNode || !textual(n) {
			d.wrong(n, "text", t)
			return
		}
		v.SetString(d.words.once(n.Value))
	case reflect.Int:
		number, ok := whole(n)
		if !ok {
			d.wrong(n, "a whole number in plain digits", t)
			return
		}
		v.SetInt(number)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || (n.Value != "true" && n.Value != "false") || n.ShortTag() != "!!bool" {
			d.wrong(n, "true or false", t)
			return
		}
		v.SetBool(n.Value == "true")
	}
}

// free decodes what has no type of its own (a merge patch, SOPS's metadata) as JSON would hold it.
func (d *decoder) free(n *yaml.Node, t trail) (any, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if part, ok := d.free(n.Content[i+1], t.to(key)); ok {
				out[key] = part
			}
		}
		return out, true
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			part, ok := d.free(item, t.to(i))
			if ok && part == nil {
				d.wrong(item, "a value", t.to(i))
				continue
			}
			if ok {
				out = append(out, part)
			}
		}
		return out, true
	case yaml.ScalarNode:
		switch {
		case isNull(n):
			return nil, true
		case textual(n):
			return n.Value, true
		case n.ShortTag() == "!!bool" && (n.Value == "true" || n.Value == "false"):
			return n.Value == "true", true
		}
		if number, ok := whole(n); ok {
			return number, true
		}
	}
	d.wrong(n, "text, a whole number, true, false, a list or a mapping", t)
	return nil, false
}

// wrong reports a type fault. It says what was written, never the text.
func (d *decoder) wrong(n *yaml.Node, want string, t trail) {
	got, fix := "something else", ""
	switch {
	case n.Kind == yaml.MappingNode:
		got = "a mapping"
	case n.Kind == yaml.SequenceNode:
		got = "a list"
	case isNull(n):
		got = "null"
	case n.Kind == yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!int", "!!float":
			got = "another form of number"
		case "!!bool":
			got = "a truth value"
		case "!!str", "!!timestamp":
			got = "text"
		}
		if want == "text" {
			fix = "Put the value in quotes."
			got = strings.Replace(got, "another form of", "a", 1)
		}
	}
	d.report("field-type", t, fmt.Sprintf("%s wants %s, not %s", t.describe(), want, got), fix)
}

// textual reports whether a scalar is text. A date is text that YAML would take for something more.
func textual(n *yaml.Node) bool {
	tag := n.ShortTag()
	return tag == "!!str" || tag == "!!timestamp"
}

// isNull reports whether n stands for absence.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// whole reads a decimal number as people write it: no sign but minus, no leading zero, no underscores.
func whole(n *yaml.Node) (int64, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		return 0, false
	}
	number, err := strconv.ParseInt(n.Value, 10, 64)
	return number, err == nil && strconv.FormatInt(number, 10) == n.Value
}

// nearest returns the field that key was probably meant to be: the same in another spelling of case and separators.
func nearest(key string, shape []field) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
	}
	for _, f := range shape {
		if plain(f.name) == plain(key) {
			return f.name
		}
	}
	return ""
}

// describe names t for people: spec.consumers[0].file, or "the document" for the root.
func (t trail) describe() string {
	if len(t) == 0 {
		return "the document"
	}
	var b strings.Builder
	for i, step := range t {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(plaintext.Plain(step))
		}
	}
	return b.String()
}
