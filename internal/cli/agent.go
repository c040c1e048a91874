// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

const (
	// agentEnv names the configuration of a machine's agent, and agentFile is where it is when nobody names one.
	agentEnv  = "CUSTODY_AGENT"
	agentFile = "/etc/custody/agent.yaml"
)

func (a *app) agentCommand() *cobra.Command {
	cmd := group("agent", "deliver secrets to other machines",
		`An agent delivers secrets on a machine other than the server's: it writes the files of consumers whose document names that machine,
reloads the programs that read them, and proves what they run on. It connects to the server; the server never connects to it. Each agent
has a certificate that the platform issues for a week and that is renewed by itself, and is sent the secrets of its own machine alone.

On the server's machine, say where agents connect (agents.listen in the host file), and make a token: custody agent invite. On the other
machine, write the agent's configuration, enroll with the token: custody agent enroll, and start the agent: custody agent run. While an
agent is away, nothing is delivered there, and no old credential is revoked that a consumer there may still use.

docs/agents.md has an example of each file.`,
		`  custody agent invite web-1 --reason "new web server"   # where the server runs
  custody agent enroll                                   # on web-1: paste the token
  custody agent run                                      # on web-1`,
		a.agentInviteCommand(), a.agentListCommand(), a.agentRevokeCommand(), a.agentEnrollCommand(), a.agentRunCommand())
	return cmd
}

// completeMachines offers the machines that the running platform knows of.
func (a *app) completeMachines(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all, _ := heard(a, func(ctx context.Context, client *server.Client) ([]server.Agent, error) { return client.Agents(ctx) })
	var found []cobra.Completion
	for _, one := range all {
		found = append(found, cobra.CompletionWithDesc(visible(one.Machine), one.State))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// agentFlag adds the option that names the configuration of this machine's agent.
func agentFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "agent", "", "agent's configuration `file` (default $CUSTODY_AGENT, then "+agentFile+")")
}

// agentOptions are how this machine's agent is opened.
func (a *app) agentOptions(file string) wire.AgentOptions {
	o := a.options(slog.LevelInfo)
	for _, named := range []string{file, a.env(agentEnv), agentFile} {
		if named != "" {
			return wire.AgentOptions{File: named, Log: o.Log, Version: o.Version}
		}
	}
	return wire.AgentOptions{}
}
