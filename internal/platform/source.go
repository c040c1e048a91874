// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// Source is the repository that the estate is fetched from.
type Source interface {
	// Standing says where it stands, and Findings what a person should look at. Neither asks anybody.
	Standing() server.Source
	Findings() []reason.Reason
	// Accept believes the newest commit of the branch, which commit names, although it is older than the one believed or does not
	// descend from it. It is durable, and on record or owed to it, before it returns. Accepting it again is refused.
	Accept(ctx context.Context, by, reason, commit string) error
}

// AcceptCommit implements server.Service.
func (p *Platform) AcceptCommit(ctx context.Context, by, why, commit string) (server.Source, error) {
	if p.Source == nil {
		return server.Source{}, &server.Problem{
			Class: server.Refused, Text: "the estate of this host is read from a folder, which has no commits",
			Hint: "`custody status` says what is in force",
		}
	}
	if err := p.Source.Accept(ctx, by, why, commit); err != nil {
		return server.Source{}, err
	}
	p.Reload()
	p.Nudge()
	return p.Source.Standing(), nil
}

// EstateFiles implements server.Service.
func (p *Platform) EstateFiles(context.Context) (map[string][]byte, error) {
	estate, err := p.inForce()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, data := range estate.Files.All() {
		files[name] = data
	}
	return files, nil
}
