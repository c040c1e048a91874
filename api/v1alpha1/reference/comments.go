// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

const module = "custody.dev/custody/"

// comments are those of types and their fields, read from the source a package at a time.
type comments struct {
	tree string
	// read holds, for each package, comments by TYPE and TYPE.FIELD.
	read map[string]map[string]string
}

// of is the comment of a type, on one line.
func (c *comments) of(t reflect.Type) string { return c.need(t, t.Name()) }

// field is the comment of a field of a struct type, on one line.
func (c *comments) field(t reflect.Type, name string) string { return c.need(t, t.Name()+"."+name) }

func (c *comments) need(t reflect.Type, name string) string {
	if c.read[t.PkgPath()] == nil {
		if c.read == nil {
			c.read = map[string]map[string]string{}
		}
		c.read[t.PkgPath()] = parse(filepath.Join(c.tree, strings.TrimPrefix(t.PkgPath(), module)))
	}
	text := c.read[t.PkgPath()][name]
	if text == "" {
		panic("reference: " + t.PkgPath() + "." + name + " has no comment")
	}
	return text
}

// parse reads the comments of a package.
func parse(folder string) map[string]string {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		panic("reference: there is no source in " + folder)
	}
	found := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			panic("reference: parsing the document types: " + err.Error())
		}
		for _, declaration := range file.Decls {
			general, ok := declaration.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				typed := spec.(*ast.TypeSpec)
				found[typed.Name.Name] = line(general.Doc)
				body, ok := typed.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range body.Fields.List {
					for _, of := range f.Names {
						found[typed.Name.Name+"."+of.Name] = line(f.Doc)
					}
				}
			}
		}
	}
	return found
}

// line is a comment on one line.
func line(group *ast.CommentGroup) string {
	return strings.Join(strings.Fields(group.Text()), " ")
}
