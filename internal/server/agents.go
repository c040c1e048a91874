// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Invitation lets the agent of a machine enroll. The token is good once; it is in no other answer.
type Invitation struct {
	Machine string    `json:"machine"`
	Token   string    `json:"token"`
	Until   time.Time `json:"until"`
	// Listen is the address at which the server listens for agents.
	Listen string `json:"listen"`
}

// Agent is a machine that secrets are delivered to by its agent.
type Agent struct {
	Machine string `json:"machine"`
	// State is connected, away, invited, revoked or unknown: a consumer is on it, and it was never invited.
	State string `json:"state"`
	// Since is when it connected, or when it was there last; zero where the server has not seen it since it started.
	Since    time.Time `json:"since,omitzero"`
	Enrolled time.Time `json:"enrolled,omitzero"`
	// Invited is until when its token is good, where it was not used.
	Invited time.Time `json:"invited,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
	// Version is that of its program, and Skew how far its clock is ahead, while it is connected.
	Version string        `json:"version,omitempty"`
	Skew    time.Duration `json:"skew,omitempty"`
	// Consumers are how many the estate in force has there.
	Consumers int `json:"consumers"`
}

// States of an Agent.
const (
	AgentConnected = "connected"
	AgentAway      = "away"
	AgentInvited   = "invited"
	AgentRevoked   = "revoked"
	AgentUnknown   = "unknown"
)

// invitation asks for one.
type invitation struct {
	Reason string        `json:"reason"`
	Lasts  time.Duration `json:"lasts"`
}

// agents are the questions and orders about them.
func (m *routes) agents(service Service) {
	m.HandleFunc("GET /v1/agents", func(w http.ResponseWriter, r *http.Request) {
		all, err := service.Agents(r.Context())
		answer(w, all, err)
	})
	m.HandleFunc("POST /v1/agents/{machine}/invite", func(w http.ResponseWriter, r *http.Request) {
		var ask invitation
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var made Invitation
		if err == nil {
			made, err = service.InviteAgent(r.Context(), caller(r), r.PathValue("machine"), ask.Reason, ask.Lasts)
		}
		answer(w, made, err)
	})
	m.HandleFunc("POST /v1/agents/{machine}/revoke", func(w http.ResponseWriter, r *http.Request) {
		var why reasoned
		err := decode(r, &why)
		if err == nil && why.Reason == "" {
			err = errReason
		}
		var had bool
		if err == nil {
			had, err = service.RevokeAgent(r.Context(), caller(r), r.PathValue("machine"), why.Reason)
		}
		answer(w, had, err)
	})
}

// InviteAgent makes a one-time token for a machine.
func (c *Client) InviteAgent(ctx context.Context, machine, reason string, lasts time.Duration) (made Invitation, err error) {
	return made, c.post(ctx, "/v1/agents/"+url.PathEscape(machine)+"/invite", invitation{reason, lasts}, &made)
}

// Agents lists the machines that have agents, or consumers.
func (c *Client) Agents(ctx context.Context) (all []Agent, err error) {
	return all, c.get(ctx, "/v1/agents", &all)
}

// RevokeAgent takes the right of a machine away; false where it had none.
func (c *Client) RevokeAgent(ctx context.Context, machine, reason string) (had bool, err error) {
	return had, c.post(ctx, "/v1/agents/"+url.PathEscape(machine)+"/revoke", reasoned{reason}, &had)
}
