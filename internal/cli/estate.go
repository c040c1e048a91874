// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) estateCommand() *cobra.Command {
	return group("estate", "accept a commit of the estate whose history was rewritten",
		`A host whose estate is read from Git (git in the host file) believes a new commit of the branch only if it descends from the one that it
believed before, and if it is signed as the host file demands. custody status shows which commit is believed, and why a newer one is
not.`,
		`  custody estate accept 4b825dc642cb6eb9a060e54bf8d69288fbee4904 --reason "the branch was reset after the mistake of Monday"`,
		a.estateAcceptCommand())
}
