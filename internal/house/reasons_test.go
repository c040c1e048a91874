// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"custody.dev/custody/internal/reason"
)

// codeNames are the constants of type reason.Code, by name.
func codeNames(t *testing.T) map[string]reason.Code {
	t.Helper()
	codes := map[string]reason.Code{}
	files(t, func(name string, data []byte) {
		if path.Dir(name) != "internal/reason" || strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, declared := range parsed(t, name, data).Decls {
			group, is := declared.(*ast.GenDecl)
			if !is || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value := spec.(*ast.ValueSpec)
				if of, is := value.Type.(*ast.Ident); !is || of.Name != "Code" {
					continue
				}
				text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes[value.Names[0].Name] = reason.Code(text)
			}
		}
	})
	return codes
}

func parsed(t *testing.T, name string, data []byte) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, data, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Every code that the source names is in the catalogue, every code of the catalogue is used, and whoever makes a reason gives the
// parameters of its sentence, and none that the catalogue does not know.
func TestEveryReasonIsInTheCatalogue(t *testing.T) {
	rows := map[reason.Code]reason.Row{}
	for _, row := range reason.Catalogue() {
		rows[row.Code] = row
	}
	codes := codeNames(t)
	for name, code := range codes {
		if rows[code].Code == "" {
			t.Errorf("reason.%s: the catalogue has no row for %q", name, code)
		}
	}
	if len(codes) != len(rows) {
		t.Errorf("%d codes, %d rows", len(codes), len(rows))
	}
	used := map[reason.Code]bool{}
	files(t, func(name string, data []byte) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || path.Dir(name) == "internal/reason" {
			return
		}
		made := made(parsed(t, name, data))
		for _, one := range made {
			row := rows[codes[one.name]]
			if row.Code == "" {
				continue // no code, such as a class; codes without a row are told of above
			}
			used[row.Code] = true
			if !one.known {
				continue // its parameters are put together elsewhere
			}
			needed, known := reason.Parameters(row.Says), reason.Parameters(row.Says)
			for _, next := range row.Next {
				known = append(known, reason.Parameters(next.Command)...)
			}
			for _, parameter := range needed {
				if !slices.Contains(one.args, parameter) {
					t.Errorf("%s: reason.%s is made without %q: %s", name, one.name, parameter, row.Says)
				}
			}
			for _, parameter := range one.args {
				if !slices.Contains(known, parameter) {
					t.Errorf("%s: reason.%s is made with %q, which its row does not use", name, one.name, parameter)
				}
			}
		}
	})
	for code := range rows {
		if !used[code] {
			t.Errorf("%s: nothing has this reason; move it to Retired", code)
		}
	}
}

// making is one call that makes a reason. known says whether its arguments can be read.
type making struct {
	name  string
	args  []string
	known bool
}

// made finds the calls with a code among their arguments. The parameters are the argument after it; one that is no composite literal
// and not nil may be anything, such as the error of stuck, which gives none.
func made(file *ast.File) (found []making) {
	ast.Inspect(file, func(node ast.Node) bool {
		call, is := node.(*ast.CallExpr)
		if !is {
			return true
		}
		if called, is := call.Fun.(*ast.SelectorExpr); is && called.Sel.Name == "Is" { // it asks, and makes nothing
			return true
		}
		for i, arg := range call.Args {
			selected, is := arg.(*ast.SelectorExpr)
			if !is {
				continue
			}
			if of, is := selected.X.(*ast.Ident); !is || of.Name != "reason" || !ast.IsExported(selected.Sel.Name) {
				continue
			}
			one := making{name: selected.Sel.Name, known: true}
			if i+1 < len(call.Args) {
				one.args, one.known = keys(call.Args[i+1])
			}
			found = append(found, one)
		}
		return true
	})
	return found
}

func keys(given ast.Expr) (names []string, known bool) {
	switch given := given.(type) {
	case *ast.CompositeLit:
		for _, element := range given.Elts {
			name, err := strconv.Unquote(element.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
			if err != nil {
				return nil, false
			}
			names = append(names, name)
		}
		return names, true
	case *ast.Ident:
		return nil, given.Name == "nil" || given.Name == "err"
	}
	return nil, false
}
