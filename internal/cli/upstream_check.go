// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// checkFlags are the options of `custody upstream check`.
type checkFlags struct {
	parameters, admin, rig string
	timeout                time.Duration
	only                   []string
}

func (a *app) upstreamCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check PROGRAM [ARG...]",
		Short: "test a program of type exec with the suite that every upstream passes",
		Long: `Runs a program as an upstream of type exec and prints which tests of the suite it passes. The tests create accounts and do not remove
them. This command shows what the program writes to standard error, which custody serve never does: do not use real secrets.

--parameters names a JSON file: {"mode": "dual", "parameters": {…}, "account": {…}, "public": ["id"]}, as in the documents.
"{n}" in a value of account becomes a number that is different in each test. public lists the fields of values that are not secret.

--rig names a program that disturbs the system behind the tested program. It is called with one word as its argument and reads a JSON
object with parameters and account from standard input. Called with the word "words", it prints the words that it knows, out of: break,
mend, throttle, wait (until changes are visible), held (print the credentials that the account would accept, one name a line). Without
a rig, the suite cannot test that the program answers "unknown" when its system is down.

Exit code 3 means that a test failed. Any other exit code except 0 means that the program could not be tested.`,
		Example: `  custody upstream check --parameters check.json --rig ./rig ./keyfile
  custody upstream check --only DecoyIsRefused ./keyfile
  custody upstream check -o json ./keyfile --verbose`,
		Args:        cobra.MinimumNArgs(1),
		Annotations: map[string]string{answers: "yes"},
		RunE:        a.run(func(ctx context.Context, args []string) error { return a.upstreamCheck(ctx, args, f) }),
	}
	cmd.Flags().SetInterspersed(false) // what follows the program is the program's
	cmd.Flags().StringVar(&f.parameters, "parameters", "", "JSON `file` with mode, parameters, account and public")
	cmd.Flags().StringVar(&f.admin, "admin", "", "JSON `file` with the admin credentials to try, a list of objects of fields")
	cmd.Flags().StringVar(&f.rig, "rig", "", "`program` that disturbs the system behind the tested program")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long one call may take")
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "run these `tests` alone")
	return cmd
}

// checked is the answer of check.
type checked struct {
	Program []string              `json:"program"`
	Passed  int                   `json:"passed"`
	Failed  int                   `json:"failed"`
	Untried int                   `json:"untried"`
	Tests   []wire.UpstreamResult `json:"tests"`
}

func (a *app) upstreamCheck(ctx context.Context, argv []string, f checkFlags) error {
	check, err := a.upstreamToCheck(argv, f)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	result := checked{Program: check.Argv, Tests: []wire.UpstreamResult{}}
	progress := a.printer(a.err)
	err = wire.CheckUpstream(ctx, check, func(test wire.UpstreamResult) {
		result.Tests = append(result.Tests, test)
		word := "ok"
		switch {
		case len(test.Failures) > 0:
			result.Failed++
			word = "FAILED"
		case test.Inapplicable:
			result.Untried++
			word = "not tried"
		default:
			result.Passed++
		}
		progress.linef("%-9s  %s", word, test.Name)
		for _, failure := range test.Failures {
			for line := range strings.Lines(failure) {
				progress.linef("             %s", visible(strings.TrimRight(line, "\n")))
			}
		}
	})
	switch {
	case errors.Is(err, wire.ErrUnfit):
		return &server.Problem{Class: server.Found, Text: err.Error(), Hint: "`custody upstream explain exec` says what a program answers to the method kind"}
	case err != nil:
		return err
	case len(result.Tests) == 0:
		return usage("there is no such test", "run the check without --only: it prints the names")
	}
	err = a.answer(result, func(p *printer) {
		p.linef("%d passed, %d failed, %d not tried", result.Passed, result.Failed, result.Untried)
	})
	if err == nil && result.Failed > 0 {
		return &server.Problem{Class: server.Found, Text: plural(result.Failed, "test") + " failed", Hint: "run one alone with --only NAME"}
	}
	return err
}

// upstreamToCheck reads what a check is told.
func (a *app) upstreamToCheck(argv []string, f checkFlags) (wire.UpstreamCheck, error) {
	check := wire.UpstreamCheck{Argv: argv, Timeout: f.timeout, Errors: a.err}
	var err error
	if check.Argv[0], err = filepath.Abs(argv[0]); err != nil {
		return check, fmt.Errorf("finding %s: %w", argv[0], err)
	}
	if _, err := os.Stat(check.Argv[0]); err != nil {
		return check, fmt.Errorf("finding the program: %w", err)
	}
	if f.rig != "" {
		if check.Rig, err = filepath.Abs(f.rig); err != nil {
			return check, fmt.Errorf("finding %s: %w", f.rig, err)
		}
	}
	if f.parameters != "" {
		var told struct {
			Mode       string            `json:"mode"`
			Parameters map[string]string `json:"parameters"`
			Account    map[string]string `json:"account"`
			Public     []string          `json:"public"`
		}
		if err := readJSON(f.parameters, &told); err != nil {
			return check, err
		}
		check.Mode, check.Parameters, check.Account, check.Public = told.Mode, told.Parameters, told.Account, told.Public
	}
	if f.admin != "" {
		var admins []json.RawMessage
		if err := readJSON(f.admin, &admins); err != nil {
			return check, err
		}
		for _, one := range admins {
			v, err := secret.Decode(one)
			if err != nil {
				return check, fmt.Errorf("reading %s: %w", f.admin, err)
			}
			check.Admin = append(check.Admin, v)
		}
	}
	if len(f.only) > 0 {
		wanted := map[string]bool{}
		for _, name := range f.only {
			wanted[name] = true
		}
		check.Chosen = func(name string) bool { return wanted[name] }
	}
	return check, nil
}

// readJSON reads one JSON file. Its errors do not quote it: it may hold values.
func readJSON(file string, into any) error {
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	decoder := json.NewDecoder(io.LimitReader(opened, 1<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return usage("reading "+file+": it is not the JSON that is wanted", "see `custody upstream check --help`")
	}
	return nil
}
