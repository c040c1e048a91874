// SPDX-License-Identifier: Apache-2.0

package derivation

import (
	"context"
	"errors"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
)

// proveTimeout bounds what one consumer of the derived secret is asked.
const proveTimeout = 2 * time.Minute

// Consumer is a consumer of the derived secret, and the proof that it must give.
type Consumer struct {
	materialize.Consumer
	Needs materialize.Level
	// Group are the consumers that fail together; see outward.Call.
	Group string
}

// Dependent stands for a derived secret among the consumers of one of its inputs: it has taken a version of the input
// once the derived value was rebuilt on it, and every consumer of that value has shown so.
type Dependent struct {
	// Secret and Path are the derived secret's, Input the name that it gives to the input.
	Secret string
	Path   authority.Path
	Input  string
	// Consumers of the derived secret.
	Consumers []Consumer
	Authority interface {
		Read(ctx context.Context, path authority.Path) (authority.Versioned, error)
	}
	Journal journal.Entries
	// Wake has the derived secret looked at soon.
	Wake func(path authority.Path)
	// Calls bounds what its consumers are asked, together with what the derived secret's own looks ask of them. nil leaves
	// that to the caller.
	Calls *outward.Calls
}

var _ materialize.Consumer = (*Dependent)(nil)

// Name tells the derived secret from the input's own consumers.
func (d *Dependent) Name() string { return "derived-" + d.Secret }

// Highest is the level that it shows once every consumer of the derived secret shows what is needed of it.
func (d *Dependent) Highest() materialize.Level { return materialize.Observed }

// Fits knows nothing against any value: what its consumers are given is computed, and shows when it is.
func (d *Dependent) Fits(secret.Value) error { return nil }

// Deliver has the derived secret rebuilt; whoever sequences secrets does it.
func (d *Dependent) Deliver(context.Context, authority.Versioned) error {
	d.Wake(d.Path)
	return nil
}

// Prove looks at what the derived value was computed from, and then asks its consumers.
func (d *Dependent) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	entry, err := d.Journal.Load(ctx, d.Path)
	if err != nil {
		return materialize.Proof{}, err
	}
	if entry.Live != nil || entry.Current == nil || entry.Inputs[d.Input].Version != v.ID {
		d.Wake(d.Path)
		return materialize.Proof{Missing: d.Secret + " to be computed from this version"}, nil
	}
	held, err := d.Authority.Read(ctx, d.Path)
	if errors.Is(err, authority.ErrNotFound) || err == nil && held.ID != *entry.Current {
		return materialize.Proof{Missing: "the value of " + d.Secret + " to be the one on record"}, nil
	}
	if err != nil {
		return materialize.Proof{}, err
	}
	var missing []string
	for _, consumer := range d.Consumers {
		proof, err := d.prove(ctx, consumer, held)
		if err != nil {
			return materialize.Proof{}, err
		}
		if proof.Version != held.ID || proof.Level < consumer.Needs {
			missing = append(missing, consumer.Name())
		}
	}
	if len(missing) > 0 {
		d.Wake(d.Path)
		return materialize.Proof{Missing: "proof from consumers of " + d.Secret + ": " + strings.Join(missing, ", ")}, nil
	}
	return materialize.Proof{Version: v.ID, Level: d.Highest(), Evidence: d.Secret + " was computed from it and all its consumers run on that"}, nil
}

func (d *Dependent) prove(ctx context.Context, consumer Consumer, held authority.Versioned) (materialize.Proof, error) {
	if d.Calls == nil {
		return consumer.Prove(ctx, held)
	}
	call := outward.Call{Part: outward.Reader(string(d.Path), consumer.Name()), Group: consumer.Group, Rank: outward.Begun, Limit: proveTimeout}
	return outward.Do(ctx, d.Calls, call, func(ctx context.Context) (materialize.Proof, error) { return consumer.Consumer.Prove(ctx, held) })
}

// Withdraw does nothing: the derived secret has a life of its own.
func (d *Dependent) Withdraw(context.Context, authority.Versioned) error { return nil }
