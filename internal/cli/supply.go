// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire"
)

func (a *app) supplyCommand() *cobra.Command {
	var fields, files []string
	var reason string
	stdin, exact, wait, timeout := false, false, false, time.Duration(0)
	cmd := &cobra.Command{
		Use:   "supply SECRET [-] --reason TEXT",
		Short: "hand in a value that you made yourself",
		Long: `Hands in a new value of a secret, which takes the steps of any other run: promoted, delivered, proven by every consumer.
It is for four cases.

A secret that nothing can rotate (an admin's password, a token made in a dashboard): the value becomes its next version.
The version before is kept, since nothing that Custody knows of refuses it.

A secret with an upstream, when you set or made its credential there by hand: it is tried at the upstream first and refused
if that does not honour it, or tells that it is another account's. In the end the old one is revoked.

A run that waits for a person because the reply to issuing was lost and its upstream cannot tell what it made: make a
credential there by hand and hand it in. The run goes on with it.

A run whose new credential the upstream accepted and refuses now (a fail-over, a restore, somebody's change): make one there
by hand that works and hand it in. The run delivers it in place of the refused one.

A value is asked for on the terminal, each field that the secret has (or those that --field names). One of several lines comes
from a file (--from-file) or from standard input.

` + pipedRule + `

The line break at the end of a text of one line is left out, which is said; a byte order mark and lines that
end in CR LF are refused. With --exact every byte is taken as it is.`,
		Example: `  custody supply forge-admin --field token --reason "the old token expires on Friday" --wait
  pass show mail | custody supply mail-password - --reason "changed in the dashboard"
  custody supply aws-key - --reason "the reply was lost" < credential.json
  custody supply github-app --field appId --from-file privateKey=app.pem --reason "a new key"`,
		Annotations: map[string]string{answers: "yes"},
		Args: func(_ *cobra.Command, args []string) error {
			stdin = len(args) == 2 && args[1] == "-"
			switch {
			case len(args) == 0:
				return usage("which secret?", "custody inventory")
			case len(args) > 2 || len(args) == 2 && !stdin:
				return usage("a value cannot be given as an argument: process lists and the shell's history would keep it",
					"leave it out to be asked for it, or use - for standard input, or --from-file")
			case stdin && len(fields) == 0 && len(files) > 0:
				return usage("standard input without --field holds the whole value", "say with --field which one it holds, or leave --from-file out")
			case stdin && len(fields) > 1:
				return usage("standard input holds one field", "leave --field out and hand in a JSON object of all fields")
			}
			return nil
		},
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				if len(fields) == 0 && len(files) == 0 && !stdin {
					fields = fieldsOf(ctx, platform, args[0])
				}
				v, err := a.suppliedValue(fields, files, stdin, exact)
				if err == nil && stdin && len(fields) == 0 {
					err = hasField(v, fieldsOf(ctx, platform, args[0]))
				}
				if err != nil {
					return err
				}
				run, err := platform.Supply(ctx, args[0], reason, v)
				if err != nil {
					return err
				}
				if wait {
					return a.follow(ctx, platform, args[0], "", run, timeout)
				}
				return a.answer(map[string]authority.RunID{"run": run}, func(p *printer) {
					p.linef("run %s has the value", run)
					if !platform.Serving() {
						p.linef("no server runs: it goes on once `custody serve` does")
					}
				})
			})
		}),
	}
	cmd.Flags().StringArrayVar(&fields, "field", nil, "`name` of a field that is handed in")
	cmd.Flags().StringArrayVar(&files, "from-file", nil, "`field=file`: a field, and the file with its text")
	cmd.Flags().StringVar(&reason, "reason", "", "why, in `text` that goes on record")
	cmd.Flags().BoolVar(&exact, "exact", false, exactUsage)
	cmd.Flags().BoolVar(&wait, "wait", false, "show each step until the run ends")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "`time` to wait at most, such as 90s; the run goes on after that")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// fieldsOf are the fields that the secret has; none where it has no value yet, or is not known.
func fieldsOf(ctx context.Context, platform *wire.Connection, name string) []string {
	explained, err := platform.Explain(ctx, name)
	if err != nil {
		return nil // the value is refused with the reason
	}
	return explained.Fields
}

// suppliedValue reads what is handed in. A value of which every field is empty is refused here, before anything is sent;
// whether one of several may be is told by the value that the secret has.
func (a *app) suppliedValue(fields, files []string, stdin, exact bool) (secret.Value, error) {
	typed, err := a.filed(files, fields, exact)
	if err != nil {
		return secret.Value{}, err
	}
	if !stdin {
		if len(fields) == 0 && len(files) == 0 {
			fields = []string{secret.SingleField}
		}
		for _, field := range fields {
			text, err := a.prompt("field " + field)
			if err != nil {
				return secret.Value{}, err
			}
			typed[field] = text
		}
		return secret.New(typed)
	}
	field := ""
	if len(fields) == 1 {
		field = fields[0]
	}
	v, err := a.piped(field, exact)
	for name, text := range typed {
		if err == nil {
			v, err = v.With(name, text)
		}
	}
	return v, err
}

// hasField refuses a text that no field was named for where the secret is known to have others.
func hasField(v secret.Value, have []string) error {
	if len(have) == 0 || slices.Contains(have, secret.SingleField) || !slices.Equal(v.Names(), []string{secret.SingleField}) {
		return nil
	}
	return usage("the secret has no field value but "+strings.Join(have, ", ")+"; nothing was sent",
		"say with --field which one the text is, or hand in a JSON object of all fields")
}
