// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/root"
)

func (a *app) rootCommand() *cobra.Command {
	return group("root", "make, split, restore and replace the offline root key (recovery key)",
		`The root key (recovery key) is the one private key that decrypts everything that is sealed in an estate. You need it to rebuild a
platform. Otherwise keep it on no machine: split it into shares and store them in different places. These commands write files that
only their owner can read, overwrite nothing, and never print a private key.`,
		`  custody root new --out root.agekey
  custody root split --key root.agekey --shares 5 --threshold 3 --out-dir shares
  custody root combine shares/root-share-1-of-5.txt shares/root-share-3-of-5.txt shares/root-share-4-of-5.txt --out root.agekey`,
		a.rootNewCommand(), a.rootSplitCommand(), a.rootCombineCommand(), a.rootRekeyCommand())
}

// writeKey makes a file that must not exist yet, 0600.
func writeKey(file string, data []byte) error {
	folder, err := durable.Open(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Create(filepath.Base(file), data); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// oneIdentity reads a file that holds one private key.
func oneIdentity(file string) (root.Identity, error) {
	identities, err := root.Load(file)
	if err != nil {
		return root.Identity{}, err
	}
	if len(identities) != 1 {
		return root.Identity{}, usage(fmt.Sprintf("%s holds %d keys", file, len(identities)), "give a file with exactly one key")
	}
	return identities[0], nil
}
