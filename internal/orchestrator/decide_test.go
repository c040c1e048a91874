// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

var (
	first  = authority.VersionID{Incarnation: "one", Number: 1, Run: "run-1"}
	second = authority.VersionID{Incarnation: "one", Number: 2, Run: "run-2"}
	weekly = journal.Policy{Name: "weekly", TTL: 7 * 24 * time.Hour}
	ends   = time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC)
)

// entryOf is the entry of a secret whose version of record is first, enforced as declared, with changes.
func entryOf(changes ...func(*journal.Entry)) *journal.Entry {
	policy, current := weekly, first
	entry := &journal.Entry{Secret: "token", Path: "shop/token", Current: &current, Policy: &policy}
	for _, change := range changes {
		change(entry)
	}
	return entry
}

func live(workflow journal.Workflow) func(*journal.Entry) {
	return func(entry *journal.Entry) { entry.Live = &journal.Run{ID: "run-2", Workflow: workflow} }
}

func recovers(entry *journal.Entry) {
	entry.Recovery = &journal.Recovery{Version: entry.Current, Reason: reason.New(reason.RecoveryAsks, nil)}
}

func withoutValue(entry *journal.Entry) { entry.Current = nil }

// TestDecide: what a look does next, by what it knows.
func TestDecide(t *testing.T) {
	var (
		plain   = Secret{Subject: rotation.Subject{Secret: "token", Path: "shop/token", Policy: weekly}}
		sealed  = plain
		derived = plain
		paused  = plain
		ending  = plain
	)
	sealed.Handover = &handover.Subject{}
	derived.Derived = &derivation.Subject{}
	paused.Derived, paused.Suspended = &derivation.Subject{}, true
	ending.ExpiresAt = ends
	held := reason.New(reason.ValueForeign, nil)
	owed := entryOf(func(entry *journal.Entry) { entry.Enforcing = "run-9" })
	renamed := entryOf(func(entry *journal.Entry) { entry.Secret = "old-name" })
	tightened := entryOf(func(entry *journal.Entry) { entry.Policy.TTL = time.Hour })
	unenforced := entryOf(func(entry *journal.Entry) { entry.Policy = nil })
	outdated := entryOf(live(journal.Rotation), func(entry *journal.Entry) { entry.Policy = nil })
	declared := entryOf(func(entry *journal.Entry) { entry.Declare(ends) })
	requests := []served{{"case-4711", "run-1"}}

	for name, row := range map[string]struct {
		given evidence
		want  action
	}{
		"held":                               {evidence{secret: plain, held: held}, wait},
		"held, and all else is at hand":      {evidence{secret: sealed, held: held, admitted: true, entry: entryOf()}, wait},
		"not admitted":                       {evidence{secret: plain}, admit},
		"not admitted, and sealed in Git":    {evidence{secret: sealed}, admit},
		"not admitted, and computed":         {evidence{secret: derived}, admit},
		"sealed in Git":                      {evidence{secret: sealed, admitted: true}, handOver},
		"handed over":                        {evidence{secret: sealed, admitted: true, handedOver: true}, readEntry},
		"nothing is known":                   {evidence{secret: plain, admitted: true}, readEntry},
		"requests were served":               {evidence{secret: plain, admitted: true, entry: entryOf(), served: requests}, closeServed},
		"requests were served, run live":     {evidence{secret: plain, admitted: true, entry: entryOf(live(journal.Rotation)), served: requests}, closeServed},
		"an end of life is declared":         {evidence{secret: ending, admitted: true, entry: entryOf()}, declareExpiry},
		"an end of life is declared no more": {evidence{secret: plain, admitted: true, entry: declared}, declareExpiry},
		"the end of life is known":           {evidence{secret: ending, admitted: true, entry: declared}, begin},
		"an end of life of no value":         {evidence{secret: ending, admitted: true, entry: entryOf(withoutValue)}, begin},
		"another policy is enforced":         {evidence{secret: plain, admitted: true, entry: tightened}, enforce},
		"no policy is enforced":              {evidence{secret: plain, admitted: true, entry: unenforced}, enforce},
		"the record of a policy is owed":     {evidence{secret: plain, admitted: true, entry: owed}, enforce},
		"it has another name":                {evidence{secret: plain, admitted: true, entry: renamed}, enforce},
		"no policy of no value":              {evidence{secret: plain, admitted: true, entry: entryOf(withoutValue)}, begin},
		"no run is live":                     {evidence{secret: plain, admitted: true, entry: entryOf()}, begin},
		"a run is live":                      {evidence{secret: plain, admitted: true, entry: entryOf(live(journal.Rotation))}, advance},
		"a run is live, policy not enforced": {evidence{secret: plain, admitted: true, entry: outdated}, advance},
		"a run was planned, or none":         {evidence{secret: plain, admitted: true, entry: entryOf(), begun: true}, advance},
		"planned, policy changed meanwhile":  {evidence{secret: plain, admitted: true, entry: tightened, begun: true}, advance},
		"the run goes on":                    {evidence{secret: plain, admitted: true, entry: entryOf(), begun: true, outlook: &rotation.Outlook{Run: "run-2"}}, done},
		"the run ended":                      {evidence{secret: plain, admitted: true, entry: entryOf(), begun: true, outlook: &rotation.Outlook{Run: "run-2", Ended: "completed"}}, done},
		"there is no run":                    {evidence{secret: plain, admitted: true, entry: entryOf(), begun: true, outlook: &rotation.Outlook{}}, reconcile},
		"consumers are right":                {evidence{secret: plain, admitted: true, entry: entryOf(), begun: true, outlook: &rotation.Outlook{}, reconciled: true}, done},

		"computed":                       {evidence{secret: derived, admitted: true}, rebuild},
		"computed, and suspended":        {evidence{secret: paused, admitted: true}, reconcile},
		"computed now":                   {evidence{secret: derived, admitted: true, rebuilt: true, valued: true}, reconcile},
		"it cannot be computed":          {evidence{secret: derived, admitted: true, rebuilt: true, blocked: held}, done},
		"an earlier value is there":      {evidence{secret: derived, admitted: true, rebuilt: true, blocked: held, valued: true}, reconcile},
		"computed, consumers are right":  {evidence{secret: derived, admitted: true, rebuilt: true, valued: true, reconciled: true}, done},
		"suspended, consumers are right": {evidence{secret: paused, admitted: true, reconciled: true}, done},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(row.given); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// TestStandingOf: consumers are given the value only where nothing speaks against it.
func TestStandingOf(t *testing.T) {
	plain, sealed, derived := Secret{}, Secret{Handover: &handover.Subject{}}, Secret{Derived: &derivation.Subject{}}
	for name, row := range map[string]struct {
		secret Secret
		entry  *journal.Entry
		held   *authority.VersionID
		want   standing
	}{
		"it is of record":                        {plain, entryOf(), &first, matching},
		"another value is there":                 {plain, entryOf(), &second, foreign},
		"a value that nobody recorded":           {plain, entryOf(withoutValue), &second, foreign},
		"the value is gone":                      {plain, entryOf(), nil, vanished},
		"no value yet":                           {plain, entryOf(withoutValue), nil, unissued},
		"something newer may be in use":          {plain, entryOf(recovers), &first, recovering},
		"something newer, and another is there":  {plain, entryOf(recovers), &second, foreign},
		"something newer, and the value is gone": {plain, entryOf(recovers), nil, recovering},
		"recovering without a value":             {plain, entryOf(withoutValue, recovers), nil, recovering},
		"a rotation is live":                     {plain, entryOf(live(journal.Rotation)), &first, running},
		"a rotation promoted":                    {plain, entryOf(live(journal.Rotation)), &second, running},
		"a rotation is live, recovering":         {plain, entryOf(live(journal.Rotation), recovers), &first, recovering},
		"a handover is live":                     {sealed, entryOf(live(journal.Handover)), nil, running},
		"a handover of what is sealed no more":   {plain, entryOf(live(journal.Handover)), nil, stranded},
		"a derivation is live":                   {derived, entryOf(live(journal.Derivation)), &first, running},
		"a derivation of what is not computed":   {plain, entryOf(live(journal.Derivation)), &first, stranded},
		"stranded, and recovering":               {plain, entryOf(live(journal.Derivation), recovers), &first, stranded},
	} {
		t.Run(name, func(t *testing.T) {
			if got := standingOf(row.secret, row.entry, row.held); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
