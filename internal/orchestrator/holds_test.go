// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"testing"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var noon = time.Date(2030, 1, 15, 12, 0, 0, 0, time.UTC) // a Tuesday

func wantHold(t *testing.T, why reason.Reason, again time.Time, code reason.Code, at time.Time) {
	t.Helper()
	if why.Code != code || !again.Equal(at) {
		t.Errorf("got %q until %s, want %q until %s", why.Code, again, code, at)
	}
}

// TestStaggerHold: what the run of another secret of the set leaves to wait for.
func TestStaggerHold(t *testing.T) {
	in := func(gap time.Duration) Secret {
		return Secret{Subject: rotation.Subject{Secret: "token"}, Stagger: &Stagger{"web", gap}}
	}
	ended := func(workflow journal.Workflow, at time.Time) func(*journal.Entry) {
		return func(entry *journal.Entry) {
			entry.Last = &journal.Outcome{Run: "run-1", Workflow: workflow, Result: journal.ResultCompleted, Ended: at}
		}
	}
	for name, row := range map[string]struct {
		own, other time.Duration
		entry      *journal.Entry
		code       reason.Code
		again      time.Time
	}{
		"it never ran":                    {time.Hour, time.Hour, entryOf(), "", time.Time{}},
		"it rotates now":                  {time.Hour, time.Hour, entryOf(live(journal.Rotation)), reason.StaggerRun, noon.Add(time.Minute)},
		"it is handed over now":           {time.Hour, time.Hour, entryOf(live(journal.Handover)), "", time.Time{}},
		"it rotated lately":               {time.Hour, time.Hour, entryOf(ended(journal.Rotation, noon.Add(-10*time.Minute))), reason.StaggerGap, noon.Add(50 * time.Minute)},
		"the other's gap is longer":       {time.Minute, time.Hour, entryOf(ended(journal.Rotation, noon.Add(-10*time.Minute))), reason.StaggerGap, noon.Add(50 * time.Minute)},
		"it rotated long ago":             {time.Hour, time.Minute, entryOf(ended(journal.Rotation, noon.Add(-time.Hour))), "", time.Time{}},
		"it was handed over lately":       {time.Hour, time.Hour, entryOf(ended(journal.Handover, noon)), "", time.Time{}},
		"it rotated by a clock far ahead": {time.Hour, time.Hour, entryOf(ended(journal.Rotation, noon.Add(24*time.Hour))), "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			why, again := staggerHold(in(row.own), in(row.other), row.entry, noon)
			wantHold(t, why, again, row.code, row.again)
		})
	}
}

// TestMemberHold: a group begins only when every member can.
func TestMemberHold(t *testing.T) {
	replaced := func(entry *journal.Entry) {
		entry.Recovery = &journal.Recovery{Version: entry.Current, Reason: reason.New(reason.RecoveryReplaces, nil)}
	}
	pending := func(entry *journal.Entry) { entry.QuietUntil = noon.Add(time.Minute) }
	over := func(entry *journal.Entry) { entry.QuietUntil = noon.Add(-time.Minute) }
	for name, row := range map[string]struct {
		member member
		code   reason.Code
		again  time.Time
	}{
		"it can":                          {member{declared: true, entry: entryOf()}, "", time.Time{}},
		"it is not declared":              {member{entry: entryOf()}, reason.GroupMemberHeld, time.Time{}},
		"it is suspended":                 {member{declared: true, secret: Secret{Subject: rotation.Subject{Suspended: true}}, entry: entryOf()}, reason.GroupMemberHeld, time.Time{}},
		"it is rotated elsewhere":         {member{declared: true, secret: Secret{Elsewhere: true}, entry: entryOf()}, reason.GroupMemberHeld, time.Time{}},
		"it has a run":                    {member{declared: true, entry: entryOf(live(journal.Rotation))}, reason.GroupMemberRunning, time.Time{}},
		"it is still in Git":              {member{declared: true, entry: entryOf(withoutValue)}, reason.GroupMemberInGit, time.Time{}},
		"its first value is to be made":   {member{declared: true, secret: Secret{First: true}, entry: entryOf(withoutValue)}, "", time.Time{}},
		"a call of it may land":           {member{declared: true, entry: entryOf(pending)}, reason.GroupMemberCallPending, noon.Add(time.Minute + time.Millisecond)},
		"a call of it can land no more":   {member{declared: true, entry: entryOf(over)}, "", time.Time{}},
		"it is recovering":                {member{declared: true, entry: entryOf(recovers)}, reason.GroupMemberRecovering, time.Time{}},
		"it is recovering, and asked for": {member{declared: true, asked: true, entry: entryOf(recovers)}, "", time.Time{}},
		"a run replaces it":               {member{declared: true, entry: entryOf(replaced)}, "", time.Time{}},
		"the leader is recovering":        {member{declared: true, leads: true, entry: entryOf(recovers)}, reason.GroupMemberRecovering, time.Time{}},
		"the leader has a run":            {member{declared: true, leads: true, entry: entryOf(live(journal.Rotation))}, "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			why, again := memberHold("web", "token", row.member, noon)
			wantHold(t, why, again, row.code, row.again)
		})
	}
}

// TestTimedHold: the clock alone begins nothing while it may be wrong, and only so many runs within an hour.
func TestTimedHold(t *testing.T) {
	recent := []time.Time{noon.Add(-10 * time.Minute), noon.Add(-30 * time.Minute)}
	for name, row := range map[string]struct {
		jumped string
		most   int
		code   reason.Code
		again  time.Time
	}{
		"there is room":              {"", 3, "", time.Time{}},
		"as many as are allowed ran": {"", 2, reason.TimedRunsCapped, noon.Add(30 * time.Minute)},
		"the clock jumped":           {"it jumped by a day", 3, reason.ClockJumped, time.Time{}},
		"both":                       {"it jumped by a day", 1, reason.ClockJumped, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			why, again := timedHold(row.jumped, recent, row.most)
			wantHold(t, why, again, row.code, row.again)
		})
	}
}

// TestWindowHold: what is due by the clock waits for its maintenance window, and nothing else does.
func TestWindowHold(t *testing.T) {
	policy := journal.Policy{
		RotationType: "time", TTL: time.Hour,
		Windows: []journal.Window{{Start: 22 * time.Hour, Duration: time.Hour, Zone: "UTC"}},
	}
	opening := time.Date(2030, 1, 15, 22, 0, 0, 0, time.UTC)
	rotated := func(ago time.Duration) *journal.Entry {
		return entryOf(func(entry *journal.Entry) { entry.Rotated = noon.Add(-ago) })
	}
	rotating := Secret{Subject: rotation.Subject{Secret: "token", Upstream: &upstreammemory.Upstream{}, Policy: policy}}
	delivered := rotating
	delivered.Upstream = nil
	for name, row := range map[string]struct {
		secret Secret
		entry  *journal.Entry
		due    *rotation.Reason
		code   reason.Code
		again  time.Time
	}{
		"it is due":                      {rotating, rotated(2 * time.Hour), nil, reason.MaintenanceWindow, opening},
		"it is not due":                  {rotating, rotated(time.Minute), nil, "", time.Time{}},
		"somebody asked":                 {rotating, rotated(2 * time.Hour), &rotation.Reason{Kind: "requested"}, "", time.Time{}},
		"nothing can make a new version": {delivered, rotated(2 * time.Hour), nil, "", time.Time{}},
		"its run is live":                {rotating, entryOf(live(journal.Rotation), func(entry *journal.Entry) { entry.Rotated = noon.Add(-2 * time.Hour) }), nil, "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			why, again := windowHold(row.secret, rotation.Situation{Entry: *row.entry, Policy: policy, Now: noon}, row.due)
			wantHold(t, why, again, row.code, row.again)
		})
	}
}
