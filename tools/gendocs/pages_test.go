// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1/reference"
	"custody.dev/custody/internal/cli"
	"custody.dev/custody/internal/intent"
)

func TestPagesAreCurrent(t *testing.T) {
	for name, want := range map[string][]byte{
		"cli.md": commands(cli.Command()), "documents.md": reference.Markdown(), "lint.md": rules(intent.Rules()),
	} {
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
