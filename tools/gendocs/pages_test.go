// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/cli"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/wire"
)

func TestPagesAreCurrent(t *testing.T) {
	for name, want := range pages() {
		got, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatalf("%v\nhint: make generate", err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("docs/%s is out of date; make generate\n%s", name, diff)
		}
	}
}

func TestEveryCommandAndRuleIsListed(t *testing.T) {
	page := string(commands(cli.Command()))
	for _, want := range []string{"## custody rotate\n", "## custody run force\n", "| `--reason text` |", "| 3 | found |", "| `-o, --output format` |"} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/cli.md lacks %q", want)
		}
	}
	list := string(rules(intent.Rules()))
	for _, rule := range intent.Rules() {
		if strings.Count(list, "\n| `"+rule.ID+"` |") != 1 {
			t.Errorf("docs/lint.md does not list %s once", rule.ID)
		}
	}
}

func TestEveryKindOfUpstreamHasItsPage(t *testing.T) {
	list := pages()["upstreams/README.md"]
	for _, d := range wire.Descriptions() {
		if err := d.Check(); err != nil {
			t.Errorf("%s: %v", d.Type, err)
		}
		page := string(pages()["upstreams/"+d.Type+".md"])
		for _, want := range []string{"# " + d.Title + "\n", "\n## At a glance\n", "\nTried: ", "\n## Documents\n"} {
			if strings.Count(page, want) != 1 {
				t.Errorf("docs/upstreams/%s.md has %q %d times, want once", d.Type, want, strings.Count(page, want))
			}
		}
		if !strings.Contains(string(list), "]("+d.Type+".md)") {
			t.Errorf("docs/upstreams/README.md does not list %s", d.Type)
		}
	}
}

// The page has a place for each table, and each code stands in it once.
func TestEveryReasonIsExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", operations))
	if err == nil {
		page, err = withReasons(page, reason.Catalogue())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range reason.Catalogue() {
		if strings.Count(string(page), "\n| `"+string(row.Code)+"` |") != 1 {
			t.Errorf("docs/%s does not explain %s once", operations, row.Code)
		}
	}
}
