// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
	"testing"
)

// ports are the interfaces of parts outside, by the file that declares them. Every method that takes a context counts.
var ports = map[string][]string{
	"internal/upstream/upstream.go":       {"Upstream", "Collector", "Lister", "Witness", "Readier", "Marked", "Owner", "SessionEnder"},
	"internal/materialize/materialize.go": {"Consumer", "Rememberer", "Holder"},
	"internal/rotation/rotation.go":       {"Escrow"},
	"internal/notify/notify.go":           {"Channel"},
}

// callers are the packages that may call parts outside.
var callers = []string{
	"internal/rotation", "internal/handover", "internal/orchestrator", "internal/derivation", "internal/recovery", "internal/platform", "internal/notify", "internal/wire",
}

// bounding are the functions that make a bounded call of the function that they are given; act is given to one.
var bounding = []string{"outward.Do", "outward.Run", "a.change", "ask", "call"}

// ours are what has methods of the same names that are no calls to a part: engines, which bound their own, and books.
var ours = []string{
	"a", "e", "o.Rotation", "p.Orchestrator.Rotation", "p.Orchestrator", "p.platform", "c.platform", "p", "p.Grants", "g.book", "estate",
	"slices", "maps", "e.Authority", "authority", "next", "p.Leftovers", "s.Policy", "p.grants.set()", "p.Notifier", "p.Fleet",
	"a.book", // the agents on record
}

// bounded are the calls that are bounded otherwise, with the reason.
var bounded = map[string]string{
	"internal/rotation/apply.go a.s.Upstream.Revoke":   "act is given to change",
	"internal/rotation/apply.go a.s.Upstream.Apply":    "act is given to change",
	"internal/rotation/retire.go a.s.Upstream.Revoke":  "endCall is given to change",
	"internal/rotation/retire.go a.s.Upstream.Propose": "endCall is given to change",
	"internal/rotation/retire.go a.s.Upstream.Apply":   "endCall is given to change",
	"internal/derivation/dependent.go consumer.Prove":  "without Calls it is its caller's",
	"internal/platform/recovering.go remembers.Given":  "each on its own, and nobody waits for one for longer than askTimeout",
	"internal/wire/upstream_check.go first.Ready":      "a suite that a person runs",
	"internal/wire/opens.go made.Verify":               "what Opens calls",
	"internal/wire/agentrun.go one.Withdraw":           "an agent's own file: the worker bounds its orders",
	"internal/wire/held.go made.Deliver":               "an adapter, which stands for another",
	"internal/wire/held.go made.Prove":                 "an adapter, which stands for another",
	"internal/wire/held.go made.Withdraw":              "an adapter, which stands for another",
	"internal/wire/held.go remembers.Given":            "an adapter, which stands for another",
	"internal/wire/held.go holder.Holds":               "an adapter, which stands for another",
}

// TestEveryCallOutsideIsBounded: a call to a part that does not go through package outward is held up for as long as that part
// likes, and so is whoever waits for the caller.
func TestEveryCallOutsideIsBounded(t *testing.T) {
	methods := map[string]bool{"Opens": true} // a function of the subject: it signs in at other upstreams
	type source struct {
		name string
		file *ast.File
	}
	var sources []source
	set := token.NewFileSet()
	files(t, func(name string, data []byte) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return
		}
		if ports[name] == nil && !slices.Contains(callers, path.Dir(name)) {
			return
		}
		file, err := parser.ParseFile(set, name, data, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, source{name, file})
		for _, port := range ports[name] {
			if !addMethods(file, port, methods) {
				t.Errorf("%s declares no interface %s", name, port)
			}
		}
	})
	used := map[string]bool{}
	for _, s := range sources {
		if !slices.Contains(callers, path.Dir(s.name)) {
			continue
		}
		unbounded(s.file, methods, func(callee string, at token.Pos) {
			call := s.name + " " + callee
			if used[call] = true; bounded[call] == "" {
				t.Errorf("%s calls %s past package outward", set.Position(at), callee)
			}
		})
	}
	for call := range bounded {
		if !used[call] {
			t.Errorf("there is no call %q any more: take it out of the list", call)
		}
	}
}

// addMethods adds the methods of an interface that take a context, and reports whether the file declares it.
func addMethods(file *ast.File, name string, methods map[string]bool) (declared bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.TypeSpec)
		if !is || spec.Name.Name != name {
			return true
		}
		for _, method := range spec.Type.(*ast.InterfaceType).Methods.List {
			fn, is := method.Type.(*ast.FuncType)
			if is && len(fn.Params.List) > 0 && types.ExprString(fn.Params.List[0].Type) == "context.Context" {
				methods[method.Names[0].Name] = true
			}
		}
		declared = true
		return false
	})
	return declared
}

// unbounded visits calls of the methods that are not within a function given to what bounds it.
func unbounded(file *ast.File, methods map[string]bool, visit func(callee string, at token.Pos)) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, is := n.(*ast.CallExpr)
		if !is {
			return true
		}
		callee := types.ExprString(call.Fun)
		if slices.Contains(bounding, callee) {
			return false
		}
		if selector, is := call.Fun.(*ast.SelectorExpr); is && methods[selector.Sel.Name] && !slices.Contains(ours, types.ExprString(selector.X)) {
			visit(callee, call.Pos())
		}
		return true
	})
}
