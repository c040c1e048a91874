// SPDX-License-Identifier: Apache-2.0

// Package reference renders the reference of the document kinds: the fields come from the compiled types, their meaning
// from the comments in the source.
//
// Guaranteed: it lists every kind, every type that a kind uses, the parameters of every type of upstream, and every
// field; the same source gives the same bytes. A field without a comment panics, so that the generator and its test
// fail. No program that runs can panic: only the generator of the documentation imports this package. It parses the
// source each time it is called, which takes tens of milliseconds.
package reference

import (
	"bytes"
	"fmt"
	"path"
	"reflect"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/upstream"
)

// Markdown returns docs/documents.md. Tree is the top of the source tree.
func Markdown(tree string, types upstream.Types) []byte {
	return (&page{comments: &comments{tree: tree}, upstreams: types, written: map[reflect.Type]bool{}}).render()
}

// field is one documented JSON field.
type field struct {
	name, doc, shown string
	// is is the field's type.
	is reflect.Type
	// of is the struct type that the field holds, nil when it holds none.
	of       reflect.Type
	required bool
}

// page is the reference while it is written.
type page struct {
	bytes.Buffer
	comments  *comments
	upstreams upstream.Types
	written   map[reflect.Type]bool
}

// documents lists the documents in the order of the reference.
func documents() []any {
	return []any{
		v1alpha1.Platform{}, v1alpha1.ManagedSecret{}, v1alpha1.RotationPolicy{}, v1alpha1.Upstream{}, v1alpha1.BootstrapSecret{},
		v1alpha1.Host{},
	}
}

func (p *page) render() []byte {
	p.WriteString("<!-- Generated from api/v1alpha1 and the types of upstream. Do not edit. -->\n\n# Documents\n\n")
	fmt.Fprintf(p, "An estate (the configuration of one platform) is a folder of YAML documents with apiVersion `%s`. Custody "+
		"rejects unknown fields, anchors, aliases and duplicate keys. A file can hold several documents, but a BootstrapSecret must "+
		"be alone in its file. The Host document is not part of the estate; it is the configuration of one machine.\n\n"+
		"A field that is required must be present wherever the object that it belongs to is present. A duration is a number and a "+
		"unit, or several of them: `90m`, `1d12h`, `30d`; `d` is 24 hours. `custody schema` prints a JSON schema for editors, and "+
		"`custody lint` checks a whole estate ([rules](lint.md)). [Concepts](concepts.md) explains the words, such as authority "+
		"(secrets store), handover (import) and proof.\n\n", v1alpha1.APIVersion)
	for _, kind := range documents() {
		name := reflect.TypeOf(kind).Name()
		fmt.Fprintf(p, "- [%s](#%s)\n", name, strings.ToLower(name))
	}
	p.WriteString("\n## Every document\n\n")
	p.section(reflect.TypeFor[v1alpha1.Header](), "")
	for _, kind := range documents() {
		fmt.Fprintf(p, "## %s\n\n", reflect.TypeOf(kind).Name())
		p.section(reflect.TypeOf(kind), "")
	}
	return append(bytes.TrimRight(p.Bytes(), "\n"), '\n')
}

// section writes the table of one type and then the sections of the types it uses, depth first and each once in the
// reference. The types that begin a chapter have their heading already and no path.
func (p *page) section(of reflect.Type, path string) {
	if p.written[of] {
		return
	}
	p.written[of] = true
	if path != "" {
		fmt.Fprintf(p, "### `%s`: %s\n\n", path, shown(of))
	}
	fields := p.fields(of)
	fmt.Fprintf(p, "%s\n\n| field | type | required | meaning |\n|---|---|---|---|\n", shown(of)+strings.TrimPrefix(p.comments.of(of), of.Name()))
	for _, f := range fields {
		required := "no"
		if f.required {
			required = "yes"
		}
		fmt.Fprintf(p, "| `%s` | %s | %s | %s |\n", f.name, f.shown, required, strings.ReplaceAll(f.doc, "|", `\|`))
	}
	p.WriteString("\n")
	for _, f := range fields {
		if f.of == nil {
			continue
		}
		below := f.name
		if path != "" {
			below = path + "." + f.name
		}
		p.section(f.of, below)
	}
}

func (p *page) fields(of reflect.Type) []field {
	var out []field
	for i := range of.NumField() {
		f := of.Field(i)
		switch {
		case f.Type == reflect.TypeFor[v1alpha1.Header]():
			continue // it has a section of its own
		case f.Type == reflect.TypeFor[v1alpha1.Parameters]():
			out = append(out, p.parameters(f.Tag.Get("parameters"))...)
			continue
		case f.Anonymous:
			out = append(out, p.fields(f.Type)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		words, inner := p.words(f.Type)
		out = append(out, field{
			name: name, doc: p.comments.field(of, f.Name), shown: words, is: f.Type, of: inner, required: !strings.Contains(options, "omitempty"),
		})
	}
	return out
}

// parameters are a field for each type of upstream, which stand where the field that holds them does.
func (p *page) parameters(whose string) []field {
	var out []field
	for _, t := range p.upstreams {
		of, doc := reflect.TypeOf(t.NewAccount()).Elem(), "The account, at an upstream of type "+t.Name()+"."
		if whose == "server" {
			of = reflect.TypeOf(t.NewServer()).Elem()
			doc = strings.TrimPrefix(p.comments.of(of), of.Name()+" is ")
			doc = strings.ToUpper(doc[:1]) + doc[1:]
		}
		out = append(out, field{name: t.Name(), doc: doc, shown: shown(of), is: of, of: of})
	}
	return out
}

// shown names a struct type: those of a type of upstream with the type's name before it.
func shown(of reflect.Type) string {
	if of.PkgPath() == reflect.TypeFor[v1alpha1.Header]().PkgPath() {
		return of.Name()
	}
	return path.Base(of.PkgPath()) + "." + strings.TrimSuffix(of.Name(), "Spec")
}

// words name a type as YAML has it, and the struct type in it.
func (p *page) words(of reflect.Type) (words string, inner reflect.Type) {
	switch of.Kind() {
	case reflect.Pointer:
		return p.words(of.Elem())
	case reflect.Slice:
		words, inner = p.words(of.Elem())
		return "list of " + words, inner
	case reflect.Map:
		if of.Name() != "" {
			return strings.TrimSuffix(strings.TrimPrefix(p.comments.of(of), of.Name()+" is a "), "."), nil
		}
		words, inner = p.words(of.Elem())
		return "mapping to " + words, inner
	case reflect.String:
		return "text", nil
	case reflect.Int:
		return "whole number", nil
	case reflect.Bool:
		return "true or false", nil
	case reflect.Interface:
		return "anything", nil
	case reflect.Struct:
		return shown(of), of
	}
	panic("reference: no name for type " + of.String())
}
