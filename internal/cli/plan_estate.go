// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/change"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

// proposal are the options of `custody plan --estate`.
type proposal struct{ estate, against, environment string }

// proposed is the answer of `custody plan --estate`.
type proposed struct {
	Estate  string          `json:"estate"`
	Against string          `json:"against"`
	Changes []change.Change `json:"changes"`
	Removes int             `json:"removes"`
	Revokes int             `json:"revokes"`
	// NotGranted is what the estate asks for besides and nobody has granted.
	NotGranted []grant.Need `json:"notGranted,omitempty"`
	// Faults keep what they are about out of force.
	Faults []intent.Fault `json:"faults,omitempty"`
	// NotKnown says what could not be foreseen, and why.
	NotKnown []string `json:"notKnown,omitempty"`
}

// propose compares a checkout with the estate in force, or with another checkout.
func (a *app) propose(ctx context.Context, wanted proposal) error {
	result := proposed{Estate: wanted.estate, Against: wanted.against, Changes: []change.Change{}}
	if wanted.against != "" {
		return a.proposeAgainst(ctx, wanted, &result)
	}
	host, err := wire.LoadHost(a.hostFile())
	if err != nil {
		return err
	}
	return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
		kept, err := platform.EstateFiles(ctx)
		if err != nil {
			return err
		}
		files, err := intent.OfCopy(kept)
		if err != nil {
			return err
		}
		options := optionsFor(&host)
		before, faults := files.Load(options)
		if before == nil {
			return &server.Problem{Class: server.Found, Text: "the estate in force does not load here: " + faults[0].String(), Hint: "use the same version of Custody as the server: `custody version`"}
		}
		result.Against = "the estate in force"
		facts, err := factsOf(ctx, platform)
		if err != nil {
			return err
		}
		after, err := result.load(ctx, wanted.estate, files, options)
		if err != nil || after == nil {
			return a.showProposed(result, err)
		}
		result.compare(before, after, facts)
		granted, err := platform.Granted(ctx)
		if err != nil {
			return err
		}
		result.notGranted(after, granted.Granted)
		return a.showProposed(result, nil)
	})
}

// proposeAgainst needs no platform.
func (a *app) proposeAgainst(ctx context.Context, wanted proposal, result *proposed) error {
	options := optionsFor(nil)
	options.Environment = wanted.environment
	found, err := readCheckout(ctx, wanted.against)
	if err != nil {
		return err
	}
	before, faults := found.Load(options)
	if before == nil {
		return &server.Problem{Class: server.Found, Text: filepath.Join(wanted.against, faults[0].String()), Hint: "compare with an estate that lints: `custody lint DIR`"}
	}
	result.NotKnown = append(result.NotKnown, "what would be rotated at once, and which grants are missing: no platform was asked")
	after, err := result.load(ctx, wanted.estate, found, options)
	if err == nil && after != nil {
		result.compare(before, after, nil)
	}
	return a.showProposed(*result, err)
}

func optionsFor(host *v1alpha1.HostSpec) intent.Options {
	options := intent.Options{Types: kinds.Upstreams(), Check: wire.CheckEstate, At: wire.Now()}
	if host != nil {
		options.Environment, options.Host, options.Privileged = host.Environment, host, os.Geteuid() == 0
	}
	return options
}

func readCheckout(ctx context.Context, folder string) (*intent.Files, error) {
	return wire.WithinBounds(ctx, folder, func() (*intent.Files, error) { return intent.Read(folder) })
}

// load reads the checkout, as it would be in force after before.
func (r *proposed) load(ctx context.Context, folder string, before *intent.Files, options intent.Options) (*intent.Estate, error) {
	newest, err := readCheckout(ctx, folder)
	if err != nil {
		return nil, err
	}
	estate, faults := newest.LoadOver(before, options)
	for _, fault := range faults {
		fault.File = filepath.Join(folder, fault.File)
		r.Faults = append(r.Faults, fault)
	}
	return estate, nil
}

func (r *proposed) compare(before, after *intent.Estate, facts change.Facts) {
	if found := change.Between(before, after, facts, wire.Now()); found != nil {
		r.Changes = found
	}
	r.Removes, r.Revokes = change.Counts(r.Changes)
}

func (r *proposed) notGranted(after *intent.Estate, granted []grant.Entry) {
	set := grant.Set{}
	for _, entry := range granted {
		set[entry.Grant] = true
	}
	r.NotGranted = set.Missing(grant.Needed(after))
}

// factsOf asks the platform what it knows of each secret.
func factsOf(ctx context.Context, platform *wire.Connection) (change.Facts, error) {
	status, err := platform.Status(ctx, server.Filter{})
	if err != nil {
		return nil, err
	}
	facts := change.Facts{}
	for _, row := range status.Secrets {
		facts[row.Secret] = change.Fact{Rotated: row.Rotated, Running: row.Live != nil}
	}
	return facts, nil
}

func (a *app) showProposed(result proposed, err error) error {
	if err != nil {
		return err
	}
	if err := a.answer(result, func(p *printer) { p.proposed(result) }); err != nil {
		return err
	}
	switch {
	case len(result.Faults) > 0:
		return &server.Problem{Class: server.Found, Text: plural(len(result.Faults), "fault"), Hint: "`custody lint --explain RULE` says what a rule checks and why"}
	case result.Removes+result.Revokes > 0:
		return &server.Problem{
			Class: server.Removes, Text: "the change takes something away: " + plural(result.Removes, "removal") + ", " + plural(result.Revokes, "revocation"),
			Hint: "review each of them before you merge the change",
		}
	}
	return nil
}

func (p *printer) proposed(r proposed) {
	for _, c := range r.Changes {
		p.linef("%s: %s", c.Secret, c.What)
		for _, effect := range c.Effects {
			mark := "  "
			if effect.Removes {
				mark = "- "
			} else if effect.Revokes {
				mark = "! "
			}
			p.linef("  %s%s", mark, visible(effect.Text))
		}
	}
	for _, need := range r.NotGranted {
		p.linef("%s", visible(need.Finding().Text()))
	}
	for _, fault := range r.Faults {
		p.linef("%s", fault)
		p.linef("    fix: %s", fault.Fix)
	}
	for _, what := range r.NotKnown {
		p.linef("not known: %s", what)
	}
	if len(r.Changes) == 0 && len(r.Faults) == 0 {
		p.linef("nothing would change")
		return
	}
	p.linef("%s in %s against %s; %s, %s", plural(len(r.Changes), "changed secret"), r.Estate, r.Against, plural(r.Removes, "removal"), plural(r.Revokes, "revocation"))
}
