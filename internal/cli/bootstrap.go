// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) bootstrapCommand() *cobra.Command {
	return group("bootstrap", "let this machine decrypt first values in Git again, for a while",
		`The bootstrap identity (private key) of a machine decrypts the first values of secrets in Git, once, to hand them over to the authority
(secrets store). After that it can be removed, by the host file (retireBootstrapIdentity) or by hand: nothing that runs can then decrypt
Git. If another secret gets a first value in Git later, the machine needs an identity again.`,
		`  custody bootstrap enroll --reason "the first value of smtp-password"`,
		a.bootstrapEnrollCommand())
}
