// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// holders are the packages that may load a secret's document with the values of its run. Whoever answers questions loads the
// entry, by an interface that has no more.
var holders = []string{"internal/journal", "internal/rotation", "internal/recovery", "internal/wire", "internal/sim"}

// TestOnlyEnginesHoldValues: what answers questions cannot show a value that it cannot load.
func TestOnlyEnginesHoldValues(t *testing.T) {
	for name, want := range map[string]string{
		"func f(j *journal.Journal) {}":                               "journal.Journal",
		"var _ = journal.New(nil)":                                    "journal.New",
		"var _ *journal.Held":                                         "journal.Held",
		"var _ journal.Pending":                                       "journal.Pending",
		"func f(j interface{ LoadHeld() }) { j.LoadHeld() }":          "LoadHeld",
		"func f(j interface{ Load() }, e journal.Entry) { j.Load() }": "",
	} {
		if got := strings.Join(slices.Compact(holding(t, "example.go", []byte("package example\n"+name))), " "); got != want {
			t.Errorf("%s: found %q, want %q", name, got, want)
		}
	}
	looked := 0
	files(t, func(name string, data []byte) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !strings.HasPrefix(name, "internal/") || slices.Contains(holders, path.Dir(name)) {
			return
		}
		if !strings.Contains(string(data), `"custody.dev/custody/internal/journal"`) {
			return
		}
		looked++
		for _, found := range holding(t, name, data) {
			t.Errorf("%s uses %s: only %s load the values of a run; take the entry, with Load, Save or All", name, found, strings.Join(holders, ", "))
		}
	})
	if looked < 10 {
		t.Errorf("only %d files use the journal: something was not looked at", looked)
	}
}

// holding are the names in a file by which a document is loaded with its values.
func holding(t *testing.T, name string, data []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, data, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if of, is := n.X.(*ast.Ident); is && of.Name == "journal" && slices.Contains([]string{"Journal", "New", "Held", "Pending", "Document"}, n.Sel.Name) {
				found = append(found, "journal."+n.Sel.Name)
			}
		case *ast.Ident:
			if n.Name == "LoadHeld" {
				found = append(found, n.Name)
			}
		}
		return true
	})
	return found
}
