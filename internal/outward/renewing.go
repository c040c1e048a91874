// SPDX-License-Identifier: Apache-2.0

package outward

import (
	"context"
	"time"

	"custody.dev/custody/internal/authority"
)

// renewTimeout bounds a change of incarnation, which changes every secret at once.
const renewTimeout = 5 * time.Minute

// Renewing is a Store that can begin another incarnation. A renewal that was given up may land later, as a whole.
type Renewing struct {
	Store
	renewer authority.Renewer
}

var (
	_ authority.Store   = Renewing{}
	_ authority.Renewer = Renewing{}
)

// NewRenewing bounds the calls to store.
func NewRenewing(store interface {
	authority.Store
	authority.Renewer
}, calls *Calls,
) Renewing {
	return Renewing{NewStore(store, calls), store}
}

// Renew implements authority.Renewer.
func (r Renewing) Renew(ctx context.Context, from authority.Incarnation, plan func(authority.Incarnation) (authority.Renewal, error)) (authority.Incarnation, error) {
	return Do(ctx, r.calls, Call{Part: Changes, Limit: renewTimeout, Own: true}, func(ctx context.Context) (authority.Incarnation, error) {
		return r.renewer.Renew(ctx, from, plan)
	})
}

// Later implements authority.Renewer. It asks nothing outside.
func (r Renewing) Later(i authority.Incarnation) bool { return r.renewer.Later(i) }
