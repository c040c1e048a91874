// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) grantRevokeCommand() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use:   "revoke WHAT OF TO --reason TEXT",
		Short: "revoke a grant",
		Long: `Revokes one grant, named as custody grant list shows it. From then on nothing is sealed to that recipient, sent to that address, or
read by that reader, and secrets that need the grant wait. This does not undo what was read before: rotate such a secret.`,
		Example: `  custody grant revoke endpoint main-database db.internal:5432 --reason "it moved"
  custody grant revoke reader database-admin upstream/main-database --reason "not theirs any more"`,
		Args:        takes("WHAT", "OF", "TO"),
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
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// completeGrants offers what is granted by the running platform, one word after the other.
func (a *app) completeGrants(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	entries, _ := heard(a, func(ctx context.Context, client *server.Client) ([]grant.Entry, error) {
		grants, err := client.Granted(ctx)
		return grants.Granted, err
	})
	var found []cobra.Completion
	for _, entry := range entries {
		words := []string{string(entry.Kind), entry.Of, entry.To}
		if len(args) < len(words) && slices.Equal(args, words[:len(args)]) && !slices.Contains(found, words[len(args)]) {
			found = append(found, words[len(args)])
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
