// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/alert"
)

func (a *app) metricsRulesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "print alerting rules for Prometheus",
		Long: `Prints alerting rules for Prometheus: one for each reason that needs a person or shows that a part does not work, with what it means and
what to do, and a few for the server itself and for lifetimes that end. Each alert has the label severity: critical, warning or info.
Write them to a file that rule_files in the configuration of Prometheus names. Print them again after an update of Custody.`,
		Example: "  custody metrics rules > custody.rules.yaml\n  promtool check rules custody.rules.yaml",
		Args:    takes(),
		RunE: a.run(func(context.Context, []string) error {
			_, err := a.out.Write(alert.Rules())
			return err
		}),
	}
}
