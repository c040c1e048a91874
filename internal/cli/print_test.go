// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/server"
)

func TestRelativeTimes(t *testing.T) {
	day := 24 * time.Hour
	for _, test := range []struct {
		in   time.Duration
		want string
	}{
		{0, "now"}, {999 * time.Millisecond, "now"}, {-999 * time.Millisecond, "now"},
		{time.Second, "in 1s"}, {-90 * time.Second, "2m ago"}, {89 * time.Second, "in 89s"},
		{119 * time.Minute, "in 2h"}, {-3 * time.Hour, "3h ago"}, {47 * time.Hour, "in 2d"},
		{30*day - time.Second, "in 30d"}, {-400 * day, "400d ago"},
	} {
		if got := relative(test.in); got != test.want {
			t.Errorf("relative(%s) = %q, want %q", test.in, got, test.want)
		}
	}
	p := &printer{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	zone := time.FixedZone("", 3600)
	if got, want := p.when(time.Date(2026, 1, 24, 1, 0, 0, 0, zone)), "in 23d (2026-01-24T00:00:00Z)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := p.when(time.Time{}); got != "" {
		t.Errorf("no time is %q", got)
	}
}

func TestColouredTableHasTheColumnsOfThePlainOne(t *testing.T) {
	head := []string{"SECRET", "STATE", "WHY"}
	rows := [][]string{{"a", "steady", "x"}, {"a-longer-name", "waiting-handover", "y"}, {"b", "undone", "z\x1b[2J\u202e"}}
	render := func(colour bool) string {
		var b bytes.Buffer
		(&printer{w: &b, colour: colour}).table("STATE", head, rows)
		return b.String()
	}
	want := `SECRET         STATE             WHY
a              steady            x
a-longer-name  waiting-handover  y
b              undone            z?[2J?
`
	if diff := cmp.Diff(want, render(false)); diff != "" {
		t.Error(diff)
	}
	coloured := render(true)
	for _, code := range []string{green + "steady", yellow + "waiting-handover", red + "undone"} {
		if !strings.Contains(coloured, code) {
			t.Errorf("%q is missing", code)
		}
	}
	if diff := cmp.Diff(want, regexp.MustCompile(`\x1b\[[0-9]+m`).ReplaceAllString(coloured, "")); diff != "" {
		t.Error(diff)
	}
}

func TestNoColoursButOnATerminal(t *testing.T) {
	a := &app{out: &bytes.Buffer{}, env: func(string) string { return "" }}
	if a.printer(a.out).colour {
		t.Error("colours in a pipe")
	}
}

func TestYAMLKeepsTheNamesAndTheOrderOfJSON(t *testing.T) {
	var b bytes.Buffer
	v := struct {
		Zed   string            `json:"zed"`
		Count int               `json:"count"`
		List  []string          `json:"list"`
		Map   map[string]string `json:"map"`
		Left  string            `json:"left,omitempty"`
	}{"yes", 3, []string{"a: b", "1"}, map[string]string{"k": "line\nline"}, ""}
	if err := writeYAML(&b, v); err != nil {
		t.Fatal(err)
	}
	want := `zed: "yes"
count: 3
list:
  - 'a: b'
  - "1"
map:
  k: |-
    line
    line
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestClassesOfErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		ran  bool
		want server.Class
	}{
		{"command line", errors.New("unknown flag"), false, server.Usage},
		{"anything else", errors.New("x"), true, server.Failure},
		{"no such file", fmt.Errorf("reading: %w", fs.ErrNotExist), true, server.NotFound},
		{"in the way", fmt.Errorf("writing: %w", fs.ErrExist), true, server.Refused},
		{"scaffold input", fmt.Errorf("x: %w", scaffold.ErrInput), true, server.Usage},
		{"scaffold in the way", fmt.Errorf("x: %w", scaffold.ErrExists), true, server.Refused},
		{"not declared", fmt.Errorf("x: %w", scaffold.ErrNotDeclared), true, server.NotFound},
		{"the service's own", fmt.Errorf("x: %w", authority.ErrSealed), true, server.Unavailable},
		{"interrupted", fmt.Errorf("x: %w", context.Canceled), true, server.Failure},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := (&app{ran: test.ran}).problem(test.err, &cobra.Command{Use: "custody"}).Class; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Every command teaches: what it does, and an example that begins with its own words.
func TestEveryHelpTeaches(t *testing.T) {
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" {
			return
		}
		seen++
		if c.Short == "" || c.Long == "" || !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: short %q, long %q, example %q", c.CommandPath(), c.Short, c.Long, c.Example)
		}
		for _, line := range strings.Split(c.Long+"\n"+c.Example, "\n") {
			if len(line) > 140 {
				t.Errorf("%s: a line of %d letters does not fit a terminal", c.CommandPath(), len(line))
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Command())
	if seen < 25 {
		t.Errorf("%d commands were seen", seen)
	}
	for _, outcome := range server.Outcomes {
		if !strings.Contains(Command().Long, outcome.Means) {
			t.Errorf("exit code %d is not in the help", outcome.Exit)
		}
	}
}

// No command has an option that takes a value on the command line.
func TestNoOptionTakesAValue(t *testing.T) {
	for _, name := range []string{"set", "value", "password", "data", "literal"} {
		if flag := mustFind(t, "seal").Flags().Lookup(name); flag != nil {
			t.Errorf("custody seal has --%s", flag.Name)
		}
	}
}

func mustFind(t *testing.T, words ...string) *cobra.Command {
	t.Helper()
	found, _, err := Command().Find(words)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
