// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire"
)

func (a *app) supplyCommand() *cobra.Command {
	var fields, files []string
	var reason string
	stdin, exact, wait, timeout := false, false, false, time.Duration(0)
	sealing := sealing{}
	cmd := &cobra.Command{
		Use:   "supply SECRET [-] --reason TEXT",
		Short: "give a secret a value that you created yourself",
		Long: `Gives a secret a new value that you created yourself. As in any other run, the value is promoted and delivered, and every consumer
proves that it runs on it. There are four cases:

1. Custody cannot rotate the secret, for example the password of an admin or a token from a dashboard. The value becomes the next
   version. The previous version is kept, since Custody cannot know whether it still works.
2. The secret has an upstream, and you set or created its credential there by hand. Custody tests the value at the upstream first. It is
   refused if the upstream does not accept it, or says that it belongs to another account. At the end the old credential is revoked.
3. A run waits for a person, because the reply to creating a credential was lost and the upstream cannot tell what it created. Create a
   credential there by hand and supply it; the run continues with it.
4. The upstream accepted the new credential of a run and now refuses it, for example after a fail-over, a restore or a change by
   somebody. Create one there by hand and supply it; the run delivers it instead of the refused one.

On a terminal, the command asks for each field of the secret, or for those in --field. For a value of several lines use a file
(--from-file) or standard input.

` + pipedRule + `

With --seal-to the value is encrypted to the intake key of a platform (see custody intake) and written to --out; no platform is asked.
With --sealed such a file is handed in. Its generation must be larger than that of the last one that was taken for the secret, so that
an old file cannot bring back an old value.

If the text is one line, the line break at its end is removed, and a note says so. A byte order mark and lines that end in CR LF are
refused. With --exact every byte is kept as it is.`,
		Example: `  custody supply forge-admin --field token --reason "the old token expires on Friday" --wait
  pass show mail | custody supply mail-password - --reason "changed in the dashboard"
  custody supply aws-key - --reason "the reply was lost" < credential.json
  custody supply smtp-password --seal-to KEY --generation 3 --out smtp.sealed --reason "set in the dashboard"
  custody supply smtp-password --sealed smtp.sealed --reason "ticket 4711"
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
				return usage("without --field, standard input is the whole value, and --from-file cannot add to it", "name the field in standard input with --field, or leave out --from-file")
			case stdin && len(fields) > 1:
				return usage("standard input can hold only one --field", "leave out --field, and write a JSON object with all fields to standard input")
			}
			return sealing.check(stdin || len(fields) > 0 || len(files) > 0)
		},
		RunE: a.run(func(ctx context.Context, args []string) error {
			if sealing.to != "" {
				v, err := a.suppliedValue(fields, files, stdin, exact)
				if err != nil {
					return err
				}
				return a.sealFor(sealing, args[0], reason, v)
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				if sealing.file != "" {
					return a.handIn(ctx, platform, sealing, args[0], reason, wait, timeout)
				}
				if len(fields) == 0 && len(files) == 0 && !stdin {
					fields = fieldsOf(ctx, platform, args[0])
				}
				v, err := a.suppliedValue(fields, files, stdin, exact)
				if err == nil && stdin && len(fields) == 0 {
					err = hasField(args[0], v, fieldsOf(ctx, platform, args[0]))
				}
				if err != nil {
					return err
				}
				run, err := platform.Supply(ctx, args[0], reason, v)
				if err != nil {
					return err
				}
				return a.supplied(ctx, platform, args[0], run, wait, timeout)
			})
		}),
	}
	cmd.Flags().StringArrayVar(&fields, "field", nil, "`name` of a field to supply; can be repeated")
	cmd.Flags().StringArrayVar(&files, "from-file", nil, "`field=file`: the name of a field and the file with its text; can be repeated")
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().BoolVar(&exact, "exact", false, exactUsage)
	cmd.Flags().BoolVar(&wait, "wait", false, "show each step until the run ends")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "longest `time` to wait, such as 90s; the run continues after that")
	sealing.flags(cmd)
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// supplied says which run has a value, or follows it.
func (a *app) supplied(ctx context.Context, platform *wire.Connection, name string, run authority.RunID, wait bool, timeout time.Duration) error {
	if wait {
		return a.follow(ctx, platform, name, "", run, timeout)
	}
	return a.answer(map[string]authority.RunID{"run": run}, func(p *printer) {
		p.linef("run %s has the value", run)
		if !platform.Serving() {
			p.linef("no server is running: start `custody serve` to continue the run")
		}
	})
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
func hasField(name string, v secret.Value, have []string) error {
	if len(have) == 0 || slices.Contains(have, secret.SingleField) || !slices.Equal(v.Names(), []string{secret.SingleField}) {
		return nil
	}
	return usage("the secret has no field named value; its fields are "+strings.Join(have, ", ")+". Nothing was sent",
		fmt.Sprintf("give a JSON object with all fields, or let them be asked for: %s", next.Supply(name)))
}
