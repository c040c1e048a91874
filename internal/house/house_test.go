// SPDX-License-Identifier: Apache-2.0

// Package house_test tests rules of the source tree that no linter checks: licence lines, file lengths, package
// comments, skipped tests, and addresses or paths of the machine on which something was written.
package house_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	licence  = "// SPDX-License-Identifier: Apache-2.0"
	maxLines = 600
	root     = "../.."
)

var (
	generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	// The patterns are written so that they do not match themselves.
	machine = []*regexp.Regexp{
		regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(work|home|root|Users)/[A-Za-z0-9._-]+`),
		regexp.MustCompile(`/tmp/[A-Za-z0-9]`),
		regexp.MustCompile(`https?://(proxy|registry|deb|snapshot|security|goproxy|mirror)[.]`),
	}
	textual = map[string]bool{
		".go": true, ".md": true, ".yaml": true, ".yml": true, ".json": true, ".sh": true, ".txtar": true, ".txt": true,
		".mod": true, "": true,
	}
)

// files yields the tree's files, leaving out what Git would and the texts that only repeat what tools wrote.
func files(t *testing.T, visit func(path string, data []byte)) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == ".git" || name == "node_modules" || path == filepath.Join(root, "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !textual[filepath.Ext(name)] {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(data, 0) >= 0 { // a program someone built, a fixture
			return nil
		}
		seen++
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(relative), data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("%d files seen: the tree was not found", seen)
	}
}

func TestGoFilesCarryLicenceAndKeepTheirLength(t *testing.T) {
	files(t, func(path string, data []byte) {
		if !strings.HasSuffix(path, ".go") || generated.Match(data) {
			return
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if first != licence {
			t.Errorf("%s:1: first line is %q, want %q", path, first, licence)
		}
		if lines := bytes.Count(data, []byte("\n")); lines > maxLines {
			t.Errorf("%s: %d lines, want %d at most: split it where its subject splits", path, lines, maxLines)
		}
	})
}

// A built program that was added by mistake stays in every clone for ever.
func TestNoBuiltProgramIsKept(t *testing.T) {
	listed, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Fatalf("listing what Git keeps: %v", err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(listed), "\x00"), "\x00") {
		file, err := os.Open(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		begins := make([]byte, 4)
		n, _ := file.Read(begins)
		_ = file.Close()
		if string(begins[:n]) == "\x7fELF" {
			t.Errorf("%s is a built program: git rm --cached %[1]s", name)
		}
	}
}

func TestNoMachinePathsOrRegistryAddresses(t *testing.T) {
	files(t, func(path string, data []byte) {
		if path == "go.sum" || strings.HasPrefix(path, "LICENSE") {
			return
		}
		for number, line := range strings.Split(string(data), "\n") {
			for _, pattern := range machine {
				if found := pattern.FindString(line); found != "" {
					t.Errorf("%s:%d: %q belongs to one machine or network", path, number+1, strings.TrimSpace(found))
				}
			}
		}
	})
}

// A missing part fails with what to install; a skipped test proves nothing and looks like one that passed.
func TestNoTestSkips(t *testing.T) {
	files(t, func(path string, data []byte) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, data, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch selector.Sel.Name {
			case "Skip", "Skipf", "SkipNow":
				if on, ok := selector.X.(*ast.Ident); ok && (on.Name == "t" || on.Name == "b" || on.Name == "f" || on.Name == "tb") {
					t.Errorf("%s: %s.%s: fail with what to install, or do less under -short", set.Position(call.Pos()), on.Name, selector.Sel.Name)
				}
			}
			return true
		})
	})
}

func TestPackagesSayWhatTheyGuarantee(t *testing.T) {
	documented := map[string]bool{}
	files(t, func(path string, data []byte) {
		if !strings.HasSuffix(path, ".go") || strings.Contains(path, "/testdata/") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, data, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		has := file.Doc != nil && len(strings.TrimSpace(file.Doc.Text())) > 0
		documented[folder] = documented[folder] || has
	})
	for folder, has := range documented {
		if !has {
			t.Errorf("%s: no file has a package doc", folder)
		}
	}
}

// ownTransport is an HTTP transport, or the library's default, made beside the one place.
var ownTransport = regexp.MustCompile(`http\.Transport\{|http\.DefaultTransport|http\.DefaultClient|ProxyFromEnvironment`)

// Upstreams make their requests by transport.HTTP: else a proxy of the environment is followed by some of them and not by others.
func TestUpstreamsShareOneTransport(t *testing.T) {
	files(t, func(path string, data []byte) {
		if !strings.HasPrefix(path, "internal/upstream/") || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasSuffix(filepath.Base(filepath.Dir(path)), "test") { // what sets servers up for tests
			return
		}
		if found := ownTransport.Find(data); found != nil {
			t.Errorf("%s: %s: use transport.HTTP or transport.Client", path, found)
		}
	})
}
