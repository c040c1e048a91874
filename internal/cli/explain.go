// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain SECRET",
		Short: "show everything about one secret except its value",
		Long: `Shows what a secret is for, whether Git or the authority holds its value, its policy, its last run and the reason for it, and what
happens next and when.`,
		Example: `  custody explain example-token
  custody explain db-password -o yaml`,
		Args:        takes("SECRET"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				e, err := platform.Explain(ctx, args[0])
				if err != nil {
					return err
				}
				return a.answer(e, func(p *printer) { p.explanation(e) })
			})
		}),
	}
}

func (p *printer) explanation(e server.Explanation) {
	owner := e.Team
	if e.Contact != "" && e.Contact != e.Team {
		owner += " (" + e.Contact + ")"
	}
	expires := p.expires(e.Row)
	if e.ExpiresBy != "" {
		expires += ", says its " + e.ExpiresBy
	}
	p.fields("secret", e.Secret, "purpose", e.Purpose, "owner", owner, "class", e.Class, "path", e.Path,
		"origin", e.Origin, "upstream", e.Upstream, "consumers", or(dependants(e.Row), "none"),
		"authority", e.Authority, "state", e.State, "version", e.Version, "provenance", provenance(e.Adopted), "rotated", or(p.when(e.Rotated), "never"),
		"expires", expires, "policy", policy(e.Class, e.Policy, e.Enforced), "waits because", e.Waiting.Said(), "reason", code(e.Waiting), "drift", e.Drift.Said(), "last tried", p.when(e.Checked), "next", e.Next)
	switch {
	case e.Live != nil:
		p.linef("")
		p.fields("live run", string(e.Live.ID), "step", string(e.Live.Step), "began", p.when(e.Live.Started),
			"asked by", e.Live.Trigger.By, "why", e.Live.Trigger.Reason)
	case e.Last != nil:
		p.linef("")
		p.fields("last run", string(e.Last.Run), "workflow", string(e.Last.Workflow), "result", string(e.Last.Result), "detail", e.Last.Detail,
			"ended", p.when(e.Last.Ended), "asked by", e.Last.Trigger.By, "why", e.Last.Trigger.Reason)
	}
	if len(e.Events) > 0 {
		p.linef("")
		p.events(e.Events, false)
	}
}

// provenance says of a value that Custody did not make where it comes from, "" for any other.
func provenance(adopted *journal.Decision) string {
	if adopted == nil {
		return ""
	}
	return fmt.Sprintf("adopted: somebody else wrote it as version %d; by %s: %s", adopted.Version.Number, adopted.By, adopted.Reason)
}

// code is that of a reason, "" for none.
func code(shown *reason.Shown) string {
	if shown == nil {
		return ""
	}
	return string(shown.Code)
}

// policy is the policy that is enforced, in a line.
func policy(class, name string, enforced *journal.Policy) string {
	switch {
	case class == "derived":
		return "none: computed again when one of its inputs changes"
	case enforced == nil:
		return or(name, "none: rotated only when somebody asks")
	}
	text := or(enforced.Name, "none") + ": " + enforced.RotationType
	if enforced.TTL > 0 {
		text += ", lives " + duration.Format(enforced.TTL) + ", replaced " + duration.Format(enforced.RotateBefore) + " before that"
	}
	if !enforced.RevokeOld {
		text += ", the old one is not revoked"
	}
	return text
}
