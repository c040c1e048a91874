// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// Fleet are the agents that deliver on other machines.
type Fleet interface {
	// Invite makes a one-time token for a machine.
	Invite(ctx context.Context, by, machine, reason string, lasts time.Duration) (server.Invitation, error)
	// List are the machines on record, with who of them is connected; Consumers is left to the caller.
	List(ctx context.Context) ([]server.Agent, error)
	// Revoke takes a machine's right away and ends its session; false where it had none.
	Revoke(ctx context.Context, by, machine, reason string) (bool, error)
	// Away is since when the agent of a machine has been away: its last session's end, or the server's start. Zero while it is connected.
	Away(machine string) time.Time
}

const (
	// shortestInvitation and longestInvitation bound how long a token is good.
	shortestInvitation = time.Minute
	longestInvitation  = 7 * duration.Day
	// awayFor is how long an agent may be away before that is a finding: one that starts again is back within seconds.
	awayFor = 30 * time.Second
)

var errNoAgents = &server.Problem{
	Class: server.Refused, Text: "this platform has no agents: the host file does not say where they connect",
	Hint: "add to spec of the host file: agents: {listen: \"0.0.0.0:8471\"}, and start the server again; docs/agents.md has an example",
}

// InviteAgent implements server.Service.
func (p *Platform) InviteAgent(ctx context.Context, by, machine, why string, lasts time.Duration) (server.Invitation, error) {
	switch {
	case p.Fleet == nil:
		return server.Invitation{}, errNoAgents
	case lasts < shortestInvitation || lasts > longestInvitation:
		return server.Invitation{}, &server.Problem{Class: server.Usage, Text: "a token is good for a minute at least and for 7 days at most", Hint: "give a time such as --for 1h"}
	}
	if err := agent.CheckName(machine); err != nil {
		return server.Invitation{}, &server.Problem{Class: server.Usage, Text: err.Error(), Hint: "it is the name in metadata of the agent's configuration"}
	}
	return p.Fleet.Invite(ctx, by, machine, why, lasts)
}

// RevokeAgent implements server.Service.
func (p *Platform) RevokeAgent(ctx context.Context, by, machine, why string) (bool, error) {
	if p.Fleet == nil {
		return false, errNoAgents
	}
	return p.Fleet.Revoke(ctx, by, machine, why)
}

// Agents implements server.Service.
func (p *Platform) Agents(ctx context.Context) ([]server.Agent, error) {
	if p.Fleet == nil {
		return nil, errNoAgents
	}
	list, err := p.Fleet.List(ctx)
	if err != nil {
		return nil, err
	}
	on := machines(p.Estate())
	for i := range list {
		list[i].Consumers = on[list[i].Machine]
		delete(on, list[i].Machine)
	}
	for _, machine := range slices.Sorted(maps.Keys(on)) {
		list = append(list, server.Agent{Machine: machine, State: server.AgentUnknown, Consumers: on[machine]})
	}
	return list, nil
}

// machines counts the consumers on each other machine.
func machines(estate *intent.Estate) map[string]int {
	on := map[string]int{}
	if estate == nil {
		return on
	}
	for _, declared := range estate.Secrets {
		for _, consumer := range declared.Consumers {
			if consumer.Machine != "" {
				on[consumer.Machine]++
			}
		}
	}
	return on
}

// awayAgents are the findings about machines that have consumers and whose agents are away. Without a server nobody can tell.
func (p *Platform) awayAgents(estate *intent.Estate, now time.Time) []server.Finding {
	if p.Fleet == nil || !p.Served() {
		return nil
	}
	var found []server.Finding
	on := machines(estate)
	for _, machine := range slices.Sorted(maps.Keys(on)) {
		since := p.Fleet.Away(machine)
		if since.IsZero() || now.Sub(since) < awayFor {
			continue
		}
		found = append(found, server.NewFinding("", reason.New(reason.AgentAway, reason.Args{
			"machine": machine, "since": at(since), "consumers": fmt.Sprint(on[machine]),
		})))
	}
	return found
}

// Connected says of each machine that has consumers whether its agent is connected. It asks nobody.
func (p *Platform) Connected() map[string]bool {
	connected := map[string]bool{}
	if p.Fleet != nil {
		for machine := range machines(p.Estate()) {
			connected[machine] = p.Fleet.Away(machine).IsZero()
		}
	}
	return connected
}

// RecordAgent puts a change of a machine's agent on record before it does it, and that it failed, if it does.
func (p *Platform) RecordAgent(ctx context.Context, step, machine, by, why, detail string, do func() error) error {
	text := "machine " + machine
	if detail != "" {
		text += ", " + detail
	}
	return p.recorded(ctx, audit.Event{Step: step, By: by, Reason: why, Detail: text}, do)
}
