// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/wire"
)

func (a *app) intakeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "intake",
		Short: "print the public key that new values for this platform are sealed to",
		Long: `Prints the platform's intake key (public key), and makes it at the first call. Whoever has it can seal a new value of a secret to it,
on any machine, with custody supply --seal-to. Only the running platform can open the file, so it can be sent or kept in the open. An
operator hands it in with custody supply --sealed.

No bootstrap identity is needed for this: nothing of it comes from Git, and the machine need not be able to decrypt Git.`,
		Example: `  custody intake
  custody supply smtp-password --seal-to KEY --generation 1 --out smtp.sealed --reason "set in the dashboard"   # anywhere
  custody supply smtp-password --sealed smtp.sealed --reason "ticket 4711"`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				key, err := platform.IntakeKey(ctx)
				if err != nil {
					return err
				}
				return a.answer(key, func(p *printer) {
					p.fields("intake key", key.Key)
					p.list("next:", []string{"seal a value to it, anywhere: " + next.SupplySealed("SECRET"), "hand it in here: custody supply SECRET --sealed FILE --reason TEXT"})
				})
			})
		}),
	}
}
