// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) recoverCommand() *cobra.Command {
	return group("recover", "continue after an older state was restored",
		`Custody detects that an older state was restored, for example from a backup: a checkpoint kept elsewhere covers more events than the
record has, or a consumer has a version that the authority does not know. The platform is then recovering: it hands over, rotates and
delivers nothing; status, doctor and audit verify still work. If you have a newer state, restore that. If not, continue with this one:
custody recover accept.`,
		`  custody recover accept --dry-run --reason "the disk was lost; copy of Sunday"`,
		a.recoverAcceptCommand())
}
