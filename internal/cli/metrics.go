// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) metricsCommand() *cobra.Command {
	return group("metrics", "watch Custody with Prometheus",
		"The server serves metrics under /metrics on its loopback address (listen in the host file, 127.0.0.1:8470 by default).",
		"  custody metrics rules > custody.rules.yaml",
		a.metricsRulesCommand())
}
