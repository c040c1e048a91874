// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) statusCommand() *cobra.Command {
	choice, watch, exitCode := filterOptions{}, false, false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show the phase of the platform, its secrets and findings",
		Long: `Shows the phase of the platform, the evidence for it, what is missing for the next phase, and for each secret whether Git or the
authority holds its value: Git until the secret is handed over (imported), the authority from then on. The options filter the secrets
and their findings.

A running server answers from its last check of each secret. It checks each one at least every ten minutes; if all its consumers are
files without a check command, whose changes the server notices within a minute, every hour. The line "looks" appears if a check is more
than a minute old or has not happened yet. Without a server, the command reads the authority and the files of consumers.

With --exit-code, for monitoring, the exit code is 3 if there are findings: something that a person must look at. What a secret waits for
by design, such as a settle time or a maintenance window, is not a finding. Without --exit-code, findings do not change the exit code.

Each finding ends with the code of its reason in brackets. A code never changes its meaning: docs/operations.md explains each, and
scripts can compare it (-o json).

With --watch the output is shown again whenever it changes, until Ctrl-C; with -o json this is one document after another.`,
		Example: `  custody status
  custody status --findings
  custody status --watch
  custody status --exit-code > /dev/null || echo "somebody should look"
  custody status -o json | jq -r .standing.phase
  custody status -o json | jq '.findings[] | select(.code == "proof-missing") | .secret'`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			filter, err := choice.filter()
			if err != nil {
				return err
			}
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				found := 0
				err := a.watched(ctx, platform, watch, func(ctx context.Context) (bool, error) {
					status, err := platform.Status(ctx, filter)
					if err != nil {
						return true, err
					}
					found = len(status.Findings)
					return false, a.answer(status, func(p *printer) { p.status(status) })
				})
				if err == nil && exitCode && found > 0 {
					return &server.Problem{Class: server.Found, Text: plural(found, "finding"), Hint: "see them with `custody status --findings`; docs/operations.md explains each code"}
				}
				return err
			})
		}),
	}
	choice.add(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "show the output again whenever it changes, until interrupted")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with code 3 if there are findings")
	return cmd
}

// commit is which commit is believed, and how old that is.
func (p *printer) commit(s *server.Source) string {
	if s == nil {
		return ""
	}
	text := or(s.Commit, "none") + " of " + visible(s.Branch)
	if s.Signer != "" {
		text += ", signed by " + visible(s.Signer)
	}
	if fetched := p.when(s.Fetched); fetched != "" {
		text += ", fetched " + fetched
	}
	if s.Failed != "" {
		text += "; since then: " + visible(s.Failed)
	}
	return text
}

// lines are findings as they are shown: the text, and the code by which scripts and docs/operations.md know it.
func lines(findings []server.Finding) []string {
	texts := make([]string, len(findings))
	for i, finding := range findings {
		texts[i] = finding.String() + " [" + string(finding.Code) + "]"
	}
	return texts
}

func (p *printer) status(s server.Status) {
	phase := "none entered yet"
	if s.Standing.Phase >= 0 {
		phase = s.Standing.Phase.String()
	}
	serving := "no"
	if s.Serving {
		serving = "yes"
	}
	estate := s.Estate
	if since := p.when(s.EstateSince); since != "" {
		estate += ", since " + since
	}
	p.fields("platform", s.Platform, "environment", s.Environment, "phase", phase, "estate", estate, "commit", p.commit(s.Source),
		"authority", s.Authority, "incarnation", s.Incarnation, "serving", serving, "looks", p.age(s.Oldest, s.Unlooked))
	p.list("evidence:", s.Standing.Evidence)
	p.list("the next phase waits for:", s.Standing.WaitsFor)
	p.list("findings:", lines(s.Findings))
	if len(s.Secrets) == 0 {
		return
	}
	p.linef("")
	rows := make([][]string, 0, len(s.Secrets))
	for _, row := range s.Secrets {
		rows = append(rows, []string{row.Secret, row.Authority, row.State, or(row.Waiting.Said(), "-")})
	}
	p.table("STATE", []string{"SECRET", "AUTHORITY", "STATE", "WAITS BECAUSE"}, rows)
	p.linef("")
	p.linef("%s", fmt.Sprintf("%s; `custody inventory` shows owners and expiry", plural(len(s.Secrets), "secret")))
}
