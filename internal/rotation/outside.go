// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"cmp"
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// askTimeout bounds calls that change nothing.
	askTimeout = 30 * time.Second
	// consumerTimeout bounds a call to a consumer, whose own commands are bounded by what is declared for each: less than
	// the time after which consumers are looked at again.
	consumerTimeout = 8 * time.Minute
)

// rank is how soon others let the run go on.
func (a *attempt) rank() outward.Rank {
	if a.seen == nil || a.run == nil {
		return outward.First
	}
	return a.rankAt(cmp.Or(a.seen.at, a.run.Step))
}

// outside is a call to the run's upstream.
func (a *attempt) outside(limit time.Duration) outward.Call { return toUpstream(a.s, a.rank(), limit) }

func toUpstream(s Subject, rank outward.Rank, limit time.Duration) outward.Call {
	return outward.Call{Part: outward.Account(string(s.Path)), Group: s.Server, Rank: rank, Limit: limit}
}

func toConsumer(s Subject, c Consumer, rank outward.Rank) outward.Call {
	return outward.Call{Part: outward.Reader(string(s.Path), c.Name()), Group: c.Group, Rank: rank, Limit: consumerTimeout}
}

// Ready returns why it is not known what the upstream of s can do, nil when it is or s has none.
func (e *Engine) Ready(ctx context.Context, s Subject) error { return e.ready(ctx, s, outward.First) }

func (e *Engine) ready(ctx context.Context, s Subject, rank outward.Rank) error {
	readier, able := s.Upstream.(upstream.Readier)
	if !able {
		return nil
	}
	_, err := outward.Do(ctx, e.Calls, toUpstream(s, rank, askTimeout), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, readier.Ready(ctx)
	})
	return err
}

// SignIn signs in with v, which must not be refused where that may lock an account out.
func (e *Engine) SignIn(ctx context.Context, s Subject, v secret.Value) (upstream.Verdict, error) {
	return e.signIn(ctx, s, v, outward.First)
}

func (e *Engine) signIn(ctx context.Context, s Subject, v secret.Value, rank outward.Rank) (upstream.Verdict, error) {
	return outward.Do(ctx, e.Calls, toUpstream(s, rank, askTimeout), func(ctx context.Context) (upstream.Verdict, error) {
		return s.Upstream.Verify(ctx, v)
	})
}

// Deliver hands v to a consumer of s; see materialize.Consumer.
func (e *Engine) Deliver(ctx context.Context, s Subject, c Consumer, v authority.Versioned, rank outward.Rank) error {
	_, err := outward.Do(ctx, e.Calls, toConsumer(s, c, rank), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.Consumer.Deliver(ctx, v)
	})
	return err
}

// Prove asks a consumer of s what it runs on; see materialize.Consumer.
func (e *Engine) Prove(ctx context.Context, s Subject, c Consumer, v authority.Versioned, rank outward.Rank) (materialize.Proof, error) {
	return outward.Do(ctx, e.Calls, toConsumer(s, c, rank), func(ctx context.Context) (materialize.Proof, error) {
		return c.Consumer.Prove(ctx, v)
	})
}

// Holds asks a consumer of s that can say so which version it holds, without asking a process; see materialize.Holder.
func (e *Engine) Holds(ctx context.Context, s Subject, c Consumer, holder materialize.Holder, v authority.Versioned) (materialize.Proof, error) {
	return outward.Do(ctx, e.Calls, toConsumer(s, c, outward.First), func(ctx context.Context) (materialize.Proof, error) {
		return holder.Holds(ctx, v)
	})
}

// Opens asks whether v opens what s is the admin credential of; see Subject.Opens, which is not nil.
func (e *Engine) Opens(ctx context.Context, s Subject, v secret.Value) (upstream.Verdict, error) {
	return outward.Do(ctx, e.Calls, toUpstream(s, outward.First, askTimeout), func(ctx context.Context) (upstream.Verdict, error) {
		return s.Opens(ctx, v)
	})
}
