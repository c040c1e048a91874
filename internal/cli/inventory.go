// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/wire"
)

func (a *app) inventoryCommand() *cobra.Command {
	wide, choice := false, filterOptions{}
	cmd := &cobra.Command{
		Use:     "inventory",
		Aliases: []string{"list"},
		Short:   "list secrets: who owns them, who depends on them, when they expire",
		Long: `Lists every secret that the estate declares, with its owner, the services that depend on it, and when it expires. Then it lists the
secrets that the authority still knows and the estate no longer declares. Filter with the options; a secret is listed if it matches
all of them. custody list is another name for this command.

A running server answers from its last check of each secret; with -o json, "looked" is the time of that check.`,
		Example: `  custody inventory
  custody list
  custody inventory --wide
  custody inventory --owner shop --expires-within 30d
  custody inventory -o json | jq '.[] | select(.team == "shop")'`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			filter, err := choice.filter()
			if err != nil {
				return err
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				rows, err := platform.Inventory(ctx, filter)
				if err != nil {
					return err
				}
				if rows == nil {
					rows = []inventory.Row{}
				}
				return a.answer(rows, func(p *printer) { p.inventory(rows, wide) })
			})
		}),
	}
	choice.add(cmd)
	cmd.Flags().BoolVar(&wide, "wide", false, "show path, origin, policy, version and dates as well")
	return cmd
}

func (p *printer) inventory(rows []inventory.Row, wide bool) {
	head := []string{"SECRET", "OWNER", "CONSUMERS", "EXPIRES", "STATE"}
	if wide {
		head = append(head, "CONTACT", "CLASS", "PATH", "ORIGIN", "UPSTREAM", "POLICY", "VERSION", "ROTATED", "DUE")
	}
	lines := make([][]string, 0, len(rows))
	for _, row := range rows {
		line := []string{row.Secret, or(row.Team, "-"), or(dependants(row), "-"), p.expires(row), row.State}
		if wide {
			line = append(line, or(row.Contact, "-"), or(row.Class, "-"), row.Path, or(row.Origin, "-"), or(row.Upstream, "-"), or(row.Policy, "-"),
				or(row.Version, "-"), or(p.when(row.Rotated), "-"), or(p.when(row.Due), "-"))
		}
		lines = append(lines, line)
	}
	p.table("STATE", head, lines)
}

// dependants are the consumers of a secret, the upstreams that it opens, and the same of each secret computed from it.
func dependants(row inventory.Row) string {
	list := func(consumers, opens []string) []string {
		all := append([]string{}, consumers...)
		for _, upstream := range opens {
			all = append(all, "upstream "+upstream)
		}
		return all
	}
	all := list(row.Consumers, row.Opens)
	for _, dependent := range row.Dependents {
		text := "secret " + dependent.Secret
		if theirs := list(dependent.Consumers, dependent.Opens); len(theirs) > 0 {
			text += " (" + strings.Join(theirs, ", ") + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (p *printer) expires(row inventory.Row) string {
	switch {
	case row.Expires.IsZero():
		return "never"
	case row.Expired:
		return "EXPIRED " + p.when(row.Expires)
	case row.Ending:
		return "SOON " + p.when(row.Expires)
	}
	return p.when(row.Expires)
}
