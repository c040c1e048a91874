// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/wire"
)

func (a *app) backupVerifyCommand() *cobra.Command {
	identity, key := "", ""
	cmd := &cobra.Command{
		Use:   "verify FILE --identity FILE",
		Short: "open a backup and check everything in it",
		Long: `Reads the whole backup, decrypts it, and checks every byte: the archive, the authority (it decrypts each value and each document), and the
record (audit log) against its checkpoint. It needs no host file and no server. It prints no value; it writes a copy of the authority,
which is encrypted, to a folder below $TMPDIR and removes it.

Anybody who knows the public keys of the root can make a file that decrypts. Name the public key of the record with --key, from a copy that
you kept elsewhere: a backup whose record another key signed is refused. Exit code 3 means that the backup is damaged.`,
		Example:     `  custody backup verify /mnt/backup/custody.shop.production.0123456789abcdef.20261202T194500Z.age --identity root.agekey`,
		Args:        takes("FILE"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			options, err := restoreOptions(args[0], identity, key)
			if err != nil {
				return err
			}
			found, err := wire.VerifyBackup(ctx, options, os.TempDir())
			if err != nil {
				return err
			}
			return a.answer(found, func(p *printer) {
				m := found.Manifest
				p.fields("platform", m.Platform, "environment", m.Environment, "made", p.when(m.Made), "by custody", m.Custody, "incarnation", string(m.Incarnation),
					"authority", fmt.Sprintf("%s of values, %s", plural(found.Contents.Versions, "version"), plural(found.Contents.Documents, "document")),
					"record", plural(int(m.Events), "event"), "record key", m.RecordKey)
				p.list("the root keys that open it:", m.Recipients)
				p.linef("sound: everything is what was written")
			})
		}),
	}
	restoreFlags(cmd, &identity, &key)
	return cmd
}

// restoreFlags are those of commands that open a backup.
func restoreFlags(cmd *cobra.Command, identity, key *string) {
	cmd.Flags().StringVar(identity, "identity", "", "`file` with the root key (private key), see custody root combine")
	cmd.Flags().StringVar(key, "key", "", "`file` with the public key of the record (audit.pub), from a copy that was kept elsewhere")
	_ = cmd.MarkFlagRequired("identity")
}

func restoreOptions(file, identity, key string) (options wire.RestoreOptions, err error) {
	options.File = file
	if options.Identities, err = root.Load(identity); err != nil {
		return options, err
	}
	if key != "" {
		text, err := os.ReadFile(key)
		if err != nil {
			return options, fmt.Errorf("reading the public key of the record: %w", err)
		}
		options.RecordKey = string(text)
	}
	return options, nil
}
