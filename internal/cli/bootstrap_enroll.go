// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) bootstrapEnrollCommand() *cobra.Command {
	reason, lasts := "", "24h"
	cmd := &cobra.Command{
		Use:   "enroll --reason TEXT",
		Short: "make a temporary bootstrap identity for this machine",
		Long: `Makes a new bootstrap identity (private key) in the file that the host file names, and prints its public key. The machine can then hand
over first values that are sealed from now on. It cannot read what was sealed before: the former public key moves to retiredRecipients of
the Platform document, and documents that are encrypted to it stay as they are.

The identity is temporary: the server removes it once a value was handed over with it and nothing else waits, or after --for if nothing
waits then. Both are put on record (audit log). If the machine has an identity already, its public key is printed, and nothing changes.

To change the value of a secret that has one, no identity is needed: see custody supply.`,
		Example: `  custody bootstrap enroll --reason "the first value of smtp-password"
  custody bootstrap enroll --for 2h --reason "ticket 4711" -o json`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			how, err := duration.Parse(lasts)
			if err != nil {
				return usage("--for: "+err.Error(), "give a time such as --for 24h")
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				made, err := platform.EnrollBootstrap(ctx, reason, how)
				if err != nil {
					return err
				}
				return a.answer(made, func(p *printer) { p.enrollment(made) })
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().StringVar(&lasts, "for", lasts, "`time` after which it is removed if nothing waits for it, such as 2h or 7d")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (p *printer) enrollment(made server.Enrollment) {
	until := "it is not temporary"
	if !made.Until.IsZero() {
		until = made.Until.UTC().Format(time.RFC3339) + ", or once a value was handed over"
	}
	p.fields("public key", made.Recipient, "file", made.File, "removed", until)
	if made.Already {
		p.linef("This machine has it already; nothing was changed.")
		return
	}
	documents := fmt.Sprintf("in the Platform document, set bootstrapRecipients: {%s: %s}", made.Environment, made.Recipient)
	if made.Former != "" {
		documents += fmt.Sprintf(", and add the key that was there to retiredRecipients: [%s]", made.Former)
	}
	p.list("next:", []string{documents, "once the estate with it is read, grant the new key: " + next.Grant(), "seal the first value: custody seal SECRET"})
}
