// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire"
)

func (a *app) runSupplyCommand() *cobra.Command {
	field := ""
	stdin := false
	cmd := a.reasoned(&cobra.Command{
		Use:   "supply RUN [-] --reason TEXT",
		Short: "hand in the credential that a run cannot get by itself",
		Long: `Some upstreams make the credential themselves and cannot say what a call made whose reply was lost. Such a run waits for a
person: make a credential in the upstream's own pages and hand it in here. It is tried at the upstream first, and refused
if that does not honour it; then the run goes on with it. A value is asked for on the terminal, or read from standard
input (-): with --field the text of that field, without it a JSON object of all fields.`,
		Example: `  custody run supply 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 --field token --reason "the reply was lost"
  custody run supply 0190b4a2-7c1e-7f3a-9d2b-5a1f0c9e8d77 - --reason "the reply was lost" < credential.json`,
	}, func(ctx context.Context, platform *wire.Connection, id authority.RunID, reason string) error {
		v, err := a.suppliedValue(field, stdin)
		if err != nil {
			return err
		}
		return platform.Supply(ctx, id, reason, v)
	}, "it goes on with the credential handed in")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		stdin = len(args) == 2 && args[1] == "-"
		switch {
		case len(args) == 0:
			return usage("which run?", "custody run list")
		case len(args) > 2 || len(args) == 2 && !stdin:
			return usage("a value cannot be given as an argument: process lists and the shell's history would keep it",
				"leave it out to be asked for it, or use - for standard input")
		}
		return nil
	}
	cmd.Flags().StringVar(&field, "field", "", "`name` of the one field that is handed in")
	return cmd
}

// suppliedValue reads what is handed in.
func (a *app) suppliedValue(field string, stdin bool) (secret.Value, error) {
	if !stdin {
		if field == "" {
			field = secret.SingleField
		}
		typed, err := a.prompt("field " + field)
		if err != nil {
			return secret.Value{}, err
		}
		return secret.New(map[string][]byte{field: typed})
	}
	read, err := io.ReadAll(io.LimitReader(a.in, secret.MaxBytes+1))
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the value: %w", err)
	}
	if field != "" {
		return secret.New(map[string][]byte{field: withoutNewline(read)})
	}
	v, err := secret.Decode(read)
	if err != nil {
		return secret.Value{}, usage("standard input holds no JSON object of fields", "name the field with --field if it is the text of one")
	}
	return v, nil
}
