// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/wire"
)

func (a *app) agentInviteCommand() *cobra.Command {
	reason, lasts := "", "1h"
	cmd := &cobra.Command{
		Use:   "invite MACHINE --reason TEXT",
		Short: "make a one-time token by which the agent of a machine enrolls",
		Long: `Makes a token for a machine and prints it, once. The token lets one agent enroll under that name, until --for is over; keep it as you
would keep a password until then. Only its digest is stored. The invitation is put on record (audit log).

A machine that is enrolled keeps its certificate until the new token is used. Then the former certificate no longer counts.`,
		Example: `  custody agent invite web-1 --reason "new web server"
  custody agent invite web-1 --for 10m --reason "disk replaced" -o json`,
		Args:        takes("MACHINE"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			how, err := duration.Parse(lasts)
			if err != nil {
				return usage("--for: "+err.Error(), "give a time such as --for 1h")
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				made, err := platform.InviteAgent(ctx, args[0], reason, how)
				if err != nil {
					return err
				}
				return a.answer(made, func(p *printer) {
					p.fields("machine", made.Machine, "good until", made.Until.UTC().Format(time.RFC3339), "server listens on", made.Listen, "token", made.Token)
					p.list("next, on that machine:", []string{"custody agent enroll, and paste the token", "custody agent run"})
				})
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().StringVar(&lasts, "for", lasts, "`time` for which the token is good, such as 10m or 1d")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}
