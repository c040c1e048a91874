// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/server"
)

// sight gathers what owners are to be told from the rows of a survey.
type sight struct {
	owners  map[notify.Owner]bool
	unknown map[string]bool
}

func newSight() *sight { return &sight{map[notify.Owner]bool{}, map[string]bool{}} }

func (s *sight) row(row inventory.Row) {
	if row.Authority == "undeclared" {
		return
	}
	s.owners[notify.Owner{Team: row.Team, Contact: row.Contact}] = true
	if row.Looked.IsZero() {
		s.unknown[row.Secret] = true
	}
}

// seen are the findings with whose each is: of a secret that no document declares, and of the platform, its operator's.
func (s *sight) seen(p *Platform, findings []server.Finding) notify.Seen {
	estate := p.Estate()
	seen := notify.Seen{At: p.Now(), Unknown: s.unknown, Blind: estate == nil}
	for _, finding := range findings {
		one := notify.Finding{Secret: finding.Secret, Reason: finding.Reason}
		if estate != nil && finding.Secret != "" {
			if declared, ok := estate.ByName(finding.Secret); ok {
				one.Owner = notify.Owner{Team: declared.Spec.Owner.Team, Contact: declared.Spec.Owner.Contact}
			}
		}
		seen.Findings = append(seen.Findings, one)
	}
	seen.Owners = slices.SortedFunc(maps.Keys(s.owners), func(a, b notify.Owner) int {
		return strings.Compare(a.Team+"\x00"+a.Contact, b.Team+"\x00"+b.Contact)
	})
	return seen
}

func (p *Platform) see(ctx context.Context) (notify.Seen, error) {
	sight := newSight()
	status, err := p.survey(ctx, func(row inventory.Row, _ []server.Finding) bool {
		sight.row(row)
		return true
	})
	return sight.seen(p, status.Findings), err
}

var errNoTargets = &server.Problem{
	Class: server.Refused, Text: "nobody is notified of findings: the host file has no notifications",
	Hint: "write targets under notifications in the host file, and start custody again; docs/notifications.md has an example",
}

// Notifications implements server.Service.
func (p *Platform) Notifications(ctx context.Context) (notify.Listing, error) {
	if p.Notifier == nil {
		return notify.Listing{}, errNoTargets
	}
	seen, err := p.see(ctx)
	if err != nil {
		return notify.Listing{}, err
	}
	return p.Notifier.List(ctx, seen)
}

// TestNotification implements server.Service.
func (p *Platform) TestNotification(ctx context.Context, by, team string) ([]notify.Tried, error) {
	if p.Notifier == nil {
		return nil, errNoTargets
	}
	seen, err := p.see(ctx)
	if err != nil {
		return nil, err
	}
	tried := p.Notifier.Test(ctx, seen, team, by)
	if len(tried) > 0 {
		return tried, nil
	}
	if team == "" {
		return nil, &server.Problem{
			Class: server.Refused, Text: "the host file names no default target", Hint: "name a team: custody notify test --owner TEAM; or list who is notified where: " + next.ListNotifications(),
		}
	}
	return nil, &server.Problem{Class: server.NotFound, Text: "nobody is notified of the findings of " + team, Hint: "list who is notified where: " + next.ListNotifications()}
}
