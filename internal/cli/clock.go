// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) clockCommand() *cobra.Command {
	return group("clock", "confirm the time after the clock jumped",
		`After the clock of this machine jumped, Custody starts no timed runs until a person confirms that the time is right. Runs that people
ask for (custody rotate) still start.`,
		`  custody clock confirm`,
		a.clockConfirmCommand())
}
