// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"slices"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// Grants are what the platform's operator granted; see grant.Book.
type Grants interface {
	// Refresh takes up what changed, and reports whether anything did.
	Refresh(ctx context.Context) bool
	// Entries returns what is granted, and what is wrong with where that is read from.
	Entries() (entries []grant.Entry, fault error)
	// Known is Missing by the histories as they were read last: it asks nobody.
	Known(estate *intent.Estate) []grant.Need
	// Missing is what the estate asks for and is not granted.
	Missing(ctx context.Context, estate *intent.Estate) ([]grant.Need, error)
	Add(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error)
	Revoke(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error)
}

// Granted implements server.Service.
func (p *Platform) Granted(ctx context.Context) (server.Grants, error) {
	entries, fault := p.Grants.Entries()
	missing, err := p.missingGrants(ctx, p.Estate())
	if err != nil {
		return server.Grants{}, err
	}
	strangers, err := p.Orchestrator.Strangers(ctx)
	for _, s := range strangers {
		missing = append(missing, grant.Need{Grant: grant.ToUpstream(s.Subject.Secret, s.SentTo), Holds: []string{s.Subject.Secret}})
	}
	granted := server.Grants{Granted: entries, Missing: missing, Damaged: errors.Is(fault, grant.ErrUnreadable)}
	if fault != nil {
		granted.Fault = fault.Error()
	}
	return granted, err
}

func (p *Platform) missingGrants(ctx context.Context, estate *intent.Estate) ([]grant.Need, error) {
	if estate == nil {
		return nil, nil
	}
	return p.Grants.Missing(ctx, estate)
}

// Grant implements server.Service.
func (p *Platform) Grant(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error) {
	if err := p.refuseWhileRecovering(); err != nil { // it would be in force, and the record takes no event of it
		return nil, err
	}
	return p.regrant(grants, func() ([]grant.Entry, error) { return p.Grants.Add(ctx, by, reason, grants) })
}

// Revoke implements server.Service. It is allowed while the platform is recovering, since it gives nobody anything; its event
// goes on record once that takes some.
func (p *Platform) Revoke(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error) {
	if err := wellFormed(grants); err != nil {
		return nil, err
	}
	entries, _ := p.Grants.Entries()
	for _, g := range grants {
		if !slices.ContainsFunc(entries, func(e grant.Entry) bool { return e.Grant == g }) {
			return nil, &server.Problem{Class: server.NotFound, Text: "it is not granted: " + g.String(), Hint: "`custody grant list` says what is"}
		}
	}
	return p.regrant(grants, func() ([]grant.Entry, error) { return p.Grants.Revoke(ctx, by, reason, grants) })
}

// regrant changes what is granted, and has the estate in force held to that before it answers.
func (p *Platform) regrant(grants []grant.Grant, change func() ([]grant.Entry, error)) ([]grant.Entry, error) {
	if err := wellFormed(grants); err != nil {
		return nil, err
	}
	changed, err := change()
	if err != nil {
		return nil, err
	}
	p.Reload()
	p.Nudge()
	return changed, nil
}

func wellFormed(grants []grant.Grant) error {
	for _, g := range grants {
		if err := g.Check(); err != nil {
			return &server.Problem{Class: server.Usage, Text: err.Error(), Hint: "see `custody grant --help`"}
		}
	}
	return nil
}

// ungranted are the findings about what is not granted.
func (p *Platform) ungranted(ctx context.Context, estate *intent.Estate) ([]server.Finding, error) {
	_, fault := p.Grants.Entries()
	var found []server.Finding
	if fault != nil {
		why := reason.New(reason.GrantsUnused, nil)
		if errors.Is(fault, grant.ErrUnreadable) {
			why = reason.New(reason.GrantsUnreadable, nil)
		}
		found = append(found, server.NewFinding("", why.Because(fault.Error())))
	}
	var missing []grant.Need
	var err error
	if p.Served() && estate != nil {
		missing = p.Grants.Known(estate)
	} else {
		missing, err = p.missingGrants(ctx, estate)
	}
	for _, need := range missing {
		found = append(found, server.NewFinding("", need.Finding()))
	}
	if err != nil {
		return found, err
	}
	barred, err := p.barred(ctx, estate)
	return append(found, barred...), err
}
