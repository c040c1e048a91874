// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal prints the tour: in colour on a terminal, plain elsewhere and under NO_COLOR.
type terminal struct {
	out    io.Writer
	colour bool
	steps  int
}

func newTerminal(out io.Writer) *terminal {
	_, plain := os.LookupEnv("NO_COLOR")
	file, ok := out.(*os.File)
	return &terminal{out: out, colour: ok && !plain && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))}
}

func (t *terminal) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *terminal) faint(text string) string { return t.paint("2", text) }
func (t *terminal) bad(text string) string   { return t.paint("1;31", text) }

func (t *terminal) line(text string) { fmt.Fprintln(t.out, text) }

// step begins the next numbered step and says what it is about.
func (t *terminal) step(title, about string) {
	t.steps++
	fmt.Fprintf(t.out, "\n%s\n", t.paint("1", fmt.Sprintf("%2d  %s", t.steps, title)))
	for line := range strings.Lines(about) {
		t.line("    " + strings.TrimSuffix(line, "\n"))
	}
}

// command shows a command as somebody would type it.
func (t *terminal) command(text string) { t.line("    " + t.paint("36", "$ "+text)) }

// output shows what a command answered.
func (t *terminal) output(lines []string) {
	for _, line := range lines {
		t.line("      " + t.faint(line))
	}
}

// good states what was checked and holds.
func (t *terminal) good(text string) { t.line("    " + t.paint("32", "ok") + "  " + text) }
