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
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
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
	if a.kind.Evidence == nil || !able || a.run.Compromise != nil { // who uses a compromised one may be whoever took it
		return nil, nil
	}
	if stop, err := a.undated(ctx); stop != nil || err != nil {
		return stop, err
	}
	began := a.p.proven
	if a.p.dated.After(began) {
		began = a.p.dated
	}
	window := a.run.Policy.QuietWindow
	if left := began.Add(window + a.kind.Evidence.Late).Sub(a.Now()); left > 0 {
		return a.until(reason.QuietWindow, nil, left), nil
	}
	uses, err := a.usesOf(ctx, witness, a.p.old)
	if err != nil && !errors.Is(err, outward.ErrNotBegun) && a.waives(journal.WaivedEvidence, "") {
		return nil, nil
	}
	if err != nil {
		if verdict, _ := a.ask(ctx, a.p.old); verdict == upstream.Refused { // somebody removed it, and nobody can use it
			return nil, nil
		}
		stop := a.stuck(reason.OldUsesUnknown, err)
		if stop.reason.Is(reason.OldUsesUnknown) {
			stop.reason = stop.reason.With(reason.Args{"force": string(a.run.ID)})
		}
		return stop, nil
	}
	if stop, err := a.undated(ctx); stop != nil || err != nil { // it may have jumped before that was asked
		return stop, err
	}
	if len(uses) == 0 {
		return nil, nil
	}
	var who, when []string
	for _, use := range uses {
		if use.Last.Before(began) {
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
		return a.wait(reason.OldUsedLately, nil), nil
	}
	if err := a.audit(ctx, stepUsed, strings.Join(when, "; ")); err != nil {
		return nil, err
	}
	stop := a.wait(reason.OldInUse, reason.Args{"who": strings.Join(who, "; "), "force": string(a.run.ID)})
	stop.uses = who
	return stop, nil
}

// undated holds while the wall clock cannot be believed: what the upstream tells of uses could be dated wrongly, and so be taken to be
// from before the quiet window. That begins anew once the clock is believed again.
func (a *attempt) undated(ctx context.Context) (*pause, error) {
	if a.Clock == nil {
		return nil, nil
	}
	why, err := a.Clock.Check(ctx)
	if err != nil {
		return nil, err
	}
	if why == "" {
		if a.p.undated {
			a.p.undated, a.p.dated = false, a.Now()
		}
		return nil, nil
	}
	a.p.undated = true
	return a.waitFor(reason.New(reason.OldUsesUndated, nil).Because(why)), nil
}

// usesOf asks who used old within the quiet window, and as long before as evidence may be late or coarse.
func (a *attempt) usesOf(ctx context.Context, witness upstream.Witness, old secret.Value) ([]upstream.Use, error) {
	since := a.Now().Add(-a.run.Policy.QuietWindow - a.kind.Evidence.Late - a.kind.Evidence.Fine)
	return outward.Do(ctx, a.Calls, a.outside(askTimeout), func(ctx context.Context) ([]upstream.Use, error) {
		return witness.Uses(ctx, old, since)
	})
}

func nameOf(use upstream.Use) string { return cmp.Or(use.Who, "somebody") }
