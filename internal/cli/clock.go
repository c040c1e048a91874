// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) clockCommand() *cobra.Command {
	return group("clock", "look after the clock that starts timed runs",
		`When the machine's clock jumps, the clock alone starts nothing more until a person says that the time is right. Requests
by people are served all the same.`,
		`  custody clock confirm`,
		a.clockConfirmCommand())
}
