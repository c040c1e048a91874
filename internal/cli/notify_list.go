// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/wire"
)

func (a *app) notifyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list who is notified of which findings, and when next",
		Long: `Lists each target of notifications, the open findings that are sent there, when each was last sent and when it
is sent next, and the owners that no target reaches. It sends nothing.`,
		Example:     "  custody notify list\n  custody notify list -o json",
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				listing, err := platform.Notifications(ctx)
				if err != nil {
					return err
				}
				return a.answer(listing, func(p *printer) { p.notifications(listing) })
			})
		}),
	}
}

func (p *printer) notifications(listing notify.Listing) {
	if len(listing.Routes) == 0 {
		p.linef("nobody is notified: the host file names no target")
	}
	for _, route := range listing.Routes {
		p.linef("%s: %s, %s", visible(route.Owner), visible(route.String()), plural(len(route.Findings), "finding"))
		if route.Away != "" {
			p.linef("  accepts no messages now: %s", visible(route.Away))
		}
		for _, finding := range route.Findings {
			told := "not sent yet"
			if finding.Told > 0 {
				told = "sent " + p.when(finding.Last)
			}
			p.linef("  - %s [%s], %s, next %s", visible(or(finding.Secret, "the platform")), finding.Code, told, p.when(finding.Next))
		}
	}
	var unreached []string
	for _, owner := range listing.Unreached {
		unreached = append(unreached, strings.TrimSpace(visible(owner.Team)+" ("+visible(owner.Contact)+")"))
	}
	p.list("without a target:", unreached)
}
