// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing that is wrong with a recipe.
type Fault struct {
	// Place is where, such as create.steps[0].request.
	Place string
	// Line counts from 1; 0 for a recipe that was not read from text.
	Line   int
	Reason string
}

// Error is PLACE: REASON.
func (f Fault) Error() string {
	if f.Line > 0 {
		return fmt.Sprintf("%s (line %d): %s", f.Place, f.Line, f.Reason)
	}
	return f.Place + ": " + f.Reason
}

// Parse reads a recipe from YAML. Unknown and duplicate keys, aliases and wrong types are refused. It does not compile.
func Parse(text []byte) (*Recipe, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, Fault{Place: "the recipe", Reason: err.Error()}
	}
	if len(root.Content) != 1 {
		return nil, Fault{Place: "the recipe", Reason: "it is empty"}
	}
	return decode(root.Content[0])
}

// fromData reads a recipe that stands within another document.
func fromData(data any) (*Recipe, error) {
	var root yaml.Node
	if err := root.Encode(data); err != nil {
		return nil, Fault{Place: "the recipe", Reason: "not plain data"}
	}
	return decode(&root)
}

func decode(root *yaml.Node) (*Recipe, error) {
	var d decoder
	var r Recipe
	d.value(root, reflect.ValueOf(&r).Elem(), "")
	if len(d.faults) > 0 {
		return nil, errors.Join(d.faults...)
	}
	return &r, nil
}

type decoder struct{ faults []error }

func (d *decoder) bad(n *yaml.Node, place, format string, args ...any) {
	if place == "" {
		place = "the recipe"
	}
	d.faults = append(d.faults, Fault{Place: place, Line: n.Line, Reason: fmt.Sprintf(format, args...)})
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, place string) {
	switch target := v.Addr().Interface().(type) {
	case *time.Duration:
		duration, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || duration < 0 {
			d.bad(n, place, "want a duration such as 90s or 5m")
			return
		}
		*target = duration
		return
	case *Auth:
		if n.Kind == yaml.ScalarNode {
			target.Use = n.Value
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		d.value(n, fresh.Elem(), place)
		v.Set(fresh)
	case reflect.Struct:
		d.object(n, v, place)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			d.bad(n, place, "want a mapping")
			return
		}
		made := reflect.MakeMap(v.Type())
		for key, part := range d.pairs(n, place) {
			item := reflect.New(v.Type().Elem()).Elem()
			d.value(part, item, join(place, key))
			made.SetMapIndex(reflect.ValueOf(key), item)
		}
		v.Set(made)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.bad(n, place, "want a list")
			return
		}
		list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			d.value(item, list.Index(i), fmt.Sprintf("%s[%d]", place, i))
		}
		v.Set(list)
	case reflect.Interface:
		d.free(n, v, place)
	default:
		d.scalar(n, v, place)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, place string) {
	want := map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false", reflect.Int: "a whole number"}[v.Kind()]
	if n.Kind != yaml.ScalarNode {
		d.bad(n, place, "want %s", want)
		return
	}
	// An expression such as `true` or `5` is text though YAML takes it for something else.
	if v.Kind() == reflect.String && n.ShortTag() != "!!null" {
		v.SetString(n.Value)
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil || n.ShortTag() == "!!null" {
		d.bad(n, place, "want %s", want)
	}
}

func (d *decoder) free(n *yaml.Node, v reflect.Value, place string) {
	var data any
	if hasAlias(n) {
		d.bad(n, place, "aliases are not allowed")
		return
	}
	if err := n.Decode(&data); err != nil {
		d.bad(n, place, "want text, a number, true, false, a list or a mapping")
		return
	}
	if data != nil {
		v.Set(reflect.ValueOf(data))
	}
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// pairs gives the keys of a mapping and their nodes, and refuses duplicates.
func (d *decoder) pairs(n *yaml.Node, place string) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if seen[key] {
				d.bad(n.Content[i], place, "%q stands here twice", key)
				continue
			}
			seen[key] = true
			if !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, place string) {
	if n.Kind != yaml.MappingNode {
		d.bad(n, place, "want a mapping")
		return
	}
	index, required := map[string]int{}, []string{}
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("key"), ",")
		if name == "" {
			continue
		}
		index[name] = i
		if options == "required" {
			required = append(required, name)
		}
	}
	for key, part := range d.pairs(n, place) {
		i, known := index[key]
		if !known {
			d.bad(part, join(place, key), "there is no such key")
			continue
		}
		d.value(part, v.Field(i), join(place, key))
	}
	for _, name := range required {
		if v.Field(index[name]).IsZero() && !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Value == name }) {
			d.bad(n, join(place, name), "missing")
		}
	}
}

func join(place, key string) string {
	if place == "" {
		return key
	}
	return place + "." + key
}
