// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"custody.dev/custody/internal/journal"
)

func (a *app) adoptValueCommand() *cobra.Command {
	return a.foreignCommand(journal.Adopt, "adopts the value that somebody else wrote for %s, and revokes the previous one", &cobra.Command{
		Use:   "adopt-value SECRET --reason TEXT",
		Short: "adopt a value that somebody else wrote to the authority",
		Long: `Adopts the value that somebody else wrote to a secret's path in the authority. Custody neither delivers nor rotates such a value by
itself; ` + "`custody status`" + ` shows a finding.

The upstream is asked first: a value that it refuses, or that belongs to another account, is not adopted. The value then becomes the
next version, with "adopted" as its origin, and is delivered. Every consumer proves that it runs on it, and the value before is revoked
under the same conditions as in any other run. If Custody cannot revoke it, the run says so.

If a run has verified its candidate, that run continues with the adopted value instead, and the candidate is revoked too. Before that
step the command is refused: the run stops by itself before it would overwrite the value.

Repeating the command changes nothing more. On a terminal it asks for confirmation; elsewhere it needs --yes.`,
		Example: `  custody adopt-value db-password --reason "set by the database team, ticket 4711"
  custody adopt-value db-password --reason "ticket 4711" --yes --wait`,
	})
}
