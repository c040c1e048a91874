// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) upstreamListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the kinds of upstream",
		Long: `Lists every kind of upstream, a line for each mode: how old and new credentials overlap, who makes them, what undoing a
run means, what a lost reply means, and against what the kind has been run.`,
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
	for _, d := range wire.Descriptions() {
		one := describe(d)
		list = append(list, one)
		for i, mode := range one.Modes {
			maker, tried := "custody", ""
			if mode.Issues {
				maker = "upstream"
			}
			if i == 0 {
				tried = one.Tried
			}
			rows = append(rows, []string{one.Type, or(mode.Mode, "-"), mode.Capability, maker, mode.Undo, mode.LostReply, tried})
		}
	}
	return a.answer(map[string]any{"upstreams": list}, func(p *printer) {
		p.table("", []string{"TYPE", "MODE", "OVERLAP", "MADE BY", "UNDO", "LOST REPLY", "TRIED"}, rows)
	})
}
