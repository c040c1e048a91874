// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) runShowCommand() *cobra.Command {
	watch := false
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "show one run with its transitions",
		Long: `Shows one run: why it began, who asked for it, how far it has come, what it waits for, and each recorded transition. With --watch it
is shown again whenever it changes, until it ends.`,
		Example: `  custody run show 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77
  custody run show 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --watch
  custody run show 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 -o json`,
		Args:        takes("RUN"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				return a.watched(ctx, platform, watch, func(ctx context.Context) (bool, error) {
					run, err := platform.Run(ctx, authority.RunID(args[0]))
					if err != nil {
						return true, err
					}
					return run.Result != "live", a.answer(run, func(p *printer) { p.run(run) })
				})
			})
		}),
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show the run again whenever it changes, until it ends")
	return cmd
}

func (p *printer) run(run server.Run) {
	p.fields("run", string(run.ID), "secret", run.Secret, "path", string(run.Path), "workflow", string(run.Workflow),
		"result", run.Result, "step", run.Step, "asked by", run.By, "why", run.Reason, "detail", run.Detail,
		"waits because", run.Waiting.Said(), "reason", code(run.Waiting), "began", p.when(run.Started), "ended", p.when(run.Ended))
	if c := run.Compromise; c != nil {
		took := "not yet: the old credential is not refused"
		switch {
		case run.Revocation > 0:
			took = span(run.Revocation)
		case run.Result == "completed":
			took = "none: no upstream checks the value, so there was nothing to revoke"
		case run.Result == "undone":
			took = "none: the run was rolled back"
		}
		p.fields("compromise", "reported by "+c.By+" at "+p.when(c.At), "time to revocation", took, "broken consumers", strings.Join(c.Broken, ", "))
	}
	if len(run.Events) > 0 {
		p.linef("")
		p.events(run.Events, false)
	}
}
