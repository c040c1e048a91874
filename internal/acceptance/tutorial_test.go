// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// typed is one command of a tutorial, and what the page says that it prints.
type typed struct {
	line    int
	command string
	shown   []string
}

// consoleBlocks returns the commands of a page's ```console blocks in order: lines that begin with "$ ", continued by
// lines that begin with "> ".
func consoleBlocks(page string) []typed {
	var commands []typed
	inside := false
	for i, line := range strings.Split(page, "\n") {
		last := len(commands) - 1
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			commands = append(commands, typed{line: i + 1, command: line[2:]})
		case last >= 0 && strings.HasPrefix(line, "> ") && len(commands[last].shown) == 0:
			commands[last].command += "\n" + line[2:]
		case last >= 0:
			commands[last].shown = append(commands[last].shown, line)
		}
	}
	return commands
}

var spaces = regexp.MustCompile(`[ \t]+`)

// prints reports whether got is what the page shows. Runs of blanks count as one; "..." stands for any text in a line,
// and alone on a line for any number of lines. A command for which nothing is shown may print anything.
func (c typed) prints(got string) bool {
	if len(c.shown) == 0 {
		return true
	}
	pattern := `\A`
	for _, line := range c.shown {
		if line == "..." {
			pattern += `(?:.*\n)*?`
			continue
		}
		parts := strings.Split(tidy(line), "...")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern += strings.Join(parts, ".*") + `\n`
	}
	var tidied strings.Builder
	for line := range strings.Lines(got) {
		tidied.WriteString(tidy(line) + "\n")
	}
	return regexp.MustCompile(pattern + `\z`).MatchString(tidied.String())
}

func tidy(line string) string { return strings.TrimSpace(spaces.ReplaceAllString(line, " ")) }

func TestTutorialComparesOutput(t *testing.T) {
	for _, test := range []struct {
		name, got string
		shown     []string
		want      bool
	}{
		{"nothing shown", "anything\n", nil, true},
		{"same", "a b\n", []string{"a b"}, true},
		{"blanks", "  a    b\n", []string{"a b"}, true},
		{"another word", "a c\n", []string{"a b"}, false},
		{"one line more", "a\nb\n", []string{"a"}, false},
		{"nothing printed", "", []string{"a"}, false},
		{"wildcard in a line", "run 17 ended\n", []string{"run ... ended"}, true},
		{"wildcard in another line", "run 17 broke\n", []string{"run ... ended"}, false},
		{"wildcard lines", "a\nb\nc\n", []string{"...", "c"}, true},
		{"no wildcard lines", "c\n", []string{"...", "c"}, true},
		{"wildcard lines missing the last", "a\nb\n", []string{"...", "c"}, false},
		{"a point is a point", "abc\n", []string{"a.c"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := (typed{shown: test.shown}).prints(test.got); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestTutorial types every command of the tutorial into one shell, and compares what it prints.
func TestTutorial(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(sourceTree(t), "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := consoleBlocks(string(page))
	if len(commands) < 30 {
		t.Fatalf("only %d commands were found in the tutorial", len(commands))
	}
	shell := startShell(t, filepath.Dir(custody(t)))
	for _, c := range commands {
		got, code := shell.types(c.command)
		if code != 0 {
			t.Fatalf("docs/tutorial.md:%d: %s\nends with exit code %d and prints:\n%s", c.line, c.command, code, got)
		}
		if !c.prints(got) {
			t.Fatalf("docs/tutorial.md:%d: %s\nprints:\n%s\nand not, as shown:\n%s", c.line, c.command, got, strings.Join(c.shown, "\n"))
		}
	}
}

// shell is one /bin/sh in an empty folder.
type shell struct {
	t     *testing.T
	in    io.Writer
	lines chan string
	count int
}

func startShell(t *testing.T, programs string) *shell {
	t.Helper()
	in, out := pipe(t), pipe(t)
	command := exec.Command("/bin/sh")
	command.Dir = t.TempDir()
	command.Stdin, command.Stdout, command.Stderr = in.r, out.w, out.w
	// What the shell starts in the background ends with its process group.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); !slices.Contains([]string{"PATH", "CUSTODY_HOST", "ENV"}, name) {
			command.Env = append(command.Env, entry)
		}
	}
	command.Env = append(command.Env, "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "LC_ALL=C")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = in.r.Close(), out.w.Close() // the shell has its own
	s := &shell{t: t, in: in.w, lines: make(chan string, 1024)}
	go func() {
		defer close(s.lines)
		for read := bufio.NewScanner(out.r); read.Scan(); {
			s.lines <- read.Text()
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = in.w.Close()
		_ = command.Wait()
	})
	return s
}

type ends struct{ r, w *os.File }

func pipe(t *testing.T) ends {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return ends{r, w}
}

// types runs one command and returns what it printed and its exit code. A marker tells where its output ends.
func (s *shell) types(command string) (string, int) {
	s.t.Helper()
	s.count++
	marker := fmt.Sprintf("::command-%d-ended ", s.count)
	if _, err := fmt.Fprintf(s.in, "%s\nprintf '%s%%d\\n' $?\n", command, marker); err != nil {
		s.t.Fatalf("typing: %v", err)
	}
	var printed strings.Builder
	timeout := time.After(hang)
	for {
		select {
		case line, more := <-s.lines:
			if !more {
				s.t.Fatalf("the shell ended in: %s\n%s", command, printed.String())
			}
			before, code, ended := strings.Cut(line, marker)
			if !ended {
				printed.WriteString(line + "\n")
				continue
			}
			if before != "" { // output without a last line break
				printed.WriteString(before + "\n")
			}
			number := 0
			if _, err := fmt.Sscan(code, &number); err != nil {
				s.t.Fatal(err)
			}
			return printed.String(), number
		case <-timeout:
			s.t.Fatalf("no end of: %s\n%s", command, printed.String())
		}
	}
}

// sourceTree is the module's folder.
func sourceTree(t *testing.T) string {
	t.Helper()
	tree, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fence    = regexp.MustCompile("(?ms)^```.*?^```$")
	dropped  = regexp.MustCompile(`[^\pL\pN _-]`)
	machines = regexp.MustCompile(`(?:^|[\s"'(=:])(/(?:work|home|root|Users|tmp)/[^\s"')]*)`)
)

// anchors are the names by which a page's headings are linked to.
func anchors(page string) []string {
	var names []string
	for _, found := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		names = append(names, strings.ReplaceAll(strings.ToLower(dropped.ReplaceAllString(found[1], "")), " ", "-"))
	}
	return names
}

// pages are the README and everything under docs, by path from the module's folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	tree, texts := sourceTree(t), map[string]string{}
	names := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(tree, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			path, err = filepath.Rel(tree, path)
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) < 10 {
		t.Fatalf("only %d pages were found: %v", len(names), err)
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(tree, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(data)
	}
	return texts
}

// TestLinksLead wants every link of README and docs that stays in the repository to lead somewhere.
func TestLinksLead(t *testing.T) {
	texts := pages(t)
	followed := 0
	for name, text := range texts {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, err := url.Parse(found[1])
			if err != nil {
				t.Errorf("%s: %s: %v", name, found[1], err)
				continue
			}
			if target.Scheme != "" {
				continue
			}
			followed++
			to := name
			if target.Path != "" {
				to = filepath.Join(filepath.Dir(name), target.Path)
			}
			if _, err := os.Stat(filepath.Join(sourceTree(t), to)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, found[1])
				continue
			}
			if target.Fragment != "" && !slices.Contains(anchors(texts[to]), target.Fragment) {
				t.Errorf("%s: %s has no heading for %s", name, to, found[1])
			}
		}
	}
	if followed < 20 {
		t.Errorf("only %d links were found", followed)
	}
}

// TestEveryPageIsFound wants the index of docs to name every page.
func TestEveryPageIsFound(t *testing.T) {
	texts := pages(t)
	for name := range texts {
		relative, err := filepath.Rel("docs", name)
		if err != nil || name == filepath.Join("docs", "README.md") || name == "README.md" {
			continue
		}
		index := filepath.Join("docs", "README.md")
		if filepath.Dir(relative) == "upstreams" && filepath.Base(relative) != "README.md" {
			index, relative = filepath.Join("docs", "upstreams", "README.md"), filepath.Base(relative)
		}
		if !strings.Contains(texts[index], "("+filepath.ToSlash(relative)+")") {
			t.Errorf("%s does not link to %s", index, relative)
		}
	}
}

// TestPagesNameNoMachine keeps paths of the machine they were written on out of the pages.
func TestPagesNameNoMachine(t *testing.T) {
	for name, text := range pages(t) {
		for _, found := range machines.FindAllStringSubmatch(text, -1) {
			t.Errorf("%s names the path %s of some machine", name, found[1])
		}
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// What a page's documents take for granted of the host and of the estate around them.
var (
	hostNames = map[string]*regexp.Regexp{
		"folders": regexp.MustCompile(`\bfolder: ([a-z-]+)`), "reloads": regexp.MustCompile(`\breload: ([a-z-]+)`),
		"checks": regexp.MustCompile(`\bcheck: ([a-z-]+)`), "upstreams": regexp.MustCompile(`\bprogram: ([a-z-]+)`),
	}
	hostValues  = map[string]string{"folders": "run/%s", "reloads": "{signal: HUP, pidFile: pid}", "checks": "{argv: [/bin/true]}", "upstreams": "{argv: [/bin/true]}"}
	policyNames = regexp.MustCompile(`\bpolicyRef: ([a-z-]+)`)
	seedNames   = regexp.MustCompile(`\bsecretRef: ([a-z-]+)`)
)

func named(text string, by *regexp.Regexp) []string {
	var names []string
	for _, found := range by.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, found[1]) {
			names = append(names, found[1])
		}
	}
	return names
}

// TestExampleDocumentsLint puts the documents of each upstream's page into an estate as they are printed. Beside them
// stands what any estate and any host has: a Platform, the policies and names of the host that they mention, and a
// sealed value for each bootstrap document. Whatever else they need, the page must have, that of its admin above all.
func TestExampleDocumentsLint(t *testing.T) {
	t.Parallel()
	linted := 0
	for name, text := range pages(t) {
		if filepath.Dir(name) != filepath.Join("docs", "upstreams") {
			continue
		}
		var documents strings.Builder
		for _, found := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if strings.Contains(found[1], "apiVersion: custody.dev") && !strings.Contains(found[1], "kind: Host") {
				documents.WriteString("---\n" + found[1])
			}
		}
		if documents.Len() == 0 {
			continue
		}
		linted++
		t.Run(filepath.Base(name), func(t *testing.T) { lintExample(t, documents.String()) })
	}
	if linted < 20 {
		t.Errorf("only %d pages have documents", linted)
	}
}

// everyField is a value with each field that some server's admin needs.
func everyField() string {
	var fields []string
	for _, name := range strings.Fields("value username password accessKeyId secretAccessKey clientId appId privateKey token key keyId clientSecret clientEmail clientsToken initialAccessToken") {
		fields = append(fields, `"`+name+`": "made-up-for-this-test"`)
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func lintExample(t *testing.T, documents string) {
	shell := startShell(t, filepath.Dir(custody(t)))
	types := func(command string) string {
		t.Helper()
		got, code := shell.types(command)
		if code != 0 {
			t.Fatalf("%s\nends with exit code %d and prints:\n%s", command, code, got)
		}
		return strings.TrimSpace(got)
	}
	types("custody init shop && cd shop")
	dir := types("pwd")
	for _, policy := range named(documents, policyNames) {
		if policy != "monthly" && !strings.Contains(documents, "kind: RotationPolicy\nmetadata: {name: "+policy+"}") {
			documents += fmt.Sprintf("---\napiVersion: custody.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: %s}\nspec: {rotationType: static}\n", policy)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "estate", "example.yaml"), []byte(documents), 0o600); err != nil {
		t.Fatal(err)
	}
	host, err := os.ReadFile(filepath.Join(dir, "custody.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for step, by := range hostNames {
		entries := ""
		for _, one := range named(documents, by) {
			value := hostValues[step]
			if strings.Contains(value, "%s") {
				value = fmt.Sprintf(value, one)
			}
			if step != "folders" || one != "app" { // which is there from the start
				entries += fmt.Sprintf("    %s: %s\n", one, value)
			}
		}
		header := "  " + step + ":"
		switch {
		case entries == "":
		case strings.Contains(string(host), header+" {"):
			t.Fatalf("the host file writes %s on one line", step)
		case strings.Contains(string(host), header+"\n"):
			host = []byte(strings.Replace(string(host), header+"\n", header+"\n"+entries, 1))
		default:
			host = append(host, (header + "\n" + entries)...)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "custody.yaml"), host, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, seed := range named(documents, seedNames) {
		types("printf '%s' '" + everyField() + "' | custody seal " + seed + " -")
	}
	if got, code := shell.types("custody lint"); code != 0 {
		t.Fatalf("the page's documents do not lint as they are printed:\n%s", got)
	}
	types("custody inventory")
}

// TestExampleEstateLints: what stands under examples is whole.
func TestExampleEstateLints(t *testing.T) {
	t.Parallel()
	shell := startShell(t, filepath.Dir(custody(t)))
	for _, dir := range []string{"derived"} {
		if got, code := shell.types("cd " + filepath.Join(sourceTree(t), "examples", dir) + " && custody lint estate"); code != 0 {
			t.Errorf("examples/%s: %s", dir, got)
		}
	}
}

// TestArchitectureNamesEveryPackage: a package that the page leaves out is found by nobody who reads it.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	page := pages(t)[filepath.Join("docs", "architecture.md")]
	folders := 0
	for _, pattern := range []string{"internal/*", "internal/upstream/*", "internal/authority/*", "internal/materialize/*"} {
		found, err := filepath.Glob(filepath.Join(sourceTree(t), pattern, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, file := range found {
			path, err := filepath.Rel(sourceTree(t), filepath.Dir(file))
			if err != nil || seen[path] {
				continue
			}
			seen[path] = true
			name := filepath.Base(path)
			double := name == "memory" || strings.HasSuffix(name, "test") // it says so of all of them
			if folders++; !double && !strings.Contains(page, "`"+path+"`") && !strings.Contains(page, "`…/"+name+"`") {
				t.Errorf("docs/architecture.md does not name %s", path)
			}
		}
	}
	if folders < 40 {
		t.Errorf("only %d packages were found", folders)
	}
}

var placeholder = regexp.MustCompile(`\*[^*|]+\*|…`)

// TestFindingsAreTheProgramsOwn wants the texts that docs/operations.md explains to be in the program.
func TestFindingsAreTheProgramsOwn(t *testing.T) {
	_, table, found := strings.Cut(pages(t)[filepath.Join("docs", "operations.md")], "## What to do when")
	if !found {
		t.Fatal("docs/operations.md says no more what to do when")
	}
	var program strings.Builder
	err := filepath.WalkDir(filepath.Join(sourceTree(t), "internal"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "acceptance" || strings.HasSuffix(entry.Name(), "test")) {
			return fs.SkipDir // no part of the program
		}
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		program.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	texts := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "it says" {
			continue
		}
		for _, text := range placeholder.Split(cells[1], -1) {
			if text = strings.Trim(text, " ():;,"); len(text) < 3 {
				continue
			}
			texts++
			for _, part := range strings.Split(text, ": ") {
				if !strings.Contains(program.String(), strings.Trim(part, " ():;,")) {
					t.Errorf("docs/operations.md explains %q, which the program never says", part)
				}
			}
		}
	}
	if texts < 12 { // the other tables of that section are generated from the catalogue
		t.Errorf("only %d texts were found", texts)
	}
}
