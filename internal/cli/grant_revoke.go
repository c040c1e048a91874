// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/wire"
)

func (a *app) grantRevokeCommand() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use:   "revoke KIND OF TO --reason TEXT",
		Short: "take a grant back",
		Long: `Takes one grant back, named as custody grant list shows it. What needs it waits from then on: nothing is sealed to that
recipient, sent to that address, or read by that reader any more. What was read before stays read: rotate it.`,
		Example: `  custody grant revoke endpoint main-database db.internal:5432 --reason "it moved"
  custody grant revoke reader database-admin upstream/main-database --reason "not theirs any more"`,
		Args:        takes("KIND", "OF", "TO"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				gone, err := platform.Revoke(ctx, reason, []grant.Grant{{Kind: grant.Kind(args[0]), Of: args[1], To: args[2]}})
				if err != nil {
					return err
				}
				return a.answer(gone, func(p *printer) {
					for _, entry := range gone {
						p.linef("revoked: %s", visible(entry.String()))
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in `text` that goes on record")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}
