// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// noticedSkew is from where on a clock that is wrong is worth telling.
const noticedSkew = 10 * time.Second

func (a *app) agentListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the machines that have agents, and which are connected",
		Long: `Lists each machine that has an agent, or that a consumer of the estate is on: whether its agent is connected and since when, or when it
was last, how many consumers are there, and whether its clock is wrong. States: connected, away, invited (it has a token and has not
enrolled), revoked, unknown (a consumer is on it, and it was never invited).`,
		Example:     "  custody agent list\n  custody agent list -o json",
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				all, err := platform.Agents(ctx)
				if err != nil {
					return err
				}
				if all == nil {
					all = []server.Agent{}
				}
				return a.answer(all, func(p *printer) { p.agents(all) })
			})
		}),
	}
}

func (p *printer) agents(all []server.Agent) {
	rows := make([][]string, 0, len(all))
	for _, one := range all {
		rows = append(rows, []string{one.Machine, one.State, p.when(one.Since), fmt.Sprint(one.Consumers), p.when(one.Enrolled), p.noted(one)})
	}
	p.table("STATE", []string{"MACHINE", "STATE", "SINCE", "CONSUMERS", "ENROLLED", "NOTE"}, rows)
}

// noted is what is worth telling of an agent.
func (p *printer) noted(one server.Agent) string {
	switch {
	case one.Skew.Abs() >= noticedSkew && one.State == server.AgentConnected:
		return "its clock is wrong by " + one.Skew.Round(time.Second).String()
	case !one.Invited.IsZero():
		return "a token is good until " + one.Invited.UTC().Format(time.RFC3339)
	case one.Version != "":
		return "custody " + one.Version
	}
	return ""
}
