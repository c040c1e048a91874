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
		Short: "deliver the current version to consumers again, now",
		Long: `Delivers the current version of a secret to all its consumers, or to the one that you name. Custody checks deliveries every ten
minutes by itself; this command does it now. A file that is already right is not written again, and its consumer is not reloaded.
The command makes no new version and starts no run. Exit code 3 means that the version could not be delivered to a consumer.`,
		Example: `  custody deliver db-password
  custody deliver db-password app`,
		Annotations: map[string]string{answers: "yes"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return usage("deliver takes SECRET, and CONSUMER to deliver to only one", "custody inventory")
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
