// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

func (a *app) agentRunCommand() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "run",
		Short: "run the agent of this machine",
		Long: `Connects to the server, and delivers, reloads and proves what the server asks for, until it is stopped. If the server is away it tries
again, at least every 15 seconds. The agent's configuration decides which folders it writes to and which programs it runs; the server can
only choose from their names.

On SIGTERM or SIGINT it finishes what it is doing and exits. The agent needs the rights to write the files of its consumers, and to
change their owner if a consumer names one.`,
		Example: `  custody agent run
  custody agent run --agent /etc/custody/agent.yaml --log-format json`,
		Args: takes(),
		// No interrupt ends the context: the agent has its own way to stop.
		RunE: a.run(func(ctx context.Context, _ []string) error { return wire.RunAgent(ctx, a.agentOptions(file)) }),
	}
	agentFlag(cmd, &file)
	return cmd
}
