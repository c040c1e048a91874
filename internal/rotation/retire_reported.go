// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
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

// reported ends all else that a reported credential opens, once it is refused.
func (a *attempt) reported(ctx context.Context) (*pause, error) {
	if a.run.Compromise == nil {
		return nil, nil
	}
	if err := a.noteRefused(ctx); err != nil {
		return nil, err
	}
	if a.entry.Leaving.Wish().AlthoughUsed {
		return nil, nil
	}
	var numbers []authority.Version
	for number := authority.Version(1); number <= a.run.Base; number++ {
		numbers = append(numbers, number)
	}
	values, err := a.valuesOf(ctx, numbers)
	if err != nil {
		return nil, err
	}
	return a.endSessions(ctx, values, func(err error) *pause { return a.retireStuck(reason.RetireSessions, err) })
}
