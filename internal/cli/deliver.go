// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) deliverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "deliver SECRET [CONSUMER]",
		Short: "give consumers the version of record again, now",
		Long: `Gives the version of record to every consumer of a secret, or to the one that is named, without waiting for the next
look at them, which comes every ten minutes. What is there already is left alone, and nobody is reloaded for it. It makes
no new version and begins no run. Exit code 3 means that a consumer could not be served.`,
		Example: `  custody deliver db-password
  custody deliver db-password app`,
		Annotations: map[string]string{answers: "yes"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return usage("deliver takes SECRET, and CONSUMER where it is for one alone", "custody inventory")
		},
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				consumer := ""
				if len(args) == 2 {
					consumer = args[1]
				}
				done, err := platform.Deliver(ctx, args[0], consumer)
				if err != nil {
					return err
				}
				faults := 0
				err = a.answer(done, func(p *printer) {
					for _, d := range done {
						p.linef("%s: %s", d.Consumer, or(d.Fault, "has version "+d.Version.String()))
					}
				})
				for _, d := range done {
					if d.Fault != "" {
						faults++
					}
				}
				if err == nil && faults > 0 {
					return &server.Problem{Class: server.Found, Text: plural(faults, "consumer") + " could not be served", Hint: "see `custody explain " + args[0] + "`"}
				}
				return err
			})
		}),
	}
}
