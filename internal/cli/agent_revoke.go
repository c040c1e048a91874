// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) agentRevokeCommand() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use:   "revoke MACHINE --reason TEXT",
		Short: "end what a machine's agent may do",
		Long: `Ends the right of a machine's agent at once: its connection is closed, its certificate and its token no longer count. Nothing is sent
there any more. The machine keeps what it was given: rotate those secrets if somebody else may have it. If it is gone for good, take its
consumers out of the estate; until then they hold back the revocation of old credentials.

To let it in again, invite it: custody agent invite.`,
		Example:     `  custody agent revoke web-1 --reason "taken out of service"`,
		Args:        takes("MACHINE"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				had, err := platform.RevokeAgent(ctx, args[0], reason)
				if err != nil {
					return err
				}
				return a.answer(map[string]any{"machine": args[0], "revoked": had}, func(p *printer) {
					if had {
						p.linef("revoked: machine %s", args[0])
					} else {
						p.linef("machine %s has no right; nothing was changed", args[0])
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}
