// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
)

// Consumer is a consumer on another machine: each call is an order to the agent there. While that is away nothing is delivered, and
// nothing is proved.
type Consumer struct {
	hub     *Hub
	spec    v1alpha1.ConsumerSpec
	highest materialize.Level
	fits    func(secret.Value) error
}

var (
	_ materialize.Consumer   = (*Consumer)(nil)
	_ materialize.Holder     = (*Consumer)(nil)
	_ materialize.Rememberer = (*Consumer)(nil)
)

// Consumer makes the consumer that spec declares on spec.Machine. highest is the most that it can prove as declared, and fits says why a
// value can never be written there; neither asks the agent.
func (h *Hub) Consumer(spec v1alpha1.ConsumerSpec, highest materialize.Level, fits func(secret.Value) error) *Consumer {
	return &Consumer{h, spec, highest, fits}
}

// Name implements materialize.Consumer.
func (c *Consumer) Name() string { return c.spec.Name }

// Highest implements materialize.Consumer.
func (c *Consumer) Highest() materialize.Level { return c.highest }

// Fits implements materialize.Consumer.
func (c *Consumer) Fits(v secret.Value) error { return c.fits(v) }

// Deliver implements materialize.Consumer.
func (c *Consumer) Deliver(ctx context.Context, v authority.Versioned) error {
	_, err := c.ask(ctx, agent.Deliver, v)
	return err
}

// Prove implements materialize.Consumer. That the agent is away is no error: it is what the proof is missing.
func (c *Consumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	return c.proof(ctx, agent.Prove, v)
}

// Holds implements materialize.Holder.
func (c *Consumer) Holds(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	return c.proof(ctx, agent.Holds, v)
}

func (c *Consumer) proof(ctx context.Context, verb agent.Verb, v authority.Versioned) (materialize.Proof, error) {
	answer, err := c.ask(ctx, verb, v)
	if away, is := errors.AsType[*AwayError](err); is {
		return materialize.Proof{Missing: away.Error()}, nil
	}
	proof := answer.Proof
	if err == nil && !proof.At.IsZero() { // the agent's clock may be wrong: what counts is how long ago it was
		proof.At = c.hub.now().Add(proof.At.Sub(answer.Now))
	}
	return proof, err
}

// Given implements materialize.Rememberer.
func (c *Consumer) Given(ctx context.Context, path authority.Path) (authority.VersionID, bool, error) {
	answer, err := c.ask(ctx, agent.Given, authority.Versioned{Path: path})
	return answer.Given, answer.Known, err
}

// Withdraw implements materialize.Consumer.
func (c *Consumer) Withdraw(ctx context.Context, v authority.Versioned) error {
	_, err := c.ask(ctx, agent.Withdraw, v)
	return err
}

func (c *Consumer) ask(ctx context.Context, verb agent.Verb, v authority.Versioned) (agent.Answer, error) {
	answer, err := c.hub.Ask(ctx, c.spec.Machine, agent.Order{Verb: verb, Consumer: c.spec, Version: v})
	switch {
	case err != nil:
		return answer, err
	case answer.Stale:
		return answer, fmt.Errorf("machine %s: %w", c.spec.Machine, materialize.ErrStale)
	case answer.Error != "":
		return answer, fmt.Errorf("machine %s: %s", c.spec.Machine, answer.Error)
	}
	return answer, nil
}
