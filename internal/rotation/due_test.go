// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

const day = 24 * time.Hour

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// monthly is a secret of a thirty-day lifetime, rotated two days before its end, whose value is as old as epoch.
func monthly() rotation.Situation {
	return rotation.Situation{
		Entry:  journal.Entry{Path: "app/db", Current: &authority.VersionID{Number: 3}, Rotated: epoch},
		Policy: journal.Policy{RotationType: "time", TTL: 30 * day, RotateBefore: 2 * day},
		Now:    epoch.Add(10 * day),
	}
}

func TestDue(t *testing.T) {
	failed := func(s *rotation.Situation, held bool) {
		s.Now = epoch.Add(29 * day)
		s.Entry.Last = &journal.Outcome{Result: "undone", Ended: s.Now.Add(-time.Minute), Trigger: journal.Trigger{Requests: []string{"old"}}}
		s.Entry.Retry = &journal.Retry{Attempts: 1, NotBefore: s.Now.Add(time.Minute), Held: held}
	}
	for name, c := range map[string]struct {
		change func(*rotation.Situation)
		want   string
	}{
		"before its time":         {func(*rotation.Situation) {}, ""},
		"an instant before":       {func(s *rotation.Situation) { s.Now = epoch.Add(28*day - 1) }, ""},
		"on time":                 {func(s *rotation.Situation) { s.Now = epoch.Add(28 * day) }, "time"},
		"long past its end":       {func(s *rotation.Situation) { s.Now = epoch.Add(300 * day) }, "time"},
		"static":                  {func(s *rotation.Situation) { s.Policy.RotationType = "static"; s.Now = epoch.Add(300 * day) }, ""},
		"by event only":           {func(s *rotation.Situation) { s.Policy.RotationType = "event"; s.Now = epoch.Add(300 * day) }, ""},
		"requested":               {func(s *rotation.Situation) { s.Requests = []string{"new"} }, "requested"},
		"requested while static":  {func(s *rotation.Situation) { s.Policy.RotationType = "static"; s.Requests = []string{"new"} }, "requested"},
		"requested before issued": {func(s *rotation.Situation) { s.Entry.Current = nil; s.Requests = []string{"new"} }, ""},
		"generated, never issued": {func(s *rotation.Situation) { s.First = true; s.Entry.Current = nil }, "first"},
		"never issued here, and somebody has one": {func(s *rotation.Situation) {
			s.First, s.Entry.Current, s.Entry.Recovery = true, nil, &journal.Recovery{Reason: reason.New(reason.RecoveryRotates, nil)}
		}, ""},
		"never issued here, and asked for": {func(s *rotation.Situation) {
			s.First, s.Entry.Current, s.Entry.Recovery, s.Requests = true, nil, &journal.Recovery{Reason: reason.New(reason.RecoveryRotates, nil)}, []string{"new"}
		}, "first"},
		"not ours to issue":    {func(s *rotation.Situation) { s.Entry.Current = nil; s.Entry.Rotated = time.Time{} }, ""},
		"a run is live":        {func(s *rotation.Situation) { s.Now = epoch.Add(29 * day); s.Entry.Live = &journal.Run{} }, ""},
		"backing off":          {func(s *rotation.Situation) { failed(s, false) }, ""},
		"back-off over":        {func(s *rotation.Situation) { failed(s, false); s.Now = s.Entry.Retry.NotBefore }, "time"},
		"held":                 {func(s *rotation.Situation) { failed(s, true); s.Now = epoch.Add(300 * day) }, ""},
		"dated ahead":          {func(s *rotation.Situation) { s.Entry.Rotated = s.Now.Add(300 * day) }, "time"},
		"dated ahead a little": {func(s *rotation.Situation) { s.Entry.Rotated = s.Now.Add(15 * time.Minute) }, ""},
		"the authority's clock is ahead": {func(s *rotation.Situation) {
			s.Entry.Rotated = s.Now.Add(300 * day)
			s.Entry.Last = &journal.Outcome{Run: "run-1", Ended: s.Now}
			s.Entry.Current.Run = "run-1"
		}, ""},
		"a back-off of a clock ahead": {func(s *rotation.Situation) { failed(s, false); s.Entry.Retry.NotBefore = s.Now.Add(day) }, "time"},
		"the longest back-off": {func(s *rotation.Situation) {
			failed(s, false)
			s.Entry.Retry = &journal.Retry{Attempts: 40, NotBefore: s.Now.Add(6 * time.Hour)}
		}, ""},
		"held, an old request": {func(s *rotation.Situation) { failed(s, true); s.Requests = s.Entry.Last.Trigger.Requests }, ""},
		"held, a new request":  {func(s *rotation.Situation) { failed(s, true); s.Requests = []string{"new"} }, "requested"},
	} {
		t.Run(name, func(t *testing.T) {
			s := monthly()
			c.change(&s)
			got := ""
			if reason := rotation.Due(s); reason != nil {
				got = reason.Kind
				if reason.Text == "" {
					t.Error("the reason says nothing")
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDueOnlyInsideItsWindows(t *testing.T) {
	night := journal.Window{Start: 23 * time.Hour, Duration: 4 * time.Hour, Zone: "Europe/Berlin"}
	saturday := night
	saturday.Days = []time.Weekday{time.Saturday}
	weekend := journal.Window{Days: []time.Weekday{time.Friday}, Start: 20 * time.Hour, Duration: 60 * time.Hour, Zone: "Europe/Berlin"}
	early := journal.Window{Start: 2*time.Hour + 30*time.Minute, Duration: time.Hour, Zone: "Europe/Berlin"}
	at := func(month time.Month, date, hour, minute int) time.Time {
		return time.Date(2030, month, date, hour, minute, 0, 0, time.UTC)
	}
	for name, c := range map[string]struct {
		window journal.Window
		now    time.Time
		want   bool
	}{
		"a weekend, on Sunday":                {weekend, at(2, 10, 12, 0), true},
		"a weekend, over":                     {weekend, at(2, 11, 7, 1), false},
		"before midnight":                     {night, at(2, 5, 22, 30), true},
		"over midnight":                       {night, at(2, 6, 1, 59), true},
		"after its end":                       {night, at(2, 6, 2, 0), false},
		"before its start":                    {night, at(2, 5, 21, 59), false},
		"begun on Saturday, now Sunday":       {saturday, at(2, 10, 1, 0), true},
		"begun on no Friday":                  {saturday, at(2, 9, 1, 0), false},
		"summer time: an hour earlier in UTC": {night, at(7, 5, 21, 0), true},
		"summer time: over":                   {night, at(7, 6, 1, 0), false},
		"its start is skipped in March":       {early, at(3, 31, 1, 45), true}, // 02:30 does not exist that day
		"it lasts its hour in March":          {early, at(3, 31, 2, 45), false},
		"a zone that is unknown opens never":  {journal.Window{Duration: day, Zone: "Nowhere/None"}, at(2, 5, 12, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := monthly()
			s.Policy.Windows = []journal.Window{c.window}
			s.Now = c.now
			if got := rotation.Due(s) != nil; got != c.want {
				t.Errorf("at %s: due %t, want %t", c.now, got, c.want)
			}
			s.Requests = []string{"new"}
			if rotation.Due(s) == nil {
				t.Error("a request waits for the window")
			}
		})
	}
}

// An hour that the clock shows twice opens its windows once.
func TestWindowInTheHourThatComesTwice(t *testing.T) {
	s := monthly()
	s.Policy.Windows = []journal.Window{{Start: 2*time.Hour + 30*time.Minute, Duration: time.Hour, Zone: "Europe/Berlin"}}
	open := time.Duration(0)
	for s.Now = time.Date(2030, 10, 26, 22, 0, 0, 0, time.UTC); s.Now.Day() < 28; s.Now = s.Now.Add(time.Minute) {
		if s.Now.Day() == 27 && s.Now.Hour() < 6 && rotation.Due(s) != nil {
			open += time.Minute
		}
	}
	if open != time.Hour {
		t.Errorf("the window was open for %s, want an hour", open)
	}
}

// A restart must neither move a due time nor bring secrets that were made together to rotate together.
func TestJitterIsAStableShare(t *testing.T) {
	policy := monthly().Policy
	policy.Jitter = 2 * day
	seen := map[time.Time]bool{}
	for i := range 100 {
		entry := monthly().Entry
		entry.Path = authority.Path(fmt.Sprintf("app/db-%d", i))
		first, _ := rotation.NextDue(entry, policy)
		again, _ := rotation.NextDue(entry, policy)
		if !first.Equal(again) {
			t.Fatalf("%s: due at %s, then at %s", entry.Path, first, again)
		}
		if early := epoch.Add(28 * day).Sub(first); early < 0 || early >= 2*day {
			t.Errorf("%s: moved by %s, want less than two days", entry.Path, early)
		}
		seen[first.Truncate(time.Hour)] = true
	}
	if len(seen) < 30 {
		t.Errorf("100 secrets are due in %d different hours", len(seen))
	}
}

func TestNextCheck(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	current := authority.VersionID{Number: 3, Run: "run-3"}
	entry := func(checked *journal.Checked) journal.Entry {
		return journal.Entry{Path: "app/db", Current: &current, Rotated: now.Add(-time.Hour), Checked: checked}
	}
	refused := func(tries int) *journal.Checked {
		return &journal.Checked{Version: current, At: now, Refused: true, Tries: tries}
	}
	live := entry(nil)
	live.Live = &journal.Run{}
	for name, c := range map[string]struct {
		entry       journal.Entry
		every       time.Duration
		wrongEvery  time.Duration
		least, most time.Duration // from now on
		never       bool
	}{
		"off":                        {entry: entry(nil), never: true},
		"a run is live":              {entry: live, every: day, never: true},
		"nothing was issued":         {entry: journal.Entry{}, every: day, never: true},
		"never tried since its run":  {entry: entry(nil), every: day, least: 11 * time.Hour, most: 23 * time.Hour},
		"accepted":                   {entry: entry(&journal.Checked{Version: current, At: now}), every: day, least: 12 * time.Hour, most: day},
		"an earlier version":         {entry: entry(&journal.Checked{At: now, Refused: true}), every: day, least: 11 * time.Hour, most: 23 * time.Hour},
		"refused once":               {entry: entry(refused(1)), every: day, least: 5 * time.Minute, most: 5 * time.Minute},
		"refused often":              {entry: entry(refused(40)), every: day, least: day, most: day},
		"refused, and it locks out":  {entry: entry(refused(1)), every: day, wrongEvery: time.Hour, least: 2 * time.Hour, most: 2 * time.Hour},
		"dated by a clock too early": {entry: entry(&journal.Checked{Version: current, At: now.Add(day)}), every: day},
	} {
		t.Run(name, func(t *testing.T) {
			next, on := rotation.NextCheck(c.entry, journal.Policy{VerifyEvery: c.every}, c.wrongEvery, now)
			if on == c.never || !c.never && (next.Sub(now) < c.least || next.Sub(now) > c.most) {
				t.Errorf("got %s (%v), want between %s and %s", next.Sub(now), on, c.least, c.most)
			}
		})
	}
}
