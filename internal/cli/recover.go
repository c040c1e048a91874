// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) recoverCommand() *cobra.Command {
	return group("recover", "go on after an older state was put back",
		`When a checkpoint kept elsewhere covers more events than the record has, or a consumer was given a version that the
authority does not know, an older state was put back. The platform is recovering then: nothing is seeded, rotated or
delivered, and status, doctor and audit verify work. Put the newest state back; or, where there is none, go on with this
one.`,
		`  custody recover accept --dry-run --reason "the disk was lost; copy of Sunday"`,
		a.recoverAcceptCommand())
}
