// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// A secret can be reported as compromised while it is being retired. No other value is made then: the retirement itself ends the
// credential, without the grace and without a look at who uses it, as a use may be of whoever took it. Consumers that it cannot be
// taken from are waited for as long as onCompromise says.

// hasten has a live retirement answer a report of a compromise. It changes nothing where it does already, or once the upstream
// refuses the credential.
func (e *Engine) hasten(ctx context.Context, s Subject, held *journal.Held, why journal.Trigger) error {
	run := held.Live
	if run.Compromise != nil || run.Step == journal.Ended {
		return nil
	}
	run.Compromise = &journal.Compromise{At: why.At, By: why.By, Reason: why.Reason}
	run.Policy.OnCompromise, run.Waiting = s.Policy.OnCompromise, nil
	return e.Journal.SaveHeld(ctx, held)
}

// reported notes when the credential was refused that was reported as compromised, and ends the open sessions that began with it.
func (a *attempt) reported(ctx context.Context) (*pause, error) {
	if a.run.Compromise == nil {
		return nil, nil
	}
	if a.run.Compromise.Refused.IsZero() {
		changed := *a.run.Compromise
		changed.Refused = a.Now()
		a.run.Compromise = &changed
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.audit(ctx, journal.Revoked, a.took()); err != nil {
		return nil, err
	}
	ender, able := a.s.Upstream.(upstream.SessionEnder)
	says := a.run.Policy.OnCompromise
	switch {
	case says == nil || !says.EndSessions || a.p.recorded[stepSessions] || a.entry.Leaving.Wish().AlthoughUsed:
		return nil, nil
	case !able:
		return nil, a.audit(ctx, stepSessionsOn, "this type of upstream has no way to end open sessions; who is signed in stays so")
	}
	ended := 0
	for number := authority.Version(1); number <= a.run.Base; number++ {
		held, err := a.Authority.ReadVersion(ctx, a.s.Path, number)
		if errors.Is(err, authority.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		count, err := outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) (int, error) { return ender.EndSessions(ctx, held.Value) })
		if err != nil {
			return a.retireStuck(reason.RetireSessions, err), nil
		}
		ended += count
	}
	return nil, a.audit(ctx, stepSessions, fmt.Sprintf("%d open sessions of the credential were ended", ended))
}
