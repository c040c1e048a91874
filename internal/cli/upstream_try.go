// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) upstreamTryCommand() *cobra.Command {
	patience := wire.TrialPatience.String()
	cmd := &cobra.Command{
		Use:   "try FILE [-]",
		Short: "test a recipe of type http on the real service",
		Long: `Tests the recipe of an Upstream of type http on the real service. It creates a credential, verifies it, checks that a made-up credential
is refused, lists credentials, asks for uses, revokes the new credential, and checks that it is then refused. FILE has one Upstream
and, if the recipe needs parameters of the account or a password rule, one ManagedSecret; the ManagedSecret of the admin can be
in it too. Each request and each step is shown; no secret value is.

The created credential is removed at the end, also after an error or an interrupt. If that fails, the last line says so.

The command asks for the admin credential on the terminal, field by field, without showing it. With - it is read from standard input
as a JSON object of fields. It is never an argument. A recipe that overwrites also needs the current value:
{"admin": {…}, "current": {…}}.

A service may take longer to show a change than the settle time of the recipe. The test then keeps asking for two minutes, or for
--patience, and prints which settle time would be enough.

Exit code 3 means that the recipe does not work as declared on this service.`,
		Example: `  custody upstream try forge.yaml
  pass show forge/admin.json | custody upstream try forge.yaml -
  custody upstream try entra.yaml --patience 15m`,
		Annotations: map[string]string{answers: "yes"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "-" {
				return usage("upstream try takes a file, and - to read the admin credential from standard input", "a credential is never an argument")
			}
			return nil
		},
		RunE: a.run(func(ctx context.Context, args []string) error {
			asking, err := duration.Parse(patience)
			if err != nil || asking < 0 {
				return usage(fmt.Sprintf("--patience %q is not a time", visible(patience)), "write for example --patience 5m")
			}
			return a.upstreamTry(ctx, args[0], len(args) == 2, asking)
		}),
	}
	cmd.Flags().StringVar(&patience, "patience", patience, "keep asking for this `time` after the settle time")
	return cmd
}

// tried is the answer of try.
type tried struct {
	Steps []triedStep `json:"steps"`
}

type triedStep struct {
	Step    string `json:"step"`
	Request string `json:"request,omitempty"`
	Place   string `json:"place,omitempty"`
	Status  int    `json:"status,omitempty"`
	Means   string `json:"means,omitempty"`
	Took    string `json:"took"`
	Says    string `json:"says,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (a *app) upstreamTry(ctx context.Context, file string, stdin bool, patience time.Duration) error {
	text, err := readValue(file)
	if err != nil {
		return fmt.Errorf("reading the file: %w", err)
	}
	trial, err := wire.ReadTrial(text)
	if err != nil {
		return &server.Problem{Class: server.Usage, Text: err.Error(), Hint: "`custody upstream explain http` has examples"}
	}
	admin, current, err := a.trialCredentials(trial, stdin)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, progress := tried{Steps: []triedStep{}}, a.printer(a.err)
	failed := trial.Run(ctx, admin, current, patience, func(step wire.TrialStep) {
		one := triedStep{
			Step: step.Step, Request: step.Request, Place: step.Place, Status: step.Status, Means: step.Means,
			Took: step.Took.Round(time.Millisecond).String(), Says: step.Says,
		}
		if step.Err != nil {
			one.Error = step.Err.Error()
		}
		result.Steps = append(result.Steps, one)
		switch {
		case one.Means != "":
			progress.linef("           %s %s: %d, %s (%s)", one.Place, visible(one.Request), one.Status, one.Means, one.Took)
		case one.Error != "":
			progress.linef("FAILED     %s: %s", one.Step, visible(one.Error))
		default:
			progress.linef("ok         %s: %s (%s)", one.Step, visible(one.Says), one.Took)
		}
	})
	if failed == nil {
		return a.answer(result, func(p *printer) { p.linef("the recipe holds on this upstream; nothing was kept") })
	}
	if err := a.answer(result, func(*printer) {}); err != nil {
		return err
	}
	if errors.Is(failed, wire.ErrTrial) {
		return &server.Problem{Class: server.Found, Text: failed.Error(), Hint: "see the step that failed, and the recipe at the place of its requests"}
	}
	return failed
}

// trialCredentials takes the admin credential, and the current value where the recipe overwrites.
func (a *app) trialCredentials(trial *wire.UpstreamTrial, stdin bool) (admin, current secret.Value, err error) {
	var told map[string]secret.Value
	if stdin {
		told, err = a.trialInput(len(trial.Current()) > 0)
	} else {
		told, err = a.trialPrompts(trial)
	}
	if err != nil {
		return admin, current, err
	}
	admin, current = told["admin"], told["current"]
	for _, name := range slices.Sorted(maps.Keys(trial.Admin())) {
		if !admin.Has(name) {
			return admin, current, usage("the admin credential lacks the field "+name, "it is "+trial.Admin()[name])
		}
	}
	return admin, current, nil
}

// trialBoth is what standard input holds where a recipe overwrites.
const trialBoth = `write it so: {"admin": {"token": "..."}, "current": {"token": "..."}}`

// trialInput reads them from standard input; nothing of what was read is in an error.
func (a *app) trialInput(both bool) (map[string]secret.Value, error) {
	data, err := io.ReadAll(io.LimitReader(a.in, 2*secret.MaxBytes))
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	parts := map[string]json.RawMessage{"admin": bytes.TrimSpace(data)}
	if both {
		parts = nil
		if json.Unmarshal(data, &parts) != nil {
			return nil, usage("standard input is not a JSON object with the keys admin and current", trialBoth)
		}
		if len(parts["current"]) == 0 {
			return nil, usage("standard input lacks the current value, which a recipe that overwrites needs", trialBoth)
		}
	}
	out := map[string]secret.Value{}
	for _, name := range []string{"admin", "current"} {
		if len(parts[name]) == 0 {
			continue
		}
		if out[name], err = secret.Decode(parts[name]); err != nil {
			return nil, usage("standard input is not a JSON object whose fields are text", `write it so: {"token": "..."}`)
		}
	}
	return out, nil
}

// trialPrompts asks for each field on the terminal, once, without showing what is typed.
func (a *app) trialPrompts(trial *wire.UpstreamTrial) (map[string]secret.Value, error) {
	out := map[string]secret.Value{}
	ask := func(part, name, means string) error {
		fd, ok := terminal(a.in)
		if !ok {
			return usage("there is no terminal to ask for the credential", "use - to read a JSON object of fields from standard input")
		}
		typed, err := a.hidden(fd, fmt.Sprintf("%s, field %s (%s): ", part, name, visible(means)), "a value of several lines goes by standard input (-)")
		if err != nil {
			return err
		}
		out[part], err = out[part].With(name, typed)
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(trial.Admin())) {
		if err := ask("admin", name, trial.Admin()[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range trial.Current() {
		if err := ask("current", name, "the value that is honoured now"); err != nil {
			return nil, err
		}
	}
	return out, nil
}
