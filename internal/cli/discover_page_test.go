// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/discovertest"
)

// The page about discover shows commands that work, and every rule with its level.
func TestDiscoverPageRuns(t *testing.T) {
	page, err := filepath.Abs("../../docs/discover.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range discover.Rules {
		if !strings.Contains(string(text), "`"+rule.ID+"`") {
			t.Errorf("the page does not explain the risk %s", rule.ID)
		}
	}
	for _, source := range discover.Sources() {
		if !strings.Contains(string(text), "`"+source+"`") {
			t.Errorf("the page does not name the source %s", source)
		}
	}
	tables := blocks(t, page, "text", "# source |")
	if len(tables) != 1 {
		t.Fatalf("the page has %d tables of what is secret", len(tables))
	}
	p := discovertest.Make(t, "../discover/testdata/platform", time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC))
	t.Chdir(p.Folder)
	write(t, "truth.txt", []byte(tables[0]))
	ran := 0
	for _, block := range blocks(t, page, "sh", "") {
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " >")
			for _, args := range calls(line) {
				var out bytes.Buffer
				code, want := Main(args, strings.NewReader(""), &out, &out), 0
				if strings.Contains(line, "--exit-code") {
					want = 3
				}
				if code != want || out.Len() == 0 {
					t.Errorf("%s: exit code %d, want %d\n%s", line, code, want, out.String())
				}
				for name, value := range p.Values {
					if strings.Contains(out.String(), value) {
						t.Errorf("%s: the value %s is in the output", line, name)
					}
				}
				ran++
			}
		}
	}
	if ran != 7 {
		t.Errorf("%d commands were run, want 7", ran)
	}
}
