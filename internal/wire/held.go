// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
)

// servedOrHeld makes a consumer's adapter, or what stands for it while this machine cannot serve it. held says that lint
// found so; what only shows when it is made (a user that is not there, a program that others can change) is tried again
// each time.
func (p *parts) servedOrHeld(spec v1alpha1.ConsumerSpec, held string) materialize.Consumer {
	if held != "" {
		return heldConsumer{spec, func() (materialize.Consumer, error) {
			return nil, &server.Problem{Class: server.Refused, Text: held, Hint: "`custody lint`, on this machine, says where"}
		}}
	}
	if made, err := p.reach(spec); err == nil {
		return made
	}
	return heldConsumer{spec, func() (materialize.Consumer, error) { return p.reach(spec) }}
}

// reach makes the adapter of a consumer, on this machine or another.
func (p *parts) reach(spec v1alpha1.ConsumerSpec) (materialize.Consumer, error) {
	if spec.Machine != "" {
		return p.agents.consumer(spec)
	}
	return p.consumer(spec)
}

// heldConsumer stands for a consumer that this machine cannot serve. It takes and proves nothing, so that no version is
// revoked that it may still run on.
type heldConsumer struct {
	spec  v1alpha1.ConsumerSpec
	again func() (materialize.Consumer, error)
}

var (
	_ materialize.Consumer   = heldConsumer{}
	_ materialize.Rememberer = heldConsumer{}
	_ materialize.Holder     = heldConsumer{}
)

// Name implements materialize.Consumer.
func (h heldConsumer) Name() string { return h.spec.Name }

// Highest implements materialize.Consumer.
func (h heldConsumer) Highest() materialize.Level {
	if h.spec.File != nil && h.spec.File.Check != "" {
		return materialize.Observed
	}
	return materialize.Delivered
}

// Fits knows nothing against a value while this machine cannot serve the consumer.
func (h heldConsumer) Fits(v secret.Value) error {
	made, err := h.again()
	if err != nil {
		return nil //nolint:nilerr // Deliver says that
	}
	return made.Fits(v)
}

// Deliver says why nothing can be delivered.
func (h heldConsumer) Deliver(ctx context.Context, v authority.Versioned) error {
	made, err := h.again()
	if err != nil {
		return err
	}
	return made.Deliver(ctx, v)
}

// Prove says why nothing can be proven.
func (h heldConsumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	made, err := h.again()
	if err != nil {
		return materialize.Proof{Missing: err.Error()}, nil //nolint:nilerr // a consumer that cannot be served proves nothing
	}
	return made.Prove(ctx, v)
}

// Given is known once this machine can serve it.
func (h heldConsumer) Given(ctx context.Context, path authority.Path) (authority.VersionID, bool, error) {
	made, err := h.again()
	if err != nil {
		return authority.VersionID{}, false, err
	}
	remembers, able := made.(materialize.Rememberer)
	if !able {
		return authority.VersionID{}, false, nil
	}
	return remembers.Given(ctx, path)
}

// Holds says why it cannot be known; once this machine can serve the consumer it is Prove, which has no process to ask.
func (h heldConsumer) Holds(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	made, err := h.again()
	if err != nil {
		return materialize.Proof{}, err
	}
	if holder, can := made.(materialize.Holder); can {
		return holder.Holds(ctx, v)
	}
	return made.Prove(ctx, v)
}

// Withdraw implements materialize.Consumer.
func (h heldConsumer) Withdraw(ctx context.Context, v authority.Versioned) error {
	made, err := h.again()
	if err != nil {
		return err
	}
	return made.Withdraw(ctx, v)
}
