// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/wire"
)

// answer prints v as the user asked for: text calls people.
func (a *app) answer(v any, people func(p *printer)) error {
	switch a.output {
	case "json":
		encoder := json.NewEncoder(a.out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		return nil
	case "yaml":
		return writeYAML(a.out, v)
	}
	p := a.printer(a.out)
	people(p)
	return p.failed
}

// writeYAML writes v with the names and the order of its JSON.
func writeYAML(out io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	blockStyle(&node)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// blockStyle lays a JSON tree out as YAML, text in quotes only where some reader would take it for something else.
func blockStyle(node *yaml.Node) {
	if node.Kind != yaml.ScalarNode {
		node.Style = 0
	} else if fresh := (&yaml.Node{}); node.Tag == "!!str" && fresh.Encode(node.Value) == nil {
		node.Style = fresh.Style
	}
	for _, child := range node.Content {
		blockStyle(child)
	}
}

// printer writes for people.
type printer struct {
	w      io.Writer
	now    time.Time
	colour bool
	failed error
}

func (a *app) printer(w io.Writer) *printer {
	_, tty := terminal(w)
	return &printer{w: w, now: wire.Now(), colour: tty && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"}
}

func (p *printer) linef(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); err != nil && p.failed == nil {
		p.failed = fmt.Errorf("writing the answer: %w", err)
	}
}

// Colours all take the same room, so that a column which is painted whole stays aligned.
const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// paintState is the colour of a state or a result.
func paintState(word string) string {
	switch word {
	case "steady", "completed", "ok":
		return green
	case "undone", "failed", "undeclared", "violated", "high":
		return red
	case "rotating", "rebuilding", "issuing", "live", "suspended", "held", "medium":
		return yellow
	}
	if strings.HasPrefix(word, "waiting") {
		return yellow
	}
	return plain
}

// table prints aligned columns. The column called painted is coloured by what it says.
func (p *printer) table(painted string, head []string, rows [][]string) {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for i, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for j, text := range row {
			cells[j] = visible(text)
			if p.colour && head[j] == painted {
				colour := plain
				if i > 0 {
					colour = paintState(text)
				}
				cells[j] = colour + cells[j] + reset
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
	if _, err := p.w.Write(b.Bytes()); err != nil && p.failed == nil {
		p.failed = fmt.Errorf("writing the answer: %w", err)
	}
}

// fields prints names and values under one another, without those that are empty.
func (p *printer) fields(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			p.linef("%-*s  %s", width+1, pairs[i]+":", visible(pairs[i+1]))
		}
	}
}

// list prints a heading and its items, nothing when there are none.
func (p *printer) list(heading string, items []string) {
	if len(items) == 0 {
		return
	}
	p.linef("%s", heading)
	for _, item := range items {
		p.linef("  - %s", visible(item))
	}
}

// visible keeps text from steering the terminal.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, text)
}

// when is a time for people: how far off, and the time itself in UTC. It is "" for no time.
func (p *printer) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return relative(t.Sub(p.now)) + " (" + t.UTC().Format(time.RFC3339) + ")"
}

// relative says how far off something is.
func relative(d time.Duration) string {
	switch {
	case d > -time.Second && d < time.Second:
		return "now"
	case d < 0:
		return span(-d) + " ago"
	}
	return "in " + span(d)
}

// span is a duration in the largest unit of which there are two at least, rounded.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := (d + unit.length/2) / unit.length; n >= 2 {
			return fmt.Sprintf("%d%s", n, unit.name)
		}
	}
	return fmt.Sprintf("%ds", (d+time.Second/2)/time.Second)
}

// or is text, or what stands for none.
func or(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
