// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) restoreCommand() *cobra.Command {
	identity, key := "", ""
	cmd := &cobra.Command{
		Use:   "restore FILE --identity FILE",
		Short: "restore a backup into an empty state folder",
		Long: `Restores the authority (secrets store) and the record (audit log) of a backup into the state folder of this host, which must be
empty. Run it as the user that runs custody, while no server runs on the folder. It needs the root key, the host file and the unseal key;
the unseal key may be a new one. It checks everything while it reads. If it fails, it leaves the folder empty. If it is interrupted, nothing
can open the folder until you run it again; it then starts from the beginning.

The platform is then recovering: it hands over, rotates and delivers nothing, because it does not know what happened after the backup.
Start the server, see which consumers have newer versions (custody status), and continue with custody recover accept: it tests every
credential at its upstream, and begins a new incarnation.

Anybody who knows the public keys of the root can make a file that decrypts. Name the public key of the record with --key, from a copy that
you kept elsewhere: a backup whose record another key signed is refused.`,
		Example: `  custody restore /mnt/backup/custody.shop.production.0123456789abcdef.20261202T194500Z.age --identity root.agekey
  custody serve &
  custody recover accept --dry-run --reason "the disk was lost"
  custody recover accept --reason "the disk was lost"`,
		Args:        takes("FILE"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			options, err := restoreOptions(args[0], identity, key)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			m, err := wire.RestoreFrom(ctx, a.options(slog.LevelError), options)
			if err != nil {
				return err
			}
			return a.answer(m, func(p *printer) {
				p.fields("restored", args[0], "platform", m.Platform, "environment", m.Environment, "made", p.when(m.Made),
					"incarnation", string(m.Incarnation), "record", plural(int(m.Events), "event"), "record key", m.RecordKey)
				p.linef("the platform is recovering: nothing is handed over, rotated or delivered until you accept this state")
				p.linef("next: custody serve; then custody recover accept --dry-run --reason TEXT, and the same without --dry-run")
			})
		}),
	}
	restoreFlags(cmd, &identity, &key)
	return cmd
}
