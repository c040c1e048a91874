// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) withdrawCommand() *cobra.Command {
	reason, dry := "", false
	cmd := &cobra.Command{
		Use:   "withdraw FILE --reason TEXT",
		Short: "remove a delivered file that is no longer needed",
		Long: `Removes a delivered file that is no longer needed, with its stamp. Such a file is left when the path of a consumer is changed, when a
consumer is removed from the estate, or when the grant of a reader is revoked. ` + "`custody doctor`" + ` lists these files. First make
sure that nothing reads the file.

The command refuses if a consumer in the estate still uses that path, if the file is not what Custody delivered there, or if the file
can be read in another way than by its path (another hard link, a bind mount of the file). With --dry-run it prints what it would
remove, and removes nothing.`,
		Example: `  custody withdraw /run/app/old.env --dry-run --reason "moved to /run/app/new.env"
  custody withdraw /run/app/old.env --reason "moved to /run/app/new.env"`,
		Annotations: map[string]string{answers: "yes"},
		Args:        takes("FILE"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			file, err := args[0], error(nil)
			if _, at, other := strings.Cut(file, ":"); !other || !filepath.IsAbs(at) { // else MACHINE:FILE
				file, err = filepath.Abs(file)
			}
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
					if left.Stamp != "" {
						p.linef("%s %s, its stamp", verb, left.Stamp)
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print what would be removed, and remove nothing")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}
