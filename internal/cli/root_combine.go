// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/wire"
)

// maxShare bounds the file of a share, which has some hundred letters.
const maxShare = 64 << 10

func (a *app) rootCombineCommand() *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "combine SHARE... --out FILE",
		Short: "restore a root key from its shares",
		Long: `Reads shares, each from its own file, and writes the private key that they restore to a new file that only its owner can read. Case,
spaces and line breaks in a share do not matter. Delete the key file when you are done.`,
		Example: `  custody root combine a/root-share-1-of-5.txt b/root-share-2-of-5.txt c/root-share-5-of-5.txt --out root.agekey`,
		Args:    cobra.MinimumNArgs(1),
		RunE: a.run(func(_ context.Context, files []string) error {
			shares := make([]root.Share, 0, len(files))
			for _, file := range files {
				share, err := readShare(file)
				if err != nil {
					return fmt.Errorf("reading share %s: %w", file, err)
				}
				shares = append(shares, share)
			}
			identity, err := root.Combine(shares)
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

func readShare(name string) (root.Share, error) {
	file, err := os.Open(name)
	if err != nil {
		return root.Share{}, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxShare))
	if err != nil {
		return root.Share{}, err
	}
	return root.ParseShare(string(text))
}
