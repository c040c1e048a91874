// SPDX-License-Identifier: Apache-2.0

package lazyregexp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every expression of the program compiles, and none is compiled before it is used.
func TestEveryExpressionCompiles(t *testing.T) {
	found := 0
	for _, root := range []string{"../../api", "../../cmd", ".."} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "lazyregexp/lazyregexp.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok {
					return true
				}
				chosen, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				switch of, _ := chosen.X.(*ast.Ident); {
				case of == nil:
				case of.Name == "regexp" && chosen.Sel.Name == "MustCompile":
					t.Errorf("%s compiles an expression itself: use lazyregexp.New", path)
				case of.Name == "lazyregexp" && chosen.Sel.Name == "New":
					found++
					text := constant(t, path, call.Args[0])
					if _, err := regexp.Compile(text); err != nil {
						t.Errorf("%s: %v", path, err)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 50 {
		t.Errorf("%d expressions were found: this test looks in the wrong place", found)
	}
}

// constant is the text of a literal, or of several that are joined.
func constant(t *testing.T, path string, from ast.Expr) string {
	t.Helper()
	switch from := from.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(from.Value)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return text
	case *ast.BinaryExpr:
		return constant(t, path, from.X) + constant(t, path, from.Y)
	}
	t.Errorf("%s: an expression is not a literal, so that nobody compiles it before it is used", path)
	return ""
}

func TestMethods(t *testing.T) {
	p := New(`(a)(b?)`)
	if !p.MatchString("cab") || p.Match([]byte("b")) || p.String() != `(a)(b?)` {
		t.Error("matches")
	}
	if got := p.FindStringSubmatch("cab"); strings.Join(got, ",") != "ab,a,b" {
		t.Errorf("groups %q", got)
	}
	if got := p.FindAllStringSubmatch("a ab", -1); len(got) != 2 || got[1][2] != "b" {
		t.Errorf("all groups %q", got)
	}
	if got := p.FindAllString("a ab", 1); len(got) != 1 || got[0] != "a" {
		t.Errorf("all %q", got)
	}
	if got := p.ReplaceAllString("cab", "<$2>"); got != "c<b>" {
		t.Errorf("replaced %q", got)
	}
	if got := p.Split("1a2ab3", -1); strings.Join(got, "") != "123" {
		t.Errorf("parts %q", got)
	}
}
