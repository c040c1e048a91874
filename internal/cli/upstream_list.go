// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

// listWidth is how wide the list is at most.
const listWidth = 120

func (a *app) upstreamListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the kinds of upstream",
		Long: `Lists every kind of upstream, one line for each mode: how old and new credentials overlap, who creates them, how a run is undone, what
a lost reply means, and whether the upstream can tell who still uses a credential. The last column says what the kind was tested
against. http/NAME is a built-in recipe of type http.`,
		Example: `  custody upstream list
  custody upstream list -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE:        a.run(func(context.Context, []string) error { return a.upstreamList() }),
	}
}

func (a *app) upstreamList() error {
	list := []described{}
	var rows [][]string
	var tried []string
	for _, d := range wire.Descriptions() {
		one, name := describe(d), listedAs(d)
		list, tried = append(list, one), append(tried, name, one.Tried)
		for _, mode := range one.Modes {
			maker, evidence := "custody", "no"
			if mode.Issues {
				maker = "upstream"
			}
			if mode.Evidence != nil {
				evidence = "yes"
			}
			rows = append(rows, []string{name, or(mode.Mode, "-"), mode.Capability, maker, mode.Undo, mode.LostReply, evidence})
		}
	}
	return a.answer(map[string]any{"upstreams": list}, func(p *printer) {
		p.table("", []string{"KIND", "MODE", "OVERLAP", "MADE BY", "UNDO", "LOST REPLY", "EVIDENCE OF USE"}, rows)
		p.linef("")
		p.linef("tried against:")
		p.wrapped(listWidth, tried...)
	})
}

// wrapped prints names and texts under one another, no line wider than width unless a word is.
func (p *printer) wrapped(width int, pairs ...string) {
	indent := 0
	for i := 0; i < len(pairs); i += 2 {
		indent = max(indent, len(pairs[i])+2)
	}
	for i := 0; i < len(pairs); i += 2 {
		name, line := pairs[i], ""
		for _, word := range strings.Fields(visible(pairs[i+1])) {
			if line != "" && indent+len(line)+1+len(word) > width {
				p.linef("%-*s%s", indent, name, line)
				name, line = "", ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		p.linef("%-*s%s", indent, name, line)
	}
}
