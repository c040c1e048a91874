// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// stepUsed records that somebody still used the old credential when every declared consumer had moved.
const stepUsed journal.Step = "old-used"

// quiet asks an upstream that can tell whether the old credential is still used, before it is revoked. All declared
// consumers have moved by then: whoever uses it is undeclared, or runs on what it read long ago. An answer without uses
// is no proof, and adds nothing; a use holds the run until it ends, or a person forces it. A use that evidence too
// coarse puts before the consumers moved may have been theirs: it is waited out and not held against anybody.
func (a *attempt) quiet(ctx context.Context) (*pause, error) {
	witness, able := a.s.Upstream.(upstream.Witness)
	if a.kind.Evidence == nil || !able {
		return nil, nil
	}
	window := a.run.Policy.QuietWindow
	if left := a.p.proven.Add(window + a.kind.Evidence.Late).Sub(a.Now()); left > 0 {
		return until("the quiet window to pass, in which the upstream may show that somebody still uses the old credential", left), nil
	}
	uses, err := a.usesOf(ctx, witness, a.p.old)
	if err != nil && !errors.Is(err, outward.ErrNotBegun) && a.waives(journal.WaivedEvidence, "") {
		return nil, nil
	}
	if err != nil {
		if verdict, _ := a.ask(ctx, a.p.old); verdict == upstream.Refused { // somebody removed it, and nobody can use it
			return nil, nil
		}
		stop := a.stuck("the upstream to say who still uses the old credential", err)
		if !stop.byDesign {
			stop.reason += "; " + next.Force(a.run.ID) + " revokes it without knowing"
		}
		return stop, nil
	}
	if len(uses) == 0 {
		return nil, nil
	}
	var who, when []string
	for _, use := range uses {
		if use.Last.Before(a.p.proven) {
			continue
		}
		name := nameOf(use)
		if a.waives(journal.WaivedUse, name) {
			continue
		}
		who = append(who, name)
		when = append(when, name+", last seen "+use.Last.UTC().Format(time.RFC3339))
	}
	if len(who) == 0 && !slices.ContainsFunc(uses, func(use upstream.Use) bool { return !a.waives(journal.WaivedUse, nameOf(use)) }) {
		return nil, nil // each of them is waived
	}
	if len(who) == 0 {
		return until("the last use of the old credential to be longer ago than the quiet window: it may be from before the consumers moved", a.backoff()), nil
	}
	if err := a.audit(ctx, stepUsed, strings.Join(when, "; ")); err != nil {
		return nil, err
	}
	stop := a.wait("the old credential to be used no more: every declared consumer has moved, and it is still used by " + strings.Join(who, "; ") +
		". Find them, and declare or move them; " + next.Force(a.run.ID) + " revokes it all the same")
	stop.uses = who
	return stop, nil
}

// usesOf asks who used old within the quiet window, and as long before as evidence may be late or coarse.
func (a *attempt) usesOf(ctx context.Context, witness upstream.Witness, old secret.Value) ([]upstream.Use, error) {
	since := a.Now().Add(-a.run.Policy.QuietWindow - a.kind.Evidence.Late - a.kind.Evidence.Fine)
	return outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) ([]upstream.Use, error) {
		return witness.Uses(ctx, old, since)
	})
}

func nameOf(use upstream.Use) string { return cmp.Or(use.Who, "somebody") }
