// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
)

// The plan gave the time at which a secret is due, though its window opens later or the cap holds it, and said nothing of jitter.
func TestPlanSaysWhenATimedRunBegins(t *testing.T) {
	now := time.Date(2026, 12, 2, 12, 0, 0, 0, time.UTC) // a Wednesday
	saturday := []journal.Window{{Days: []time.Weekday{time.Saturday}, Start: 22 * time.Hour, Duration: 4 * time.Hour, Zone: "Europe/Berlin"}}
	opens := time.Date(2026, 12, 5, 21, 0, 0, 0, time.UTC)
	share := rotation.Share("app/token", 6*time.Hour)
	for name, c := range map[string]struct {
		due    time.Time
		policy journal.Policy
		held   reason.Reason
		when   time.Time
		says   string
	}{
		"later":                   {due: now.Add(time.Hour), when: now.Add(time.Hour), says: "policy monthly"},
		"overdue":                 {due: now.Add(-time.Hour), when: now.Add(-time.Hour), says: "policy monthly"},
		"between windows":         {due: now.Add(-time.Hour), policy: journal.Policy{Windows: saturday}, when: opens, says: "in the window that opens 2026-12-05T21:00:00Z"},
		"due within a window":     {due: opens.Add(time.Hour), policy: journal.Policy{Windows: saturday}, when: opens.Add(time.Hour), says: "policy monthly"},
		"due after a window":      {due: opens.Add(4 * time.Hour), policy: journal.Policy{Windows: saturday}, when: opens.AddDate(0, 0, 7), says: "opens 2026-12-12T21:00:00Z"},
		"with jitter":             {due: now.Add(time.Hour), policy: journal.Policy{Jitter: 6 * time.Hour}, when: now.Add(time.Hour), says: "due 2026-12-02T13:00:00Z, "},
		"held by the cap":         {due: now.Add(-time.Hour), held: reason.New(reason.TimedRunsCapped, reason.Args{"count": "2"}).Till(now.Add(20 * time.Minute)), when: now.Add(20 * time.Minute)},
		"held by something other": {due: now.Add(-time.Hour), held: reason.New(reason.ClockJumped, nil), when: now.Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			step := server.Step{Held: c.held.Show()}
			timed(&step, &c.policy, inventory.Row{Path: "app/token", Policy: "monthly", Due: c.due}, now)
			if !step.When.Equal(c.when) || !step.Due.Equal(c.due) || !strings.Contains(step.Why, c.says) {
				t.Errorf("got %+v, want it at %s, because %q", step, c.when, c.says)
			}
			if c.policy.Jitter > 0 && (step.Jitter != share || !strings.Contains(step.Why, "early by jitter")) {
				t.Errorf("its share of jitter is %s in %q, want %s", step.Jitter, step.Why, share)
			}
		})
	}
}
