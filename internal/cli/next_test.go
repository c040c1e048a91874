// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"custody.dev/custody/internal/next"
)

// Every command that a finding names is one that the command line takes, with all that it needs: one without its secret, or
// without the reason that goes on record, sends a person round in a circle.
func TestNextCommandsAreComplete(t *testing.T) {
	for of, text := range map[string]string{
		"rotate": next.Rotate("db-admin"), "supply": next.Supply("db-admin"), "deliver": next.Deliver("db-admin"),
		"withdraw": next.Withdraw("/run/app/$5.env"),
		"explain":  next.Explain("db-admin"), "force": next.Force("run-1"), "abort": next.Abort("run-1"),
		"clock": next.ConfirmClock(), "grant": next.Grant(), "revoke": next.Revoke("reader", "db-admin", "upstream/db"), "recovery": next.AcceptRecovery(),
		"seal": next.Seal("db-admin", "password"), "run": next.ShowRun("run-1"), "lint": next.Lint(), "record": next.VerifyRecord(),
	} {
		t.Run(of, func(t *testing.T) {
			complete(t, text)
		})
	}
}

// complete fails unless the command line takes what text quotes.
func complete(t *testing.T, text string) {
	t.Helper()
	words := strings.Fields(strings.Trim(text, "`"))
	command, rest, err := Command().Find(words[1:])
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if len(rest) == 1 && rest[0] == "--help" {
		return
	}
	if command.RunE == nil {
		t.Fatalf("%s is a group of commands", text)
	}
	if err := command.ParseFlags(rest); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := command.ValidateRequiredFlags(); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	if err := command.ValidateArgs(command.Flags().Args()); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

// quoted is a command within a text.
var quoted = regexp.MustCompile("`custody [^`]+`")

// TestEveryHintIsComplete walks what the program and its recipes may say: recipes and hints named commands without their secret,
// or with a word in its place that the program knows.
func TestEveryHintIsComplete(t *testing.T) {
	found := 0
	err := filepath.WalkDir(filepath.Join("..", "..", "internal"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		for _, text := range said(t, name) {
			for _, command := range quoted.FindAllString(text, -1) {
				if command == "`custody seal`" { // it is said of the command that it refuses
					continue
				}
				found++
				t.Run(filepath.Base(name)+" "+command, func(t *testing.T) { complete(t, command) })
				if strings.Contains(command, "SECRET") && !strings.Contains(command, "THE-") {
					t.Errorf("%s: %s: the program knows the secret: see package next, and upstream.Named", name, command)
				}
			}
		}
		return nil
	})
	if err != nil || found < 10 {
		t.Errorf("%d commands found, %v: where are the others?", found, err)
	}
}

// said are the texts of one file of the program: strings of Go files, and recipes. Help has examples of its own.
func said(t *testing.T, name string) (texts []string) {
	t.Helper()
	switch {
	case strings.HasSuffix(name, ".yaml") && filepath.Base(filepath.Dir(name)) == "recipes":
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return []string{string(text)}
	case !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"), strings.Contains(name, filepath.Join("internal", "cli")),
		filepath.Base(name) == "describe.go", strings.HasPrefix(filepath.Base(name), "catalogue"): // the documentation's
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, is := node.(*ast.BasicLit); is && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				texts = append(texts, text)
			}
		}
		return true
	})
	return texts
}
