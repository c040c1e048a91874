// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

func (a *app) lintCommand() *cobra.Command {
	environment, explain := "", ""
	cmd := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "check the estate (configuration) for faults",
		Long: `Checks the estate in DIR. For each fault it prints the place, the rule, the reason and the fix. Without DIR it checks the estate of
this host and the host file. With DIR it uses a host file only if you name one (--host or $CUSTODY_HOST). It checks all environments
unless you choose one.

Without a host file, as in CI, it lists what it could not check: the names of folders, reloads, checks, users and programs, which only
a machine knows. A name that only this machine lacks is a fault too; the secret or consumer that uses it waits, and the rest of the
estate can be in force. Missing grants (see custody grant) are listed, but are not faults.

Exit code 3 means that there are faults. Any other exit code except 0 means that the estate could not be checked.`,
		Example: `  custody lint
  custody lint estate -o json
  custody lint --explain path-duplicate`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			if explain != "" {
				return a.explainRule(explain)
			}
			return a.lint(ctx, args, environment)
		}),
	}
	cmd.Flags().StringVar(&environment, "environment", "", "check this `environment` only")
	cmd.Flags().StringVar(&explain, "explain", "", "print what a `rule` checks and why, and exit")
	return cmd
}

// linted is the answer of lint.
type linted struct {
	Estate string         `json:"estate"`
	Faults []intent.Fault `json:"faults"`
	// NotChecked says what could not be looked at, and why.
	NotChecked []string `json:"notChecked,omitempty"`
	// NotGranted is what the estate asks for and the platform's operator has not granted. It is no fault of the estate.
	NotGranted []grant.Need `json:"notGranted,omitempty"`
}

func (a *app) lint(ctx context.Context, args []string, environment string) error {
	result := linted{Faults: []intent.Fault{}}
	host, err := a.lintedHost(args, &result)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		result.Estate = args[0]
	}
	if result.Estate != "" {
		if err := result.estate(ctx, host, environment); err != nil {
			return err
		}
	}
	err = a.answer(result, func(p *printer) {
		for _, fault := range result.Faults {
			p.linef("%s", fault)
			p.linef("    fix: %s", fault.Fix)
			if fault.Here {
				held := "the secret"
				if fault.Consumer != "" {
					held = "consumer " + fault.Consumer
				}
				p.linef("    on this machine only: %s waits, and the rest of the estate can be in force", held)
			}
			if fault.Unsealed {
				p.linef("    until then the secret is not handed over, if it was not before; the rest of the estate can be in force")
			}
		}
		for _, need := range result.NotGranted {
			p.linef("%s", visible(need.Finding().Text()))
		}
		for _, what := range result.NotChecked {
			p.linef("not checked: %s", what)
		}
		if len(result.Faults) == 0 {
			p.linef("%s: no faults", or(result.Estate, "the host file"))
		}
	})
	if err == nil && len(result.Faults) > 0 {
		return &server.Problem{Class: server.Found, Text: plural(len(result.Faults), "fault"), Hint: "`custody lint --explain RULE` says what a rule checks and why"}
	}
	return err
}

// lintedHost reads the host file where it counts, and takes the estate's place from it. A host that has faults is no use
// for judging the estate.
func (a *app) lintedHost(args []string, result *linted) (*v1alpha1.HostSpec, error) {
	if len(args) == 1 && !a.hostNamed() {
		return nil, nil
	}
	file := a.hostFile()
	if err := wire.TrustHost(file); err != nil { // serve would not use it either
		return nil, err
	}
	host, faults, err := intent.LoadHost(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &server.Problem{Class: server.NotFound, Text: "there is no host file " + file, Hint: "name the estate's folder: custody lint DIR"}
	}
	if err != nil {
		return nil, err
	}
	result.Faults = append(result.Faults, faults...)
	if result.Estate = near(host.Spec.Estate); host.Spec.Git != nil {
		result.Estate = ""
		if len(args) == 0 {
			result.NotChecked = append(result.NotChecked, "the estate: this host reads it from Git; in a checkout of it: `custody lint DIR`, with --host for what this machine has")
		}
	}
	if len(faults) > 0 {
		return nil, nil
	}
	return &host.Spec, nil
}

// estate adds the estate's faults: in every environment as declared, and on this host in the host's own.
func (l *linted) estate(ctx context.Context, host *v1alpha1.HostSpec, environment string) error {
	looks := []intent.Options{{Environment: environment, Types: kinds.Upstreams(), Check: wire.CheckEstate}}
	if host != nil {
		looks = append(looks, intent.Options{Environment: cmp.Or(environment, host.Environment), Types: kinds.Upstreams(), Host: host, Privileged: os.Geteuid() == 0, Check: wire.CheckEstate})
	}
	for _, options := range looks {
		type read struct {
			estate *intent.Estate
			faults []intent.Fault
		}
		found, err := wire.WithinBounds(ctx, l.Estate, func() (read, error) {
			estate, faults, err := intent.Load(l.Estate, options)
			return read{estate, faults}, err
		})
		estate, faults := found.estate, found.faults
		if err != nil {
			return fmt.Errorf("linting %s: %w", l.Estate, err)
		}
		if estate != nil && options.Host != nil {
			faults = append(faults, wire.CheckHere(estate, *options.Host)...)
			if err := l.notGranted(estate, *options.Host); err != nil {
				return err
			}
		}
		if host == nil {
			l.NotChecked = notChecked(estate)
		}
		before := l.Faults
		for _, fault := range faults {
			fault.File = filepath.Join(l.Estate, fault.File)
			if !slices.ContainsFunc(before, func(f intent.Fault) bool { return same(f, fault) }) {
				l.Faults = append(l.Faults, fault)
			}
		}
	}
	return nil
}

// notGranted adds what the estate asks for that is not granted on the host, where that can be known.
func (l *linted) notGranted(estate *intent.Estate, host v1alpha1.HostSpec) error {
	granted, err := wire.Granted(host)
	if err != nil {
		return err
	}
	if granted == nil {
		l.NotChecked = append(l.NotChecked, "grants: the host file names no grants file, and there is no copy by the platform that this user can read")
		return nil
	}
	l.NotGranted = granted.Missing(grant.Needed(estate))
	for i := range l.NotGranted {
		l.NotGranted[i].NeverRan = wire.NeverRan(host)
	}
	return nil
}

// notChecked says what only a host file could answer.
func notChecked(estate *intent.Estate) []string {
	if estate == nil {
		return []string{"the names that consumers take from a host file: no host file was given, and the estate has faults"}
	}
	picked := map[string]map[string]bool{}
	pick := func(what, name string) {
		if name != "" {
			if picked[what] == nil {
				picked[what] = map[string]bool{}
			}
			picked[what][name] = true
		}
	}
	for _, declared := range estate.Secrets {
		for _, consumer := range declared.Consumers {
			if file := consumer.File; file != nil {
				pick("folders", file.Folder)
				pick("reloads", file.Reload)
				pick("checks", file.Check)
				pick("users", file.User)
				pick("groups", file.Group)
			}
		}
	}
	for _, declared := range estate.Upstreams {
		t, server := estate.TypeOf(declared.Spec)
		for _, named := range t.Picks(server) {
			pick(named.From+"s", named.Name)
		}
	}
	var out []string
	for _, what := range slices.Sorted(maps.Keys(picked)) {
		out = append(out, fmt.Sprintf("whether a machine has the %s %s: no host file was given (--host)", what, strings.Join(slices.Sorted(maps.Keys(picked[what])), ", ")))
	}
	return out
}

// same tells one fault that was found in two looks, which may word its environment differently.
func same(a, b intent.Fault) bool {
	a.Reason, b.Reason = "", ""
	return a == b
}

// near is a path from the working folder where that is shorter.
func near(path string) string {
	if working, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(working, path); err == nil && len(relative) < len(path) {
			return relative
		}
	}
	return path
}

func (a *app) explainRule(id string) error {
	rule, ok := intent.FindRule(id)
	if !ok {
		return &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("there is no rule %q", visible(id)), Hint: "docs/lint.md lists them"}
	}
	return a.answer(rule, func(p *printer) {
		p.linef("%s (%s)", rule.ID, rule.Group)
		p.fields("checks", rule.Checks, "why", rule.Why, "fix", rule.Fix)
	})
}
