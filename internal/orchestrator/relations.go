// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

// Stagger keeps the rotations of a set of secrets apart.
type Stagger struct {
	Set string
	// Gap is the time between the end of one's run and the start of another's.
	Gap time.Duration
}

// planningOf lets one of a stagger set through at once.
func (o *Orchestrator) planningOf(set string) *outward.Gate {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.planning[set] == nil {
		o.planning[set] = outward.NewGate(1, 0)
	}
	return o.planning[set]
}

// withinStaggerGap says why a run may not begin beside, or so soon after, that of another secret of the set, none when it
// may, and when to look again.
func (o *Orchestrator) withinStaggerGap(ctx context.Context, s Secret) (why reason.Reason, again time.Time, err error) {
	now := o.Now()
	for _, other := range o.apart(s) {
		entry, err := o.Journal.Load(ctx, other.Path)
		if err != nil {
			return why, again, err
		}
		if why, again = staggerHold(s, other, entry, now); !why.None() {
			return why, again, nil
		}
	}
	return why, again, nil
}

// grouped lets a member of a group join its leader's run, or ask for one; for the leader it returns why the group is to
// begin now, its own reason or a member's, once every member can, and the requests for that, its own last.
func (o *Orchestrator) grouped(ctx context.Context, s Secret, entry *journal.Entry, requests []trigger.Request, due *rotation.Reason, seen *State) (joined bool, asked *rotation.Reason, all []trigger.Request, err error) {
	if s.Path == s.Group.Leader {
		wanted, members := o.wanted(s.Group, entry)
		if due == nil {
			due = wanted
		}
		if due == nil {
			return false, nil, nil, nil
		}
		hold, again, err := o.memberHolds(ctx, s, requests)
		if err != nil {
			return false, nil, nil, err
		}
		if !hold.None() {
			seen.hold(hold, again)
			return false, nil, nil, nil
		}
		return false, due, append(members, requests...), nil
	}
	leader, err := o.Journal.Load(ctx, s.Group.Leader)
	if err != nil {
		return false, nil, nil, err
	}
	run := leader.Live
	if run != nil && run.Group == run.ID && run.Step != journal.Undoing && slices.Contains(run.Members, s.Path) && (entry.Last == nil || entry.Last.Group != run.Group) {
		why := run.Trigger
		if why.Requests = nil; len(requests) > 0 {
			why = triggerOf(s, rotation.Reason{}, requests)
		}
		_, err := o.Rotation.Join(ctx, s.Subject, why, run)
		o.Wake(s.Group.Leader)
		return err == nil, nil, nil, err
	}
	o.mu.Lock()
	leads, declared := o.secrets[s.Group.Leader]
	if due == nil {
		delete(o.wants, s.Path)
	} else {
		w := want{lastOf(leader), &rotation.Reason{Kind: due.Kind, Text: ofGroup(s, due.Text)}, slices.Clone(requests)}
		for i := range w.requests {
			w.requests[i].Reason = ofGroup(s, w.requests[i].Reason)
			if reportsCompromise(w.requests[i]) { // of the member, not of the leader
				w.requests[i].Kind = trigger.Event
			}
		}
		o.wants[s.Path] = w
	}
	o.mu.Unlock()
	switch {
	case due == nil:
		return false, nil, nil, nil
	case !declared || leads.Suspended || leads.Elsewhere:
		seen.hold(reason.New(reason.GroupLeaderHeld, reason.Args{"group": s.Group.Name, "path": string(s.Group.Leader)}), time.Time{})
	default:
		seen.hold(reason.New(reason.GroupBegins, reason.Args{"group": s.Group.Name}), time.Time{})
	}
	o.Wake(s.Group.Leader)
	return false, nil, nil, nil
}

// ofGroup words, for the leader's run, why the member s wants it.
func ofGroup(s Secret, why string) string {
	return s.Subject.Secret + ", of the same group: " + why
}

// memberHolds says why the group cannot begin, none when it can, and when to look again where that is known. Requests are the
// leader's own.
func (o *Orchestrator) memberHolds(ctx context.Context, s Secret, requests []trigger.Request) (why reason.Reason, again time.Time, err error) {
	for _, one := range s.Group.Members {
		o.mu.Lock()
		other, declared := o.secrets[one.Path]
		leads := one.Path == s.Path
		asked := len(o.wants[one.Path].requests) > 0 || leads && len(requests) > 0
		o.mu.Unlock()
		entry, err := o.Journal.Load(ctx, one.Path)
		if err != nil {
			return why, again, err
		}
		known := member{other, declared, leads, asked, entry}
		why, again = memberHold(s.Group.Name, one.Secret, known, o.Now())
		if why.Is(reason.GroupMemberCallPending) {
			if err := o.Rotation.Quieten(ctx, other.Subject, entry); err != nil {
				return reason.Reason{}, again, err
			}
			why, again = memberHold(s.Group.Name, one.Secret, known, o.Now()) // the call may have less time than the entry said
		}
		if !why.None() {
			return why, again, nil
		}
	}
	return why, again, nil
}

// want is why a member of a group wants its leader to begin once more after a run: one that has begun meanwhile serves it.
type want struct {
	after  authority.RunID
	reason *rotation.Reason
	// requests are the member's: each makes the leader begin without waiting for its next attempt, once.
	requests []trigger.Request
}

// wanted says why a leader whose own entry gives no reason is to begin for a member, nil when it is not, and which
// requests of members a run of it takes. Within its back-off only a request counts that no run took yet.
func (o *Orchestrator) wanted(group *rotation.Group, leader *journal.Entry) (due *rotation.Reason, requests []trigger.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	later := rotation.Later(leader.Retry, o.Now())
	for _, member := range group.Members {
		w, wants := o.wants[member.Path]
		if !wants || w.after != lastOf(leader) {
			continue
		}
		requests = append(requests, w.requests...)
		fresh := slices.ContainsFunc(w.requests, func(request trigger.Request) bool { return !taken(leader, request.ID) })
		if due == nil && (!later || fresh) {
			due = w.reason
		}
	}
	return due, requests
}

// taken reports whether the leader's last run took a request.
func taken(leader *journal.Entry, id string) bool {
	return leader.Last != nil && slices.Contains(leader.Last.Trigger.Requests, id)
}

// carry has a run of a leader take the requests of the one before it, where that failed: a member that this process has
// not looked at yet may have made them, and each makes the group begin only once.
func carry(why *journal.Trigger, leader *journal.Entry) {
	if leader.Retry == nil || leader.Last == nil {
		return
	}
	for _, id := range leader.Last.Trigger.Requests {
		if !slices.Contains(why.Requests, id) {
			why.Requests = append(why.Requests, id)
		}
	}
}

// tellGroup has the other members looked at when the live run of s came to another step: they may wait for that. A run
// has few steps and comes to each once, so members never wake each other without end.
func (o *Orchestrator) tellGroup(ctx context.Context, s Secret, seen *State) error {
	entry, err := o.Journal.Load(ctx, s.Path)
	if err != nil || entry.Live == nil {
		return err
	}
	if stands := fmt.Sprintf("%s %s", entry.Live.ID, entry.Live.Step); stands != seen.stood {
		seen.stood = stands
		o.wakeGroup(s)
	}
	return nil
}

// lastOf is the last run of a secret that has ended, "" when none has.
func lastOf(entry *journal.Entry) authority.RunID {
	if entry.Last == nil {
		return ""
	}
	return entry.Last.Run
}

// wakeRelated has the secrets looked at that may wait for the end of a run of s.
func (o *Orchestrator) wakeRelated(s Secret) {
	if s.Group != nil {
		o.wakeGroup(s)
	}
	if s.Stagger == nil {
		return
	}
	for _, other := range o.apart(s) {
		o.Wake(other.Path)
	}
}

func (o *Orchestrator) wakeGroup(s Secret) {
	for _, member := range s.Group.Members {
		if member.Path != s.Path {
			o.Wake(member.Path)
		}
	}
}
