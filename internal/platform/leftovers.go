// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// Leftovers are files that hold values of this authority and that nobody is to read any more: no consumer of the estate is for
// them, or the one that is may not have the value.
type Leftovers interface {
	// Find returns them in the order of their names, and says where it could not look.
	Find(ctx context.Context, estate *intent.Estate) (found []server.Leftover, unseen []string, err error)
	// Barred returns those of them that a consumer of the estate has which may not have the value, and looks at no other file.
	Barred(ctx context.Context, estate *intent.Estate) ([]server.Leftover, error)
	// Withdraw removes the file, by its absolute name, if it is one of them and still is what was delivered; an error says
	// why it is not, and then nothing was removed. With dry nothing is removed in any case. Of a folder that hangs it is
	// not known whether the removal takes effect.
	Withdraw(ctx context.Context, estate *intent.Estate, file string, dry bool) (server.Leftover, error)
}

// clearEvery is how often it is looked whether a file is left, and clearAgain how soon after one could not be removed yet: a look
// reads every folder of the host, so it is made neither with each estate nor with each secret.
const (
	clearEvery = 10 * time.Minute
	clearAgain = 30 * time.Second
)

// ClearLeft removes files that were delivered to consumers which the estate no longer has, each once its secret is proven
// to be with every consumer that it has. Each removal is on record. What was changed since it was delivered, what a reader holds on to, what
// a consumer has that may not have it, and what is of a secret that is not declared stay, and are findings. Unless it is to
// be done at once, it does nothing before it is due: after the estate changed, and every ten minutes.
func (p *Platform) ClearLeft(ctx context.Context, atOnce bool) error {
	estate, now := p.Estate(), p.Now()
	p.mu.Lock()
	due := atOnce || !now.Before(p.clearAt)
	p.mu.Unlock()
	if !due || estate == nil || p.Leftovers == nil || p.Recovering() != "" {
		return nil
	}
	found, _, err := p.Leftovers.Find(ctx, estate)
	if err != nil {
		return err
	}
	again := now.Add(clearEvery)
	declared := map[authority.Path]bool{}
	for name, s := range estate.Secrets {
		declared[s.Path] = !estate.Leaving[name]
	}
	var faults []error
	for _, left := range found {
		if left.Barred || !declared[left.Path] {
			continue
		}
		proven, err := p.Orchestrator.Proven(ctx, left.Path)
		if err == nil && !proven {
			again = now.Add(clearAgain)
		}
		if err != nil || !proven {
			faults = append(faults, err)
			continue
		}
		if _, err := p.Leftovers.Withdraw(ctx, estate, left.File, true); err != nil {
			continue // a finding says so
		}
		faults = append(faults, p.recorded(ctx, audit.Event{
			Step: "withdrawn", Secret: left.Secret, Path: left.Path, Version: &left.Version, By: "estate", Reason: left.Why, Detail: left.File,
		}, func() error {
			_, err := p.Leftovers.Withdraw(ctx, estate, left.File, false)
			return err
		}))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.estate == estate { // else another was put in force meanwhile
		p.clearAt = again
	}
	return errors.Join(faults...)
}

// leftovers are the findings about them.
func (p *Platform) leftovers(ctx context.Context, estate *intent.Estate) ([]server.Finding, error) {
	if p.Leftovers == nil {
		return nil, nil
	}
	found, texts, err := p.Leftovers.Find(ctx, estate)
	if err != nil {
		return nil, err
	}
	findings := make([]server.Finding, 0, len(texts)+len(found))
	for _, text := range texts {
		findings = append(findings, server.NewFinding("", reason.New(reason.FilesUnseen, nil).Because(text)))
	}
	return append(findings, ofLeftovers(found)...), nil
}

// barred are the findings about files that consumers still have which are held.
func (p *Platform) barred(ctx context.Context, estate *intent.Estate) ([]server.Finding, error) {
	if p.Leftovers == nil || estate == nil {
		return nil, nil
	}
	found, err := p.Leftovers.Barred(ctx, estate)
	return ofLeftovers(found), err
}

func ofLeftovers(found []server.Leftover) []server.Finding {
	findings := make([]server.Finding, 0, len(found))
	for _, left := range found {
		findings = append(findings, server.NewFinding("", reason.New(reason.FileLeft, reason.Args{
			"file": left.File, "contents": left.Contents(), "why": left.Why, "withdraw": next.Word(left.File),
		})))
	}
	return findings
}

// Withdraw implements server.Service.
func (p *Platform) Withdraw(ctx context.Context, by, file, reason string, dry bool) (server.Leftover, error) {
	estate, err := p.inForce()
	if err != nil {
		return server.Leftover{}, err
	}
	if p.Leftovers == nil {
		return server.Leftover{}, missing("file", file)
	}
	left, err := p.Leftovers.Withdraw(ctx, estate, file, true)
	if err != nil || dry {
		return left, err
	}
	asked := audit.Event{
		Step: "withdraw", Secret: left.Secret, Path: left.Path, Version: &left.Version, By: by, Reason: reason, Detail: left.File,
	}
	return left, p.recorded(ctx, asked, func() error {
		_, err := p.Leftovers.Withdraw(ctx, estate, file, false)
		return err
	})
}
