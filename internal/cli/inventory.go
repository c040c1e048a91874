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
		Short:   "list secrets: whose, who depends on them, when they end",
		Long: `Lists every secret that the estate declares, then those that the authority remembers and the estate does not declare:
what exists, who owns it, which services depend on it, and which end when. The options choose among them; several together choose
what all of them do. custody list is another name of it: a shorter list would leave out what the longer one is read for.

A running server answers from what it saw when it last looked at each secret; -o json says in "looked" when that was.`,
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
	}
	return p.when(row.Expires)
}
