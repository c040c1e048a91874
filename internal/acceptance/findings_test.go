// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// verb is a place in a format.
var verb = regexp.MustCompile(`%[a-z]`)

// TestEveryWaitIsExplained wants docs/operations.md to say what to do about whatever a secret may wait for: each text that
// the engines give to wait, stuck and until, or to a wait of theirs.
func TestEveryWaitIsExplained(t *testing.T) {
	var rows []string
	_, table, _ := strings.Cut(pages(t)[filepath.Join("docs", "operations.md")], "## What to do when")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			rows = append(rows, cells[1])
		}
	}
	count := 0
	for _, name := range []string{"rotation", "orchestrator", "derivation"} {
		for _, text := range waits(t, filepath.Join(sourceTree(t), "internal", name)) {
			count++
			if !explained(rows, text) {
				t.Errorf("a secret may wait for %q (internal/%s), and docs/operations.md does not say what to do", text, name)
			}
		}
	}
	if count < 40 {
		t.Errorf("only %d texts were found", count)
	}
}

// explained reports whether a row has all of the text, or the text all of a row.
func explained(rows []string, text string) bool {
	for _, row := range rows {
		fragments, missing := 0, 0
		for _, fragment := range placeholder.Split(row, -1) {
			fragment = strings.Trim(strings.TrimPrefix(strings.TrimSpace(fragment), "a person"), " ():;,")
			if len(fragment) < 5 {
				continue
			}
			fragments++
			if !strings.Contains(text, fragment) {
				missing++
			}
		}
		if fragments > 0 && missing == 0 || strings.Contains(row, strings.Trim(text, " ():;,…")) {
			return true
		}
	}
	return false
}

// waits returns what the package of the folder says that it waits for, with … for what is filled in.
func waits(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	constants := map[string]ast.Expr{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		ast.Inspect(file, func(node ast.Node) bool {
			declared, is := node.(*ast.GenDecl)
			if !is || declared.Tok != token.CONST {
				return true
			}
			for _, spec := range declared.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, value := range spec.Values {
					constants[spec.Names[i].Name] = value
				}
			}
			return true
		})
	}
	var found []string
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			if said := reason(node); said != nil {
				if text := wording(said, constants); len(strings.Trim(strings.TrimPrefix(text, "a person"), " :…")) > 5 {
					found = append(found, text)
				}
			}
			return true
		})
	}
	return found
}

// reason returns the expression that says what is waited for, nil when the node makes no wait.
func reason(node ast.Node) ast.Expr {
	switch node := node.(type) {
	case *ast.CallExpr:
		name := ""
		switch called := node.Fun.(type) {
		case *ast.Ident:
			name = called.Name
		case *ast.SelectorExpr:
			name = called.Sel.Name
		}
		if (name == "wait" || name == "stuck" || name == "until") && len(node.Args) > 0 {
			return node.Args[0]
		}
	case *ast.CompositeLit:
		name, is := node.Type.(*ast.Ident)
		if !is || len(node.Elts) == 0 || name.Name != "wait" && name.Name != "Wait" && name.Name != "pause" {
			return nil
		}
		if field, keyed := node.Elts[0].(*ast.KeyValueExpr); keyed {
			return field.Value
		}
		return node.Elts[0]
	}
	return nil
}

// wording puts the literal parts of an expression together, constants of the package in full.
func wording(said ast.Expr, constants map[string]ast.Expr) string {
	var text strings.Builder
	var visit func(ast.Node) bool
	visit = func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.BasicLit:
			if literal, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
				text.WriteString(verb.ReplaceAllString(literal, "…"))
			}
		case *ast.Ident:
			if constant := constants[node.Name]; constant != nil {
				ast.Inspect(constant, visit)
			}
		case *ast.SelectorExpr:
			if of, is := node.X.(*ast.Ident); !is || of.Name != "fmt" {
				text.WriteString("…")
			}
			return false
		}
		return true
	}
	ast.Inspect(said, visit)
	return text.String()
}
