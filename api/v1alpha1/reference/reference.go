// SPDX-License-Identifier: Apache-2.0

// Package reference renders the reference of the document kinds from their Go source: types, JSON names and comments.
//
// Guaranteed: every kind, every type it uses and every field is listed, and the same source gives the same bytes. A field
// without a comment panics, so that the generator (and its test) fail, never a program that runs: nothing but the
// generator of the documentation imports this package. It parses the source each time it is called: milliseconds.
package reference

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
)

// Markdown returns docs/documents.md.
func Markdown() []byte { return render(v1alpha1.Source()) }

// structure is one documented struct type.
type structure struct {
	name, doc string
	fields    []field
}

// field is one documented JSON field.
type field struct {
	name, doc, shown string
	// of names the struct type that the field holds, "" when it holds none.
	of       string
	required bool
}

// kinds lists the documents in the order of the reference.
func kinds() []string {
	return []string{
		v1alpha1.KindPlatform, v1alpha1.KindManagedSecret, v1alpha1.KindRotationPolicy, v1alpha1.KindUpstream,
		v1alpha1.KindBootstrapSecret, v1alpha1.KindHost,
	}
}

func render(source string) []byte {
	types := parse(source)
	var b bytes.Buffer
	b.WriteString("<!-- Generated from api/v1alpha1/types.go. Do not edit. -->\n\n# Documents\n\n")
	fmt.Fprintf(&b, "An estate is a folder of YAML documents, apiVersion `%s`. Unknown fields are refused; so are anchors, "+
		"aliases and duplicate keys. A file may hold several documents, a BootstrapSecret stands alone. Durations are a number "+
		"and a unit (`90m`, `1d12h`, `30d`); `d` is 24 hours.\n\n", v1alpha1.APIVersion)
	for _, kind := range kinds() {
		fmt.Fprintf(&b, "- [%s](#%s)\n", kind, strings.ToLower(kind))
	}
	written := map[string]bool{}
	b.WriteString("\n## Every document\n\n")
	section(&b, types, "Header", "", written)
	for _, kind := range kinds() {
		fmt.Fprintf(&b, "## %s\n\n", kind)
		section(&b, types, kind, "", written)
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// section writes the table of one type and then the sections of the types it uses, depth first and each once in the
// reference. The types that begin a chapter have their heading already and no path.
func section(b *bytes.Buffer, types map[string]structure, name, path string, written map[string]bool) {
	if written[name] {
		return
	}
	written[name] = true
	s := need(types, name)
	if path != "" {
		fmt.Fprintf(b, "### `%s`: %s\n\n", path, name)
	}
	fmt.Fprintf(b, "%s\n\n| field | type | required | meaning |\n|---|---|---|---|\n", s.doc)
	for _, f := range s.fields {
		required := "no"
		if f.required {
			required = "yes"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.name, f.shown, required, strings.ReplaceAll(f.doc, "|", `\|`))
	}
	b.WriteString("\n")
	for _, f := range s.fields {
		if f.of == "" {
			continue
		}
		below := f.name
		if path != "" {
			below = path + "." + f.name
		}
		section(b, types, f.of, below, written)
	}
}

func need(types map[string]structure, name string) structure {
	s, ok := types[name]
	if !ok {
		panic("reference: there is no struct type " + name)
	}
	return s
}

// parse reads the struct types of a Go source.
func parse(source string) map[string]structure {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		panic("reference: parsing the document types: " + err.Error())
	}
	types, named := map[string]structure{}, map[string]ast.Expr{}
	specs := map[string]*ast.StructType{}
	docs := map[string]string{}
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		for _, spec := range general.Specs {
			typed, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			docs[typed.Name.Name] = text(general.Doc)
			if body, ok := typed.Type.(*ast.StructType); ok {
				specs[typed.Name.Name] = body
			} else {
				named[typed.Name.Name] = typed.Type
			}
		}
	}
	for name, body := range specs {
		if docs[name] == "" {
			panic("reference: type " + name + " has no comment")
		}
		types[name] = structure{name, docs[name], fields(name, body, specs, docs, named)}
	}
	return types
}

func fields(owner string, body *ast.StructType, specs map[string]*ast.StructType, docs map[string]string, named map[string]ast.Expr) []field {
	var out []field
	for _, f := range body.Fields.List {
		if len(f.Names) == 0 {
			// The header has a section of its own; what else is inlined is listed with its owner's fields.
			if name, ok := f.Type.(*ast.Ident); ok && name.Name != "Header" {
				out = append(out, fields(name.Name, specs[name.Name], specs, docs, named)...)
			}
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			panic("reference: reading the tag of " + owner + "." + f.Names[0].Name + ": " + err.Error())
		}
		name, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		doc := text(f.Doc)
		if doc == "" {
			panic("reference: field " + owner + "." + name + " has no comment")
		}
		shown, of := typeName(f.Type, specs, docs, named)
		out = append(out, field{name, doc, shown, of, !strings.Contains(options, "omitempty")})
	}
	return out
}

// typeName names a type as YAML has it, and the struct type in it.
func typeName(e ast.Expr, specs map[string]*ast.StructType, docs map[string]string, named map[string]ast.Expr) (shown, of string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X, specs, docs, named)
	case *ast.ArrayType:
		inner, of := typeName(e.Elt, specs, docs, named)
		return "list of " + inner, of
	case *ast.MapType:
		inner, of := typeName(e.Value, specs, docs, named)
		return "mapping to " + inner, of
	case *ast.Ident:
		switch e.Name {
		case "string":
			return "text", ""
		case "int":
			return "whole number", ""
		case "bool":
			return "true or false", ""
		case "any":
			return "anything", ""
		}
		if specs[e.Name] != nil {
			return e.Name, e.Name
		}
		if named[e.Name] != nil {
			return strings.TrimSuffix(strings.TrimPrefix(docs[e.Name], e.Name+" is a "), "."), ""
		}
	}
	panic(fmt.Sprintf("reference: no name for type %T", e))
}

// text is a comment on one line.
func text(group *ast.CommentGroup) string {
	return strings.Join(strings.Fields(group.Text()), " ")
}
