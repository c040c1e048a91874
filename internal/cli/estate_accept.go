// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) estateAcceptCommand() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use:   "accept COMMIT --reason TEXT",
		Short: "accept a commit that is older than the one in force, or belongs to a rewritten history",
		Long: `Accepts the newest commit of the branch although it is older than the commit in force, or does not descend from it.
Review the commit first: the estate becomes exactly what it says, so later changes may be undone. custody plan --estate DIR,
on a checkout of the commit, says what that would do.

COMMIT is the newest commit of the branch, in full or at least its first 7 digits. If somebody has pushed another one meanwhile, the
command is refused. The commit itself must still be signed as the host file requires; the commits before it need not be. The record (audit
log) says who accepted which commit after which, and why.`,
		Example:     `  custody estate accept 4b825dc642cb6eb9a060e54bf8d69288fbee4904 --reason "the branch was reset after the mistake of Monday"`,
		Args:        takes("COMMIT"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			if reason == "" {
				return usage("a reason is required: it is written to the record", "add --reason TEXT")
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				source, err := platform.AcceptCommit(ctx, reason, args[0])
				if err != nil {
					return err
				}
				return a.answer(source, func(p *printer) { p.linef("accepted: commit %s", p.commit(&source)) })
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	return cmd
}
