// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) notifyTestCommand() *cobra.Command {
	owner := ""
	cmd := &cobra.Command{
		Use:   "test",
		Short: "send a test message, and say what happened",
		Long: `Sends one test message to the default target, or with --owner to the targets of that team, and says for each
target whether it accepted the message. The hourly limits do not apply. Exit code 3 means that a target did not accept it.`,
		Example:     "  custody notify test\n  custody notify test --owner shop",
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				tried, err := platform.TestNotification(ctx, owner)
				if err != nil {
					return err
				}
				failed := 0
				err = a.answer(tried, func(p *printer) {
					for _, one := range tried {
						switch {
						case one.Fault == "":
							p.linef("%s: %s took the message (%s)", visible(one.Owner), visible(one.String()), one.Message)
						case one.Doubt:
							p.linef("%s: %s may have taken the message (%s): %s", visible(one.Owner), visible(one.String()), one.Message, visible(one.Fault))
						default:
							p.linef("%s: %s did not take the message: %s", visible(one.Owner), visible(one.String()), visible(one.Fault))
						}
					}
				})
				for _, one := range tried {
					if one.Fault != "" {
						failed++
					}
				}
				if err == nil && failed > 0 {
					return &server.Problem{Class: server.Found, Text: plural(failed, "place") + " did not take the message", Hint: "correct what is said of it, and try again: " + next.TestNotifications(next.Word(or(owner, notify.Default)))}
				}
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&owner, "owner", "", "the `team`, or its contact, to send it to (default: the default target)")
	return cmd
}
