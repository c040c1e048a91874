// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) authorityRekeyCommand() *cobra.Command {
	options := wire.RekeyOptions{}
	cmd := &cobra.Command{
		Use:   "rekey --from-identity FILE --reason TEXT",
		Short: "replace the unseal key, and encrypt the authority anew",
		Long: `Replaces the unseal key: change unseal in the host file to the new key, stop the server, and name the former key here. Everything in the
authority is decrypted and encrypted anew, with a new keyset, in a file that takes the place of the old one once it is whole and was
compared. Whoever has the former key, even with an older copy of the file, cannot read what is written from now on. Values stay what they
are: rotate those that somebody may have read.

If the new key is an age identity, the root recipients that are granted now open the authority too; so this is also the second half of
replacing a root key, after custody root rekey. Older backups stay as they are.

The authority opens with one of the two keys at any moment, also if the command is interrupted; then run it again. It needs as much free
space as the authority takes, and a quarter more.`,
		Example: `  custody root new --out keys/unseal-2.agekey
  custody authority rekey --from-identity keys/unseal.agekey --reason "an operator left" --dry-run
  custody authority rekey --from-identity keys/unseal.agekey --reason "an operator left"`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			named := 0
			for _, file := range []*string{&options.From.Identity, &options.From.KeyFile, &options.From.Credential} {
				if *file != "" {
					named++
				}
			}
			if named != 1 {
				return usage("name the former key, in one way", "custody authority rekey --from-identity FILE, --from-key-file FILE or --from-credential NAME")
			}
			for _, file := range []*string{&options.From.Identity, &options.From.KeyFile} {
				if *file == "" {
					continue
				}
				absolute, err := filepath.Abs(*file)
				if err != nil {
					return err
				}
				*file = absolute
			}
			done, err := wire.RekeyAuthority(ctx, a.options(slog.LevelError), options)
			if err != nil {
				return err
			}
			return a.answer(done, func(p *printer) { p.rekeyedAuthority(done, options) })
		}),
	}
	cmd.Flags().StringVar(&options.From.Identity, "from-identity", "", "`file` with the age identity that was the unseal key")
	cmd.Flags().StringVar(&options.From.KeyFile, "from-key-file", "", "`file` with the 64 hexadecimal digits that were the unseal key")
	cmd.Flags().StringVar(&options.From.Credential, "from-credential", "", "`name` of the systemd credential that was the unseal key")
	cmd.Flags().StringVar(&options.Reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().BoolVar(&options.Dry, "dry-run", false, "try both keys, say who could open the authority, and change nothing")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (p *printer) rekeyedAuthority(done wire.Rekeyed, how wire.RekeyOptions) {
	switch {
	case done.Already:
		p.linef("the authority opens with the key of the host file already; nothing was changed")
		return
	case how.Dry:
		p.linef("both keys are good; nothing was changed")
	default:
		p.linef("the unseal key was replaced; values and documents encrypted anew: %d", done.Entries)
	}
	p.list("the root opens it too:", done.Roots)
	if len(done.Roots) == 0 {
		p.linef("nothing but the unseal key opens it: keep a copy of that where the root's shares are")
	}
	if !how.Dry {
		p.linef("next: start the server (custody serve), see that it is well (custody doctor), and destroy the former key")
	}
}
