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

// tooNear says why a run may not begin beside, or so soon after, that of another secret of the set; nil when it may.
func (o *Orchestrator) tooNear(ctx context.Context, s Secret) (*wait, error) {
	now := o.Now()
	for _, other := range o.apart(s) {
		entry, err := o.Journal.Load(ctx, other.Path)
		if err != nil {
			return nil, err
		}
		if run := entry.Live; run != nil && run.Workflow == journal.Rotation {
			return &wait{fmt.Sprintf("the end of the run of %s, of the same stagger set %s", other.Secret, s.Stagger.Set), true, now.Add(time.Minute)}, nil
		}
		last := entry.Last
		if last == nil || last.Workflow != journal.Rotation || rotation.Ahead(last.Ended, now) {
			continue
		}
		if until := last.Ended.Add(max(s.Stagger.Gap, other.Stagger.Gap)); now.Before(until) {
			return &wait{fmt.Sprintf("%s, since %s of the same stagger set %s was rotated", until.UTC().Format(time.RFC3339), other.Secret, s.Stagger.Set), true, until}, nil
		}
	}
	return nil, nil
}

// grouped lets a member of a group join its leader's run, or ask for one; for the leader it returns why the group is to
// begin now, its own reason or a member's, once every member can, and the requests for that, its own last.
func (o *Orchestrator) grouped(ctx context.Context, s Secret, entry *journal.Entry, requests []trigger.Request, reason *rotation.Reason, seen *State) (joined bool, asked *rotation.Reason, all []trigger.Request, err error) {
	if s.Path == s.Group.Leader {
		wanted, members := o.wanted(s.Group, entry)
		if reason == nil {
			reason = wanted
		}
		if reason == nil {
			return false, nil, nil, nil
		}
		hold, err := o.memberHolds(ctx, s, requests)
		if err != nil {
			return false, nil, nil, err
		}
		if hold != nil {
			seen.hold(*hold)
			return false, nil, nil, nil
		}
		return false, reason, append(members, requests...), nil
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
	if reason == nil {
		delete(o.wants, s.Path)
	} else {
		w := want{lastOf(leader), &rotation.Reason{Kind: reason.Kind, Text: ofGroup(s, reason.Text)}, slices.Clone(requests)}
		for i := range w.requests {
			w.requests[i].Reason = ofGroup(s, w.requests[i].Reason)
		}
		o.wants[s.Path] = w
	}
	o.mu.Unlock()
	switch {
	case reason == nil:
		return false, nil, nil, nil
	case !declared || leads.Suspended || leads.Elsewhere:
		seen.hold(wait{reason: fmt.Sprintf("its group %s to begin, whose first secret, at %s, is suspended or rotated elsewhere", s.Group.Name, s.Group.Leader)})
	default:
		seen.hold(wait{reason: "its group " + s.Group.Name + " to begin", byDesign: true})
	}
	o.Wake(s.Group.Leader)
	return false, nil, nil, nil
}

// ofGroup words, for the leader's run, why the member s wants it.
func ofGroup(s Secret, reason string) string {
	return s.Subject.Secret + ", of the same group: " + reason
}

// memberHolds says why the group cannot begin, nil when it can. Requests are the leader's own.
func (o *Orchestrator) memberHolds(ctx context.Context, s Secret, requests []trigger.Request) (*wait, error) {
	for _, member := range s.Group.Members {
		o.mu.Lock()
		other, declared := o.secrets[member.Path]
		asked := len(o.wants[member.Path].requests) > 0 || member.Path == s.Path && len(requests) > 0
		o.mu.Unlock()
		entry, err := o.Journal.Load(ctx, member.Path)
		if err != nil {
			return nil, err
		}
		if r := entry.RecoveryNow(); r != nil && r.Next != "" && !asked {
			return &wait{reason: fmt.Sprintf("%s, of its group %s, which waits for %s", member.Secret, s.Group.Name, r.Waits())}, nil
		}
		if member.Path == s.Path {
			continue
		}
		switch {
		case !declared || other.Suspended || other.Elsewhere:
			return &wait{reason: fmt.Sprintf("%s, of its group %s, which is suspended or rotated elsewhere", member.Secret, s.Group.Name)}, nil
		case entry.Live != nil:
			return &wait{reason: fmt.Sprintf("the end of the run of %s, of its group %s", member.Secret, s.Group.Name), byDesign: true}, nil
		case entry.Current == nil && !other.First:
			return &wait{reason: fmt.Sprintf("%s, of its group %s, to be handed over", member.Secret, s.Group.Name), byDesign: true}, nil
		case o.Now().Before(entry.QuietUntil):
			if err := o.Rotation.Quieten(ctx, other.Subject, entry); err != nil {
				return nil, err
			}
			return &wait{fmt.Sprintf("a call of the last run of %s, of its group %s, which may still take effect", member.Secret, s.Group.Name), true, o.soon(entry.QuietUntil)}, nil
		}
	}
	return nil, nil
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
func (o *Orchestrator) wanted(group *rotation.Group, leader *journal.Entry) (reason *rotation.Reason, requests []trigger.Request) {
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
		if reason == nil && (!later || fresh) {
			reason = w.reason
		}
	}
	return reason, requests
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
