// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) withdrawCommand() *cobra.Command {
	reason, dry := "", false
	cmd := &cobra.Command{
		Use:   "withdraw FILE --reason TEXT",
		Short: "remove a file that was delivered and that nobody is to read any more",
		Long: `Removes a file that holds a value and that nobody is to read any more, with its stamp: one that a consumer left behind when
its path was changed or it was taken out of the estate, or one of a reader whose grant was revoked. ` + "`custody doctor`" + ` names
them. See that nothing reads the file before.

Refused while a consumer of the estate is delivered to at that path, while the file is not what Custody delivered there,
and while a reader holds on to it by other means than its path (another hard link, a mount of the one file). With --dry-run
it says what it would remove, and removes nothing.`,
		Example: `  custody withdraw /run/app/old.env --dry-run --reason "moved to /run/app/new.env"
  custody withdraw /run/app/old.env --reason "moved to /run/app/new.env"`,
		Annotations: map[string]string{answers: "yes"},
		Args:        takes("FILE"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			file, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("finding %s: %w", args[0], err)
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				left, err := platform.Withdraw(ctx, file, reason, dry)
				if err != nil {
					return err
				}
				verb := "removed"
				if dry {
					verb = "would remove"
				}
				return a.answer(left, func(p *printer) {
					p.linef("%s %s, which holds %s (version %s): %s", verb, left.File, left.Contents(), left.Version, left.Why)
					p.linef("%s %s, its stamp", verb, left.Stamp)
				})
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in `text` that goes on record")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be removed, and remove nothing")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}
