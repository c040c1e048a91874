// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) estateCommand() *cobra.Command {
	return group("estate", "accept a commit of the estate whose history was rewritten",
		`A host that reads its estate from Git (git in the host file) accepts a new commit of the branch only if it descends from the last one
that it accepted, and is signed as the host file requires. custody status shows which commit is in force, and why a newer one is
not.`,
		`  custody estate accept 4b825dc642cb6eb9a060e54bf8d69288fbee4904 --reason "the branch was reset after the mistake of Monday"`,
		a.estateAcceptCommand())
}
