// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// written is a command as a page has it.
type written struct {
	page string
	line int
	text string
	// form: it shows how a command is called, with words in capitals for arguments, and leaves options out.
	form bool
}

var (
	inline = regexp.MustCompile("`(custody [^`]+)`")
	// assignment of a variable stands before the command that it is for.
	assignment = regexp.MustCompile(`^[A-Z_]+=`)
	form       = regexp.MustCompile(`^custody( [a-z]+)+( [A-Z]+)+$`)
)

// commandsOf finds the commands on a page: those in blocks, and those within sentences, of which one that names a command and
// nothing else speaks of it and calls nothing.
func commandsOf(page, text string) (found []written) {
	inBlock, shell := false, false
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line, at := lines[i], i+1
		if fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```"); isFence {
			inBlock = !inBlock
			shell = inBlock && slices.Contains([]string{"sh", "console", "bash"}, fence)
			continue
		}
		if inBlock {
			for shell && strings.HasSuffix(line, `\`) && i+1 < len(lines) {
				i++
				line = strings.TrimSuffix(line, `\`) + lines[i]
			}
			if shell {
				found = append(found, written{page: page, line: at, text: line})
			}
			continue
		}
		for _, match := range inline.FindAllStringSubmatch(line, -1) {
			if words, _, _ := Command().Find(strings.Fields(match[1])[1:]); words.CommandPath() != match[1] {
				found = append(found, written{page: page, line: at, text: match[1], form: form.MatchString(match[1])})
			}
		}
	}
	return found
}

// calls are the words of each call of custody in a line of a shell, without those before it.
func calls(line string) (found [][]string) {
	var words []string
	var word strings.Builder
	open, quote, redirects := false, rune(0), false
	end := func() {
		if open && !redirects {
			words = append(words, word.String())
		}
		redirects = redirects && !open
		open = false
		word.Reset()
	}
	over := func() {
		end()
		for len(words) > 0 && (words[0] == "$" || words[0] == "sudo" || assignment.MatchString(words[0])) {
			words = words[1:]
		}
		if len(words) > 0 && words[0] == "custody" {
			found = append(found, words[1:])
		}
		words = nil
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == '#' && !open:
			over()
			return found
		case r == '<' || r == '>':
			if word.String() == "2" {
				open = false // of 2>
			}
			end()
			redirects = true
		case strings.ContainsRune("|&;()", r):
			over()
		case r == ' ' || r == '\t':
			end()
		default:
			word.WriteRune(r)
			open = true
		}
	}
	over()
	return found
}

// parses says why the command line would not so much as begin.
func parses(args []string, form bool) error {
	root := Command()
	command, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := command.ParseFlags(rest); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if err := command.ValidateArgs(command.Flags().Args()); err != nil {
		return err
	}
	if form {
		return nil
	}
	return command.ValidateRequiredFlags()
}

// A command on a page is one that a reader can type.
func TestCommandsOnPagesParse(t *testing.T) {
	const root = "../.."
	pages, seen := []string{"README.md"}, 0
	if err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" && filepath.Base(filepath.Dir(path)) != "design" {
			pages = append(pages, strings.TrimPrefix(path, root+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range commandsOf(page, string(text)) {
			for _, args := range calls(command.text) {
				seen++
				if err := parses(args, command.form); err != nil {
					t.Errorf("%s:%d: %s: %v", page, command.line, strings.TrimSpace(command.text), err)
				}
			}
		}
	}
	if len(pages) < 20 || seen < 100 {
		t.Errorf("only %d commands were found on %d pages", seen, len(pages))
	}
}

// picks are the folder and the check that a consumer names.
var picks = regexp.MustCompile(`folder: ([a-z]+),.*check: ([a-z]+)`)

// blocks are those of a page that are in the language and begin so.
func blocks(t *testing.T, page, language, begin string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(match[1], begin) {
			found = append(found, match[1])
		}
	}
	return found
}

// custody runs a command that must succeed.
func custody(t *testing.T, in string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	if code := Main(args, strings.NewReader(in), &out, &out); code != 0 {
		t.Errorf("custody %s: exit code %d\n%s", strings.Join(args, " "), code, out.String())
	}
}

// joined is a host file with what a page says it must have as well.
func joined(t *testing.T, have, more []byte) []byte {
	t.Helper()
	var host map[string]any
	var added struct{ Spec map[string]map[string]any }
	if err := errors.Join(yaml.Unmarshal(have, &host), yaml.Unmarshal(more, &added)); err != nil {
		t.Fatal(err)
	}
	spec := host["spec"].(map[string]any)
	for key, named := range added.Spec {
		if there, ok := spec[key].(map[string]any); ok {
			maps.Copy(there, named)
			continue
		}
		spec[key] = named
	}
	data, err := yaml.Marshal(host)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a page shows is an estate that lints, on a host that has what the page says it must have.
func TestPagesLint(t *testing.T) {
	folder, err := filepath.Abs("../../docs/upstreams")
	if err != nil {
		t.Fatal(err)
	}
	host := blocks(t, filepath.Join(folder, "http.md"), "yaml", "spec:\n")
	if len(host) != 1 {
		t.Fatalf("the page of HTTP has %d blocks of a host", len(host))
	}
	files, err := filepath.Glob("../recipe/recipes/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d recipes: %v", len(files), err)
	}
	for _, file := range append(files, "http.yaml", "aws.yaml", "oidc.yaml", "github.yaml", "exec.yaml") {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			page := filepath.Join(folder, name+".md")
			dir := filepath.Join(t.TempDir(), "platform")
			documents := strings.Join(blocks(t, page, "yaml", "apiVersion:"), "---\n")
			picked := picks.FindStringSubmatch(documents)
			if picked == nil {
				t.Fatal("no consumer picks a folder and a check")
			}
			needs := blocks(t, page, "yaml", "spec:\n")
			if len(needs) == 0 {
				needs = []string{regexp.MustCompile(`\bci\b`).ReplaceAllString(host[0], picked[1])}
			}
			custody(t, "", "init", dir, "--platform", "shop", "--team", "shop", "--contact", "shop@example.org")
			write(t, filepath.Join(dir, "estate", "page.yaml"), []byte(documents))
			hostFile := filepath.Join(dir, "custody.yaml")
			have, err := os.ReadFile(hostFile)
			if err != nil {
				t.Fatal(err)
			}
			write(t, hostFile, joined(t, have, []byte(needs[0])))
			t.Chdir(dir)
			for _, block := range blocks(t, page, "sh", "") {
				for line := range strings.Lines(block) {
					for _, args := range calls(strings.TrimSpace(line)) {
						if len(args) < 2 || args[0] != "seal" || !strings.Contains(documents, "secretRef: "+args[1]+"}") {
							continue // one that is sealed where the origin is another than the page's
						}
						if at := slices.IndexFunc(args, func(arg string) bool { return arg == "-" || arg == "--from-file" }); at >= 0 {
							args = args[:at]
						}
						custody(t, "something", append(args, "-")...)
					}
				}
			}
			custody(t, "", "lint")
		})
	}
}
