// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) authorityCommand() *cobra.Command {
	return group("authority", "look after the authority (secrets store) itself",
		`The authority of a host is one encrypted file in the state folder. Its keyset is closed with the unseal key that the host file names, and,
if that is an age identity, can be opened by the root too.`,
		`  custody authority rekey --from-identity keys/old-unseal.agekey --reason "the disk was replaced"`,
		a.authorityRekeyCommand())
}
