// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) runCommand() *cobra.Command {
	return group("run", "show runs, abort one, or force one past what it waits for",
		`A run (job) is one execution of a workflow, such as the handover (import) of a secret or its rotation. Each step is recorded before the
next begins, and a run that was interrupted continues where it stopped.`,
		`  custody run list
  custody run show 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77
  custody run abort 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --reason "wrong database"`,
		a.runListCommand(), a.runShowCommand(), a.runAbortCommand(), a.runForceCommand())
}

// reasoned is a command that does something to a run and wants to know why.
func (a *app) reasoned(cmd *cobra.Command, act func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) (done []string, err error)) *cobra.Command {
	reason := ""
	cmd.Args = takes("RUN")
	cmd.RunE = a.run(func(ctx context.Context, args []string) error {
		return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
			done, err := act(ctx, platform, authority.RunID(args[0]), reason)
			if err != nil {
				return err
			}
			p := a.printer(a.out)
			for _, line := range done {
				p.linef("run %s: %s", args[0], line)
			}
			if !platform.Serving() {
				p.linef("no server is running: start `custody serve` to continue the run")
			}
			return p.failed
		})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (p *printer) runRow(run server.Run) []string {
	return []string{string(run.ID), run.Secret, string(run.Workflow), run.Result, run.Step, p.when(run.Started), or(run.Reason, "-")}
}
