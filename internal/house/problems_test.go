// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// unhinted are the functions that make a problem without a hint, each with the reason.
var unhinted = map[string]string{
	"internal/server/problem.go:Problems":   "the hint comes from the error or from the table of classes",
	"internal/server/client.go:call":        "the hint comes with the server's answer",
	"internal/acceptance/commands.go:fails": "a test looks up the exit code of a class",
}

// TestEveryProblemHasAHint: problems said what was wrong and left the operator to find out what to do next.
func TestEveryProblemHasAHint(t *testing.T) {
	made, met := 0, map[string]bool{}
	files(t, func(name string, data []byte) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !strings.HasPrefix(name, "internal/") {
			return
		}
		for _, declared := range parsed(t, name, data).Decls {
			where := name
			if function, is := declared.(*ast.FuncDecl); is {
				where += ":" + function.Name.Name
			}
			ast.Inspect(declared, func(node ast.Node) bool {
				hinted, is := hintOf(node)
				if !is {
					return true
				}
				made++
				if unhinted[where] != "" {
					met[where] = true
				} else if !hinted {
					t.Errorf("%s makes a problem without a hint: name the next command, or add the function to unhinted with the reason", where)
				}
				return true
			})
		}
	})
	for where := range unhinted {
		if !met[where] {
			t.Errorf("%s makes no problem any more: remove it from unhinted", where)
		}
	}
	if made < 60 {
		t.Errorf("%d problems found: where are the others?", made)
	}
}

// hintOf reports whether a node makes a problem, and whether that has a hint.
func hintOf(node ast.Node) (hinted, is bool) {
	switch node := node.(type) {
	case *ast.CompositeLit:
		if nameOf(node.Type) != "Problem" {
			return false, false
		}
		for _, element := range node.Elts {
			if field, is := element.(*ast.KeyValueExpr); is && nameOf(field.Key) == "Hint" {
				return !empty(field.Value), true
			}
		}
		return false, true
	case *ast.CallExpr:
		if nameOf(node.Fun) != "usage" || len(node.Args) != 2 {
			return false, false
		}
		return !empty(node.Args[1]), true
	}
	return false, false
}

// nameOf is the name of an identifier, without its package.
func nameOf(expression ast.Expr) string {
	switch expression := expression.(type) {
	case *ast.Ident:
		return expression.Name
	case *ast.SelectorExpr:
		return expression.Sel.Name
	}
	return ""
}

func empty(expression ast.Expr) bool {
	literal, is := expression.(*ast.BasicLit)
	return is && literal.Kind == token.STRING && len(literal.Value) == 2
}
