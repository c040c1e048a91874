// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) revertCommand() *cobra.Command {
	return a.foreignCommand(journal.Revert, "writes the managed value of %s over the one that somebody else wrote, which is destroyed", &cobra.Command{
		Use:   "revert SECRET --reason TEXT",
		Short: "restore the managed value over one that somebody else wrote",
		Long: `Restores the managed value of a secret, if somebody else wrote another one to its path in the authority. The managed value becomes the
newest version again and is delivered to all consumers; the other value is destroyed in the authority. Nothing changes at the upstream:
a credential that somebody else created there must be removed there.

The command is refused if the upstream refuses the managed value and accepts the other one. If a run has verified its candidate, that
run continues, and writes its candidate over the other value. Before that step the command is refused: the run stops by itself before it
would overwrite the value. A derived secret is computed again.

Repeating the command changes nothing more. On a terminal it asks for confirmation; elsewhere it needs --yes.`,
		Example: `  custody revert db-password --reason "written by mistake"
  custody revert db-password --reason "written by mistake" --yes --wait`,
	})
}

// foreignCommand is the command that ends somebody else's write by choice, which does what: a sentence about the secret.
func (a *app) foreignCommand(choice, what string, cmd *cobra.Command) *cobra.Command {
	reason, yes, wait, timeout := "", false, false, time.Duration(0)
	cmd.Annotations = map[string]string{answers: "yes"}
	cmd.Args = takes("SECRET")
	cmd.RunE = a.run(func(ctx context.Context, args []string) error {
		return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
			if err := a.confirmed(cmd.Name()+" "+fmt.Sprintf(what, args[0]), yes); err != nil {
				return err
			}
			run, err := platform.DecideForeign(ctx, args[0], choice, reason)
			if err != nil {
				return err
			}
			if wait {
				return a.follow(ctx, platform, args[0], "", run, timeout)
			}
			return a.answer(map[string]authority.RunID{"run": run}, func(p *printer) {
				p.linef("run %s does it", run)
				if !platform.Serving() {
					p.linef("no server is running: start `custody serve` to continue the run")
				}
			})
		})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	cmd.Flags().BoolVar(&wait, "wait", false, "show each step until the run ends")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "longest `time` to wait, such as 90s; the run continues after that")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// confirmed asks on the terminal whether what is said is to be done; without one, yes must have been given.
func (a *app) confirmed(what string, yes bool) error {
	if yes {
		return nil
	}
	if _, ok := terminal(a.in); !ok {
		return usage("there is no terminal to ask for confirmation; nothing was changed", "add --yes if it is meant")
	}
	_, _ = io.WriteString(a.err, what+". Continue? [yes/no] ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return &server.Problem{Class: server.Refused, Text: "nothing was changed", Hint: "answer yes to confirm"}
	}
	return err
}
