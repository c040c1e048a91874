// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) retireCommand() *cobra.Command {
	var ask server.RetireRequest
	yes := false
	cmd := &cobra.Command{
		Use:   "retire SECRET --reason TEXT",
		Short: "end a secret whose document was removed from the estate",
		Long: `Ends a secret whose document was removed from the estate. Until then, Custody rotates and delivers it as it was last declared, and
` + "`custody status`" + ` says since when it is missing. To keep it, declare it again.

Retirement is a run, which ` + "`custody run show`" + ` follows: a rotation that is under way is rolled back or completed; the files of all
consumers are removed, if they are what Custody delivered; the grace period of the policy (onRemoval) passes; the upstream revokes the
credential, and a sign-in with it must be refused; the values are destroyed. The record (audit log) and the tombstone stay. If the
secret is declared again before the upstream was asked to revoke, it is kept, and its consumers get it back.

The retirement waits, with a reason, while another secret uses this one, while its group is being rotated, and while somebody still
signs in with the credential, if the upstream can tell. A reported compromise ends the grace period and that check at once. A value that
somebody else wrote to the path during the retirement is destroyed only if you run the command again.

On a terminal the command asks first; elsewhere it needs --yes. Run it again to change an earlier request.`,
		Example: `  custody retire smtp-token --dry-run --reason "the mailer is gone"
  custody retire smtp-token --yes --reason "the mailer is gone"`,
		Annotations: map[string]string{answers: "yes"},
		Args:        takes("SECRET"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				dry := ask
				dry.Dry = true
				ends, err := platform.Retire(ctx, args[0], dry)
				if err != nil {
					return err
				}
				if !ask.Dry {
					if err := a.confirmEnd(ends, yes); err != nil {
						return err
					}
					if ends, err = platform.Retire(ctx, args[0], ask); err != nil {
						return err
					}
				}
				return a.answer(ends, func(p *printer) { p.retirement(ends, ask.Dry) })
			})
		}),
	}
	cmd.Flags().StringVar(&ask.Reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().BoolVar(&ask.WithoutRevoking, "without-revoking", false, "do not ask the upstream to revoke the credential: its server is gone, or you revoked it by hand")
	cmd.Flags().BoolVar(&ask.AlthoughUsed, "although-used", false, "revoke it although somebody uses it, the upstream cannot tell, or a consumer cannot lose its file")
	cmd.Flags().BoolVar(&ask.Dry, "dry-run", false, "print what would be done, and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// confirmEnd has a person say that a secret is to end.
func (a *app) confirmEnd(ends server.Retirement, yes bool) error {
	if yes {
		return nil
	}
	if _, ok := terminal(a.in); !ok {
		return usage("there is no terminal to ask for confirmation; "+ends.Secret+" was not retired", "check what would happen with --dry-run, then add --yes")
	}
	a.printer(a.err).retirement(ends, true)
	_, _ = fmt.Fprintf(a.err, "Type the name of the secret to end it: ")
	line, _ := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(line) != ends.Secret {
		return &server.Problem{Class: server.Refused, Text: "that is not the name; nothing was done", Hint: "run it again, or `custody explain " + ends.Secret + "`"}
	}
	return nil
}

func (p *printer) retirement(ends server.Retirement, dry bool) {
	if dry {
		p.linef("would retire %s", ends.Secret)
	} else {
		p.linef("%s is being retired; to follow it: custody explain %s", ends.Secret, ends.Secret)
	}
	if !ends.Since.IsZero() {
		p.linef("  not declared since %s", ends.Since.UTC().Format(time.RFC3339))
	}
	p.linef("  taken from consumers: %s", or(strings.Join(ends.Consumers, ", "), "it has none"))
	if ends.Upstream == "" {
		p.linef("  revoked upstream: nothing")
	} else {
		p.linef("  revoked at upstream %s, %s after that", ends.Upstream, ends.Grace)
	}
	p.linef("  destroyed: %s", or(ends.Version, "it has no value"))
}
