// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/wire"
)

func (a *app) rootNewCommand() *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "new --out FILE",
		Short: "make a root key",
		Long: `Makes an age identity (private key) and writes it to a new file that only its owner can read. It prints the public key: add that to
rootRecipients of the Platform document.`,
		Example: `  custody root new --out /media/stick/root.agekey`,
		Args:    takes(),
		RunE: a.run(func(context.Context, []string) error {
			identity, err := root.NewIdentity()
			if err != nil {
				return err
			}
			if err := writeKey(out, identity.ExposeFile(wire.Now())); err != nil {
				return err
			}
			p := a.printer(a.out)
			p.fields("private key", out, "public key", identity.Public())
			return p.failed
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "new `file` for the private key")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}
