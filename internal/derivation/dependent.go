// SPDX-License-Identifier: Apache-2.0

package derivation

import (
	"context"
	"errors"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
)

// Consumer is a consumer of the derived secret, and the proof that it must give.
type Consumer struct {
	materialize.Consumer
	Needs materialize.Level
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
	Journal Journal
	// Wake has the derived secret looked at soon.
	Wake func(path authority.Path)
}

var _ materialize.Consumer = (*Dependent)(nil)

// Name tells the derived secret from the input's own consumers.
func (d *Dependent) Name() string { return "derived-" + d.Secret }

// Highest is the level that it shows once every consumer of the derived secret shows what is needed of it.
func (d *Dependent) Highest() materialize.Level { return materialize.Observed }

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
	if entry.Live != nil || entry.Current == nil || entry.Inputs[d.Input] != v.ID.String() {
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
		proof, err := consumer.Prove(ctx, held)
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

// Withdraw does nothing: the derived secret has a life of its own.
func (d *Dependent) Withdraw(context.Context) error { return nil }
