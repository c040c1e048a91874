// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// chosen is the environment variable that names the mutant that a test binary of mutated runs, none when it is empty.
const chosen = "CUSTODY_MUTANT"

// mutated builds the tests of packages once, with every mutant in them, and returns the folder of the binaries. A
// function that a mutant changes is there a second time, as the mutant has it, and begins by asking which of them is
// chosen. The tree is not touched: the changed files are laid over it.
func mutated(t *testing.T, mutants []mutant, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	byFile := map[string][]mutant{}
	for _, m := range mutants {
		byFile[m.file] = append(byFile[m.file], m)
		if also := m.and; also != nil {
			byFile[also.file] = append(byFile[also.file], mutant{name: m.name, file: also.file, old: also.old, new: also.new})
		}
	}
	replace, folders := map[string]string{}, map[string]bool{}
	lay := func(file, text string) {
		source, err := filepath.Abs(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if replace[source] != "" {
			t.Fatalf("%s is laid over twice", source)
		}
		replace[source] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[source], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, here := range byFile {
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		both, err := withMutants(string(text), here)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		lay(file, both)
		folders[filepath.Dir(file)] = true
	}
	for folder := range folders {
		lay(filepath.Join(folder, "mutant_chosen.go"), fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar mutantChosen = os.Getenv(%q)\n", folder, chosen))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	// Without symbols: to link them is most of the work, and nobody debugs these.
	build := exec.CommandContext(t.Context(), "go", append([]string{"test", "-c", "-overlay", file, "-vet=off", "-ldflags=-s -w", "-o", dir + "/"}, packages...)...)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the mutants: %v\n%s", err, head(string(output)))
	}
	return dir
}

// withMutants is a source file whose functions exist as each mutant has them as well.
func withMutants(text string, mutants []mutant) (string, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	offset := func(p token.Pos) int { return files.Position(p).Offset }
	type insertion struct {
		at   int
		text string
	}
	var asks []insertion
	var copies strings.Builder
	for _, m := range mutants {
		if count := strings.Count(text, m.old); count != 1 {
			return "", fmt.Errorf("what %s replaces occurs %d times, want once", m.name, count)
		}
		at := strings.Index(text, m.old)
		function := enclosing(parsed, func(body *ast.BlockStmt) bool {
			return offset(body.Lbrace) < at && at+len(m.old) <= offset(body.Rbrace)
		})
		if function == nil {
			return "", fmt.Errorf("what %s replaces is not in a function", m.name)
		}
		name := function.Name.Name + "_" + strings.ReplaceAll(m.name, "-", "_")
		call, err := callOf(function, name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", m.name, err)
		}
		asks = append(asks, insertion{offset(function.Body.Lbrace) + 1, fmt.Sprintf("\nif mutantChosen == %q { %s }\n", m.name, call)})
		named := offset(function.Name.Pos())
		fmt.Fprintf(&copies, "\n%s%s%s%s%s\n", text[offset(function.Pos()):named], name,
			text[named+len(function.Name.Name):at], m.new, text[at+len(m.old):offset(function.End())])
	}
	slices.SortStableFunc(asks, func(a, b insertion) int { return b.at - a.at }) // from the end, so that offsets stay
	for _, ask := range asks {
		text = text[:ask.at] + ask.text + text[ask.at:]
	}
	return text + copies.String(), nil
}

func enclosing(file *ast.File, holds func(*ast.BlockStmt) bool) *ast.FuncDecl {
	for _, declared := range file.Decls {
		if function, ok := declared.(*ast.FuncDecl); ok && function.Body != nil && holds(function.Body) {
			return function
		}
	}
	return nil
}

// callOf hands a function's parameters on to another of the same signature, and ends it.
func callOf(function *ast.FuncDecl, name string) (string, error) {
	var args []string
	for _, field := range function.Type.Params.List {
		dots := ""
		if _, variadic := field.Type.(*ast.Ellipsis); variadic {
			dots = "..."
		}
		for _, parameter := range field.Names {
			if parameter.Name == "_" {
				return "", fmt.Errorf("%s has a parameter without a name", function.Name)
			}
			args = append(args, parameter.Name+dots)
		}
		if len(field.Names) == 0 {
			return "", fmt.Errorf("%s has a parameter without a name", function.Name)
		}
	}
	call := name + "(" + strings.Join(args, ", ") + ")"
	if function.Recv != nil {
		if names := function.Recv.List[0].Names; len(names) == 1 && names[0].Name != "_" {
			call = names[0].Name + "." + call
		} else {
			return "", fmt.Errorf("the receiver of %s has no name", function.Name)
		}
	}
	if function.Type.Results == nil {
		return call + "; return", nil
	}
	return "return " + call, nil
}

// trial runs tests of a package's binary as a mutant has it. At most ten minutes: a test in the fast loop's size takes
// seconds, and a mutant may make it run for ever.
func trial(t *testing.T, binaries, in, mutant, run string) (string, error) {
	t.Helper()
	folder, err := filepath.Abs(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(binaries, filepath.Base(folder)+".test"), "-test.short", "-test.timeout=10m", "-test.run", run)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), chosen+"="+mutant)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// head is the part of an output that tells the most.
func head(output string) string {
	if len(output) > 2000 {
		output = output[:2000] + "\n..."
	}
	return output
}
