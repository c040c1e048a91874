// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"

	"custody.dev/custody/internal/audit"
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

// leftovers are the findings about them. They are not removed unasked: somebody may still read them, and only people know
// whether that one has moved.
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
