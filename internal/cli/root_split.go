// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/root"
)

func (a *app) rootSplitCommand() *cobra.Command {
	key, dir, shares, threshold := "", "", 0, 0
	cmd := &cobra.Command{
		Use:   "split --shares N --threshold M --out-dir DIR",
		Short: "split a root key into shares",
		Long: `Splits a private key into N shares (Shamir's secret sharing). Any M of them restore the key; fewer reveal nothing about it. Each share
is text that can be printed, in its own file that only its owner can read. Splitting the key again makes different shares; shares
of two splits cannot be combined.`,
		Example: `  custody root split --key keys/root.agekey --shares 5 --threshold 3 --out-dir /media/stick/shares`,
		Args:    takes(),
		RunE: a.run(func(context.Context, []string) error {
			identity, err := oneIdentity(key)
			if err != nil {
				return err
			}
			if threshold < 2 || shares < threshold || shares > 255 {
				return usage("--shares must be 2 to 255, and --threshold at least 2 and at most the number of shares", "try --shares 5 --threshold 3")
			}
			parts, err := root.Split(identity, shares, threshold)
			if err != nil {
				return err
			}
			return a.writeShares(dir, key, parts)
		}),
	}
	cmd.Flags().StringVar(&key, "key", filepath.Join("keys", "root.agekey"), "`file` with the private key")
	cmd.Flags().IntVar(&shares, "shares", 0, "`number` of shares to make")
	cmd.Flags().IntVar(&threshold, "threshold", 0, "`number` of shares that restore the key")
	cmd.Flags().StringVar(&dir, "out-dir", "", "`folder` for the shares; it is made if needed")
	for _, name := range []string{"shares", "threshold", "out-dir"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

// writeShares writes all shares or none.
func (a *app) writeShares(dir, key string, shares []root.Share) error {
	folder, err := durable.Make(dir)
	if err != nil {
		return fmt.Errorf("writing shares: %w", err)
	}
	defer func() { _ = folder.Close() }()
	var written []string
	for _, share := range shares {
		name := fmt.Sprintf("root-share-%d-of-%d.txt", share.Index(), share.Total())
		if err := folder.Create(name, []byte(share.Expose()+"\n")); err != nil {
			for _, undo := range written {
				_ = folder.Remove(undo)
			}
			return fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
		}
		written = append(written, name)
	}
	p := a.printer(a.out)
	p.linef("%d shares of key %s are in %s; any %d of them restore it.", len(shares), shares[0].Key(), dir, shares[0].Threshold())
	p.linef("Give each to another person or place. Test %d of them with `custody root combine SHARE... --out FILE`, then delete %s.", shares[0].Threshold(), key)
	return p.failed
}
