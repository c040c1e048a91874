// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"testing"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

func leaves(changes ...func(*journal.Leaving)) func(*journal.Entry) {
	return func(entry *journal.Entry) {
		entry.Leaving = &journal.Leaving{Since: ends}
		for _, change := range changes {
			change(entry.Leaving)
		}
	}
}

func asked(l *journal.Leaving) { l.Asked = &journal.Asked{By: "anna", Reason: "gone"} }

func without(l *journal.Leaving) { l.Asked = &journal.Asked{By: "anna", WithoutRevoking: true} }

func at(step journal.Step, called bool) func(*journal.Entry) {
	return func(entry *journal.Entry) {
		entry.Live = &journal.Run{ID: "run-9", Workflow: journal.Retirement, Step: step}
		if called {
			entry.Live.Revoking = true
		}
	}
}

// TestDeparts: what is done with a secret that leaves, or was to leave.
func TestDeparts(t *testing.T) {
	plain := Secret{Subject: rotation.Subject{Secret: "token", Path: "shop/token", Policy: weekly}}
	gone, alone := plain, plain
	gone.Leaving, alone.Leaving, alone.Policy.RetireAfter = true, true, time.Hour
	suspended := alone
	suspended.Suspended = true
	grouped := gone
	grouped.Group = &rotation.Group{Name: "pair"}
	owed := func(l *journal.Leaving) { l.Owed = "run-8" }
	buried := func(entry *journal.Entry) { entry.Gone, entry.Current = &journal.Gone{Run: "run-9"}, nil }
	for name, row := range map[string]struct {
		secret Secret
		entry  *journal.Entry
		weighed
		want departure
		why  reason.Code
	}{
		"it is declared":                              {plain, entryOf(), weighed{}, stay, ""},
		"it is declared again":                        {plain, entryOf(leaves()), weighed{}, noteReturn, ""},
		"declared again, though somebody asked":       {plain, entryOf(leaves(asked)), weighed{}, noteReturn, ""},
		"declared again, nothing withdrawn":           {plain, entryOf(leaves(asked), at(journal.Planned, false)), weighed{}, takeBack, ""},
		"declared again within the grace":             {plain, entryOf(leaves(asked), at(journal.Withdrawn, false)), weighed{}, takeBack, ""},
		"declared again, a call may have landed":      {plain, entryOf(leaves(asked), at(journal.Withdrawn, true)), weighed{}, goOn, ""},
		"declared again, revoked":                     {plain, entryOf(leaves(asked), at(journal.Ended, false)), weighed{}, goOn, ""},
		"declared again after it was retired":         {plain, entryOf(buried), weighed{}, stay, ""},
		"it was removed":                              {gone, entryOf(), weighed{}, noteLeaving, ""},
		"removed, its record is owed":                 {gone, entryOf(leaves(owed, asked)), weighed{}, noteLeaving, ""},
		"removed, and never had a value":              {gone, entryOf(withoutValue), weighed{}, over, ""},
		"removed, and its first value is being made":  {gone, entryOf(withoutValue, leaves(asked), live(journal.Rotation)), weighed{}, stopRun, reason.LeavingRunEnds},
		"nobody asked":                                {gone, entryOf(leaves()), weighed{leaving: 1}, keep, reason.LeavingConfirm},
		"nobody asked, its run is live":               {gone, entryOf(leaves(), live(journal.Rotation)), weighed{leaving: 1}, keep, reason.LeavingConfirm},
		"nobody asked, many leave":                    {gone, entryOf(leaves()), weighed{leaving: 9}, keep, reason.LeavingConfirm},
		"its policy says later":                       {alone, entryOf(leaves()), weighed{now: ends, leaving: 3}, keep, reason.LeavingLater},
		"its policy says now":                         {alone, entryOf(leaves()), weighed{now: ends.Add(time.Hour), leaving: 3}, beginEnd, ""},
		"its policy says now, and it is suspended":    {suspended, entryOf(leaves()), weighed{now: ends.Add(time.Hour)}, keep, reason.LeavingConfirm},
		"suspended, and somebody asked":               {suspended, entryOf(leaves(asked)), weighed{}, beginEnd, ""},
		"its policy says now, and too many leave":     {alone, entryOf(leaves()), weighed{now: ends.Add(time.Hour), leaving: 4}, keep, reason.LeavingMany},
		"too many leave, and somebody asked":          {alone, entryOf(leaves(asked)), weighed{now: ends, leaving: 4}, beginEnd, ""},
		"somebody asked":                              {gone, entryOf(leaves(asked)), weighed{}, beginEnd, ""},
		"somebody asked, another needs it":            {gone, entryOf(leaves(asked)), weighed{neededBy: "dsn"}, keep, reason.LeavingNeeded},
		"somebody asked, another needs it for a run":  {gone, entryOf(leaves(asked), live(journal.Rotation)), weighed{neededBy: "dsn"}, keep, reason.LeavingNeeded},
		"somebody asked, its group rotates":           {grouped, entryOf(leaves(asked)), weighed{grouped: "other"}, keep, reason.LeavingGroup},
		"somebody asked, its run is live":             {gone, entryOf(leaves(asked), live(journal.Rotation)), weighed{}, stopRun, reason.LeavingRunEnds},
		"somebody asked, something newer may be used": {gone, entryOf(leaves(asked), recovers), weighed{}, keep, reason.RecoveryAsks},
		"the same, and nothing is to be revoked":      {gone, entryOf(leaves(without), recovers), weighed{}, beginEnd, ""},
		"it is being retired":                         {gone, entryOf(leaves(asked), at(journal.Planned, false)), weighed{neededBy: "dsn"}, goOn, ""},
		"it was retired":                              {gone, entryOf(buried), weighed{}, over, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, why, _ := departs(row.secret, row.entry, row.weighed)
			if got != row.want || why.Code != row.why {
				t.Errorf("got %q because of %q, want %q because of %q", got, why.Code, row.want, row.why)
			}
		})
	}
}

// A look at a secret that leaves decides about that before it begins, delivers or computes anything.
func TestDecideAboutLeaving(t *testing.T) {
	gone := Secret{Subject: rotation.Subject{Secret: "token", Path: "shop/token", Policy: weekly}, Leaving: true}
	back := gone
	back.Leaving = false
	entry, w := entryOf(), &weighed{}
	for name, row := range map[string]struct {
		given evidence
		want  action
	}{
		"nothing is known":         {evidence{secret: gone, admitted: true}, readEntry},
		"its entry is known":       {evidence{secret: gone, admitted: true, entry: entry}, weigh},
		"declared again":           {evidence{secret: back, admitted: true, entry: entryOf(leaves())}, weigh},
		"declared, being retired":  {evidence{secret: back, admitted: true, entry: entryOf(at(journal.Ended, false))}, weigh},
		"weighed":                  {evidence{secret: gone, admitted: true, entry: entry, weighed: w}, depart},
		"it ends":                  {evidence{secret: gone, admitted: true, entry: entry, weighed: w, departed: true, ended: true}, done},
		"it stays in force":        {evidence{secret: gone, admitted: true, entry: entry, weighed: w, departed: true}, begin},
		"declared as ever":         {evidence{secret: back, admitted: true, entry: entry}, begin},
		"held, and it would leave": {evidence{secret: gone, held: reason.New(reason.ValueForeign, nil)}, wait},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(row.given); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
