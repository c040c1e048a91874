// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"slices"
	"strconv"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// This file has no effects: it says what stands before a run that is due. Each function takes what is known and returns why the run
// may not begin, none when it may, and when to look again, zero where that is left to what holds it.

// windowHold: the clock alone begins runs in maintenance windows only. due is what else asks for a run.
func windowHold(s Secret, now rotation.Situation, due *rotation.Reason) (why reason.Reason, again time.Time) {
	if s.Upstream == nil || due != nil || !rotation.BetweenWindows(now) {
		return why, again
	}
	opening := s.Policy.Opens(now.Now)
	return reason.New(reason.MaintenanceWindow, nil).Till(opening), opening
}

// staggerHold: two secrets of a stagger set have no runs at the same time, nor one sooner after the other than the longer of their
// gaps. entry is that of the other one.
func staggerHold(s, other Secret, entry *journal.Entry, now time.Time) (why reason.Reason, again time.Time) {
	args := reason.Args{"secret": other.Secret, "set": s.Stagger.Set}
	if run := entry.Live; run != nil && run.Workflow == journal.Rotation {
		return reason.New(reason.StaggerRun, args), now.Add(time.Minute)
	}
	last := entry.Last
	if last == nil || last.Workflow != journal.Rotation || rotation.Ahead(last.Ended, now) {
		return why, again
	}
	if until := last.Ended.Add(max(s.Stagger.Gap, other.Stagger.Gap)); now.Before(until) {
		return reason.New(reason.StaggerGap, args).Till(until), until
	}
	return why, again
}

// member is what is known of one member of a group when its leader would begin.
type member struct {
	secret   Secret // as it is declared
	declared bool
	leads    bool // it is the leader, about which only a recovery counts
	asked    bool // a person or an event asks for its rotation
	entry    *journal.Entry
}

// memberHold: a group begins only when every member can.
func memberHold(group string, name string, m member, now time.Time) (why reason.Reason, again time.Time) {
	args := reason.Args{"member": name, "group": group}
	r := m.entry.RecoveryNow()
	switch {
	case r != nil && !r.Replaced() && !m.asked:
		return reason.New(reason.GroupMemberRecovering, args).With(reason.Args{"explain": name}).Because(r.Reason.Text()), again
	case m.leads:
		return why, again
	case !m.declared || m.secret.Suspended || m.secret.Elsewhere:
		return reason.New(reason.GroupMemberHeld, args), again
	case m.entry.Live != nil:
		return reason.New(reason.GroupMemberRunning, args), again
	case m.entry.Current == nil && !m.secret.First:
		return reason.New(reason.GroupMemberInGit, args), again
	case now.Before(m.entry.QuietUntil):
		return reason.New(reason.GroupMemberCallPending, args).Till(m.entry.QuietUntil), soon(m.entry.QuietUntil, now)
	}
	return why, again
}

// timedHold: the clock alone begins nothing while it may be wrong, and at most so many runs within an hour. recent are the starts of
// that hour.
func timedHold(jumped string, recent []time.Time, most int) (why reason.Reason, again time.Time) {
	switch {
	case jumped != "":
		return reason.New(reason.ClockJumped, nil).Because(jumped), again
	case len(recent) < most:
		return why, again
	}
	again = slices.MinFunc(recent, time.Time.Compare).Add(time.Hour)
	return reason.New(reason.TimedRunsCapped, reason.Args{"count": strconv.Itoa(len(recent))}).Till(again), again
}

// retryHold: after runs that failed the next waits for its time, or for a person.
func retryHold(s Secret, retry *journal.Retry) reason.Reason {
	if !retry.Held {
		return reason.New(reason.RetryLater, nil).Because(retry.Reason).Till(retry.NotBefore)
	}
	why := reason.New(reason.RetryHeld, reason.Args{"attempts": strconv.Itoa(retry.Attempts), "rotate": s.Subject.Secret}).Because(retry.Reason)
	if s.Escrow != nil { // it may need itself to be rotated
		why = why.With(reason.Args{"supply": s.Subject.Secret})
	}
	return why
}

// soon is just after at, or in a minute where that has passed.
func soon(at, now time.Time) time.Time {
	if at.Before(now) {
		return now.Add(time.Minute)
	}
	return at.Add(time.Millisecond)
}
