// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/backup"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/wire"
)

func (a *app) backupListCommand() *cobra.Command {
	from := ""
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the backups in a folder, newest first",
		Long: `Lists the complete backups in a folder, newest first, by their names and the checkpoints beside them. It needs no key.
FAMILY identifies the authority that a backup is of: it changes only if the authority was created again. A file that is still being
written, or whose writing was interrupted, is not listed.`,
		Example: `  custody backup list
  custody backup list --from /mnt/backup`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(context.Context, []string) error {
			if from == "" {
				host, err := wire.LoadHost(a.hostFile())
				if err != nil {
					return err
				}
				if host.Backup == nil {
					return usage("where from? The host file has no `backup`", "name a folder: custody backup list --from DIR")
				}
				from = host.Backup.To
			}
			folder, err := durable.Open(from)
			if err != nil {
				return fmt.Errorf("listing backups: %w", err)
			}
			defer func() { _ = folder.Close() }()
			found, err := backup.List(folder)
			if err != nil {
				return err
			}
			return a.answer(found, func(p *printer) {
				rows := make([][]string, 0, len(found))
				for _, one := range found {
					rows = append(rows, []string{p.when(one.Made), one.Platform, one.Environment, one.Family, fmt.Sprint(one.Bytes), fmt.Sprint(one.Events), one.Name})
				}
				p.table("", []string{"MADE", "PLATFORM", "ENVIRONMENT", "FAMILY", "BYTES", "EVENTS", "NAME"}, rows)
			})
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "`folder` with the backups (default: that of the host file)")
	return cmd
}
