// SPDX-License-Identifier: Apache-2.0

package house_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	named    = regexp.MustCompile("`((?:[a-z0-9]+\\.)?(?:Test|Fuzz)[A-Z][A-Za-z0-9_]*|[a-z_]+\\.txtar)`")
)

// proofs are all tests of the tree and where each is: Go tests by name, and by package and name, and scripts by file.
func proofs(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	files(t, func(name string, data []byte) {
		switch {
		case strings.HasSuffix(name, "_test.go"):
			for _, match := range declared.FindAllStringSubmatch(string(data), -1) {
				for _, as := range []string{match[1], path.Base(path.Dir(name)) + "." + match[1]} {
					found[as] = append(found[as], name)
				}
			}
		case strings.HasSuffix(name, ".txtar"):
			found[path.Base(name)] = append(found[path.Base(name)], name)
		}
	})
	return found
}

// What docs/security.md claims, a test shows: each row of a table that has a column for it names one, and each name on the page
// is that of one test.
func TestSecurityClaimsNameTheirTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, claims := proofs(t), map[string]int{}
	section, shown := "", false
	for number, line := range strings.Split(string(page), "\n") {
		for _, match := range named.FindAllStringSubmatch(line, -1) {
			if where := tests[match[1]]; len(where) != 1 {
				t.Errorf("docs/security.md:%d: %s is the name of %d tests, want one: %q", number+1, match[1], len(where), where)
			}
		}
		if heading, is := strings.CutPrefix(line, "## "); is {
			section = heading
		}
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 3:
			shown = false
		case strings.TrimSpace(cells[len(cells)-2]) == "shown by":
			shown = true
		case shown && !strings.HasPrefix(line, "|---"):
			claims[section]++
			if !named.MatchString(cells[len(cells)-2]) {
				t.Errorf("docs/security.md:%d: no test shows it: %s", number+1, line)
			}
		case !strings.HasPrefix(line, "|---"):
			t.Errorf("docs/security.md:%d: the table has no column that says which test shows it", number+1)
		}
	}
	for _, want := range []string{"From whom", "What Git may not do", "The host file", "Keys", "Promised", "What the operator grants"} {
		if claims[want] < 3 {
			t.Errorf("docs/security.md: %d claims under %q: where are the others?", claims[want], want)
		}
	}
}
