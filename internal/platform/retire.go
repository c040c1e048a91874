// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/server"
)

// Retire implements server.Service. That somebody asked for it is on record before the journal has it.
func (p *Platform) Retire(ctx context.Context, by, secretName string, ask server.RetireRequest) (server.Retirement, error) {
	estate, err := p.inForce()
	if err != nil {
		return server.Retirement{}, err
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return server.Retirement{}, missing("secret", secretName)
	}
	entry, err := p.Journal.Load(ctx, declared.Path)
	if err != nil {
		return server.Retirement{}, err
	}
	if !estate.Leaving[declared.Name] && !entry.Retires() {
		return server.Retirement{}, &server.Problem{
			Class: server.Refused, Text: declared.Name + " is not retired: the estate declares it",
			Hint: "remove its document from the estate first; then Custody keeps rotating and delivering it until you retire it",
		}
	}
	ends := server.Retirement{Secret: declared.Name, Grace: duration.Format(estate.PolicyOf(declared).RetireGrace)}
	for _, consumer := range declared.Consumers {
		ends.Consumers = append(ends.Consumers, consumer.Name)
	}
	if upstream, has := estate.UpstreamOf(declared); has && !ask.WithoutRevoking {
		ends.Upstream = upstream.Metadata.Name
	}
	if entry.Current != nil {
		ends.Version = entry.Current.String()
	}
	if entry.Leaving != nil {
		ends.Since = entry.Leaving.Since
	}
	if ask.Dry {
		return ends, nil
	}
	asked := audit.Event{Step: "retire", Secret: declared.Name, Path: declared.Path, By: by, Reason: ask.Reason}
	if ask.WithoutRevoking {
		asked.Detail = "without revoking its credential"
	}
	if ask.AlthoughUsed {
		asked.Detail = "although it is still used"
	}
	return ends, p.recorded(ctx, asked, func() error {
		return p.Orchestrator.Retire(ctx, declared.Path, journal.Asked{
			By: by, Reason: ask.Reason, WithoutRevoking: ask.WithoutRevoking, AlthoughUsed: ask.AlthoughUsed,
		})
	})
}
