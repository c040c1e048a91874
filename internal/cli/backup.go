// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) backupCommand() *cobra.Command {
	to := ""
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "back up the authority (secrets store) and the record (audit log)",
		Long: `Makes a backup while the server keeps running: one file with all values, all of Custody's own documents and the whole record (audit log), of
one moment. It is encrypted to the root recipients (public keys) of the estate that the operator granted, so only the root key opens
it; the machine itself cannot. A file gets its name once it is complete, was written to disk, and was read back and compared. The
newest checkpoint of the record is put beside it. Each backup is put on record.

The folder must be there already: if it is not mounted, nothing is written. Without --to it is the folder under backup in the host file.
With backup in the host file, the server makes backups by itself, keeps as many as that says, and reports a backup that fails or is
too old. If no server runs, the command makes the backup in its own process.`,
		Example: `  custody backup --to /mnt/backup
  custody backup list --from /mnt/backup`,
		Args:        noSuchCommand,
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			if to != "" {
				to = absolute(to)
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				made, err := platform.Backup(ctx, to)
				if err != nil {
					return err
				}
				return a.answer(made, func(p *printer) { p.backup(made) })
			})
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "`folder` for the backup (default: that of the host file)")
	cmd.AddCommand(a.backupListCommand(), a.backupVerifyCommand())
	return cmd
}

func (p *printer) backup(made server.Backup) {
	p.fields("backup", made.Name, "folder", made.Folder, "size", fmt.Sprintf("%d bytes", made.Bytes), "sha256", made.SHA256,
		"record", plural(int(made.Events), "event"))
	p.list("the root keys that open it:", made.Recipients)
	p.list("older backups that were removed:", made.Removed)
}
