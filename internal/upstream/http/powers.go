// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// The optional powers, each apart: which of them an upstream has is the recipe's to say.
type (
	collecting struct{ u *Upstream }
	listing    struct{ u *Upstream }
	witnessing struct{ u *Upstream }
	decoying   struct{ u *Upstream }
)

var (
	_ upstream.Collector = collecting{}
	_ upstream.Lister    = listing{}
	_ upstream.Witness   = witnessing{}
	_ upstream.Decoyer   = decoying{}
)

// Collect removes every credential that carries run.
func (c collecting) Collect(ctx context.Context, run authority.RunID) error {
	return c.u.collect(ctx, run)
}

// List names every credential of the account.
func (l listing) List(ctx context.Context) ([]string, error) { return l.u.identities(ctx) }

// Uses tells who uses old.
func (w witnessing) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	return w.u.uses(ctx, old, since)
}

// Decoy makes a credential that the upstream was never given.
func (d decoying) Decoy(v secret.Value) (secret.Value, error) { return d.u.decoy(v) }

// decoy makes a credential like v that was never given out.
func (u *Upstream) decoy(v secret.Value) (secret.Value, error) {
	const doing = "making a decoy"
	if missing := u.r.Missing(v); missing != "" {
		return secret.Value{}, lacks(doing, missing)
	}
	decoy, err := u.r.Decoy(v, u.Random)
	if err != nil {
		return secret.Value{}, &upstream.Error{Doing: doing, Cause: err}
	}
	return decoy, nil
}

// Powers returns u with exactly the optional powers that its recipe gives it, for callers who ask by type.
func (u *Upstream) Powers() upstream.Upstream {
	c, l, w, d := collecting{u}, listing{u}, witnessing{u}, decoying{u}
	collects := u.kind.Issues && u.kind.LostReply == upstream.Reissue
	lists := u.kind.Issues && u.kind.LostReply == upstream.Person && len(u.r.List) > 0
	switch tells := u.kind.Evidence != nil; {
	case collects && tells:
		return struct {
			*Upstream
			collecting
			witnessing
			decoying
		}{u, c, w, d}
	case collects:
		return struct {
			*Upstream
			collecting
			decoying
		}{u, c, d}
	case lists && tells:
		return struct {
			*Upstream
			listing
			witnessing
			decoying
		}{u, l, w, d}
	case lists:
		return struct {
			*Upstream
			listing
			decoying
		}{u, l, d}
	case u.kind.Issues && tells:
		return struct {
			*Upstream
			witnessing
			decoying
		}{u, w, d}
	case u.kind.Issues:
		return struct {
			*Upstream
			decoying
		}{u, d}
	case tells:
		return struct {
			*Upstream
			witnessing
		}{u, w}
	}
	return u
}
