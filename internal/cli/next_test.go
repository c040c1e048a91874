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
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/reason"
)

// Every command that a finding names is one that the command line takes, with all that it needs: one without its secret, or
// without the reason that goes on record, sends a person round in a circle.
func TestNextCommandsAreComplete(t *testing.T) {
	for of, text := range map[string]string{
		"rotate": next.Rotate("db-admin"), "supply": next.Supply("db-admin"), "deliver": next.Deliver("db-admin"),
		"adopt": next.AdoptValue("db-admin"), "revert": next.Revert("db-admin"),
		"withdraw": next.Withdraw(next.Word("/run/app/$5.env")),
		"explain":  next.Explain("db-admin"), "force": next.Force("run-1"), "abort": next.Abort("run-1"),
		"clock": next.ConfirmClock(), "grant": next.Grant(), "revoke": next.Revoke(next.Revoked("reader", "db-admin", "upstream/db")), "recovery": next.AcceptRecovery(),
		"commit": next.AcceptCommit("4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
		"seal":   next.Seal("db-admin", "password"), "run": next.ShowRun("run-1"), "lint": next.Lint(), "record": next.VerifyRecord(), "backup": next.Backup(),
	} {
		t.Run(of, func(t *testing.T) {
			complete(t, text)
		})
	}
}

// TestCommandsOfReasonsAreComplete: each command of the catalogue is one that the command line takes, with whatever its parameters are.
func TestCommandsOfReasonsAreComplete(t *testing.T) {
	found := 0
	for _, row := range reason.Catalogue() {
		for _, next := range row.Next {
			args := reason.Args{}
			for _, parameter := range reason.Parameters(next.Command) {
				args[parameter] = "x"
			}
			if args["revoke"] != "" { // it stands for three words
				args["revoke"] = "reader x x"
			}
			made := reason.New(row.Code, args)
			if !slices.Contains(made.Commands(), strings.Trim(parameterOf.ReplaceAllStringFunc(next.Command, func(name string) string { return args[strings.Trim(name, "{}")] }), "`")) {
				t.Errorf("%s: %s is not part of a reason with %v", row.Code, next.Command, args)
			}
			for _, command := range made.Commands() {
				found++
				t.Run(string(row.Code)+" "+command, func(t *testing.T) { complete(t, "`"+command+"`") })
			}
		}
	}
	if found < 40 {
		t.Errorf("%d commands found: where are the others?", found)
	}
}

var parameterOf = regexp.MustCompile(`\{[a-z]+\}`)

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

var (
	// quoted is a command within a text, bare one that stands in it like any other words.
	quoted = regexp.MustCompile("`custody [^`]+`")
	bare   = regexp.MustCompile(`\bcustody( [a-z][a-z-]*)+( (--?[a-z][a-z-]*|[A-Z][A-Z-]*))*`)
	verb   = regexp.MustCompile(`%(\[\d+\])?[a-z]`)
)

// spoken are words that follow the program's name where a text speaks of it and names no command.
var spoken = []string{"that", "this", "to", "first", "again", "is", "knows", "can", "it", "public", "share", "embedded", "custody-run", "for", "from", "x", "index", "digest"}

// TestEveryHintIsComplete walks what the program and its recipes may say: hints named commands that do not exist, or left out
// what a command needs, or had a word in the place of what the program knows.
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
				if strings.Contains(command, "SECRET") && !strings.Contains(command, "THE-") && !general(name) {
					t.Errorf("%s: %s: the program knows the secret: see package next, and upstream.Named", name, command)
				}
			}
			for _, words := range bare.FindAllString(quoted.ReplaceAllString(text, ""), -1) {
				found++
				if fault := exists(words); fault != "" {
					t.Errorf("%s: %q: %s", name, words, fault)
				}
			}
		}
		return nil
	})
	if err != nil || found < 100 {
		t.Errorf("%d commands found, %v: where are the others?", found, err)
	}
}

// general reports whether a file speaks of secrets in general: rules, and answers about several.
func general(name string) bool {
	return filepath.Base(filepath.Dir(name)) == "cli" || strings.HasPrefix(filepath.Base(name), "catalogue")
}

// exists says why words do not begin with a command; they may go on with other words.
func exists(words string) string {
	at := Command()
	for i, word := range strings.Fields(words)[1:] {
		if i == 0 && slices.Contains(spoken, word) {
			return ""
		}
		next := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == word || c.HasAlias(word) })
		switch {
		case next >= 0:
			at = at.Commands()[next]
		case i == 0:
			return "there is no command " + word
		case strings.HasPrefix(word, "--"):
			if name := strings.TrimPrefix(word, "--"); name != "help" && at.Flag(name) == nil {
				return at.CommandPath() + " has no flag " + word
			}
		}
	}
	if at.HasSubCommands() && at.Annotations[answers] == "" && at.Flags().Lookup("current") == nil {
		return at.CommandPath() + " is a group of commands"
	}
	return ""
}

// said are the texts of one file of the program: strings of Go files, and recipes. Help and its examples are held to the command
// line on their page.
func said(t *testing.T, name string) (texts []string) {
	t.Helper()
	switch {
	case filepath.Base(filepath.Dir(name)) == "reason": // the rest of the catalogue is on the page of operations, or has a test of its own
		if filepath.Base(name) == "catalogue.go" {
			for _, row := range reason.Catalogue() {
				texts = append(texts, row.Says)
			}
		}
		return texts
	case strings.HasSuffix(name, ".yaml") && filepath.Base(filepath.Dir(name)) == "recipes":
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return []string{string(text)}
	case !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"), filepath.Base(name) == "describe.go", // the documentation's
		filepath.Base(name) == "next.go",                                                                // which has a test of its own
		strings.Contains(name, "acceptance"), strings.Contains(name, "test"+string(filepath.Separator)): // what tests say
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.KeyValueExpr:
			key, _ := node.Key.(*ast.Ident)
			return key == nil || !slices.Contains([]string{"Use", "Short", "Long", "Example"}, key.Name)
		case *ast.CallExpr:
			if called, is := node.Fun.(*ast.Ident); is && called.Name == "group" {
				return false
			}
		case *ast.BinaryExpr:
			texts = append(texts, verb.ReplaceAllString(folded(node), "x"))
			return false
		case *ast.BasicLit:
			if node.Kind == token.STRING {
				texts = append(texts, verb.ReplaceAllString(folded(node), "x"))
			}
		}
		return true
	})
	return texts
}

// folded is a text that is put together, with x for what only a run knows.
func folded(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return folded(e.X) + folded(e.Y)
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	}
	return "x"
}
