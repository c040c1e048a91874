// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

// Group is what a secret needs to know of those it rotates with. One of them leads: its journal entry alone says whether
// all go forward or all are taken back. Each other member journals that its candidate works (Applied) and from then on
// does as the leader did; before, it may be taken back, and the leader then takes back all.
type Group struct {
	Name    string
	Leader  authority.Path
	Members []Member // the leader too
}

// Member is one secret of a group.
type Member struct {
	Secret string
	Path   authority.Path
}

// fate of a group run, as one member's entry tells it.
type fate int

const (
	unknownOf fate = iota // the entry does not know the group's run
	underWay              // not there yet
	ready                 // its candidate works
	decided               // it only goes forward, or has
	undone                // it is taken back, or was
)

func fateOf(entry *journal.Entry, group authority.RunID) fate {
	if run := entry.Live; run != nil && run.Group == group {
		switch run.Step {
		case journal.Undoing:
			return undone
		case journal.Planned, journal.Staged:
			return underWay
		case journal.Applied:
			return ready
		}
		return decided
	}
	if last := entry.Last; last != nil && last.Group == group {
		if last.Result == resultCompleted {
			return decided
		}
		return undone
	}
	return unknownOf
}

// together waits until the whole group may go forward, or takes this run back with it. After it returns without a pause
// and without undoing, this run goes forward.
func (a *attempt) together(ctx context.Context) (*pause, error) {
	switch {
	case a.run.Group == "" || a.s.Group == nil:
		return nil, nil
	case a.run.Group == a.run.ID:
		return a.lead(ctx)
	}
	if a.run.Step != journal.Applied {
		a.run.Step = journal.Applied
		if err := a.Journal.Save(ctx, a.entry); err != nil {
			return nil, err
		}
	}
	leader, err := a.Journal.Load(ctx, a.s.Group.Leader)
	if err != nil {
		return nil, err
	}
	switch fateOf(leader, a.run.Group) {
	case decided:
		return nil, nil
	case undone, unknownOf: // a leader that moved on cannot have gone forward without this member
		a.p.released = true
		return a.takeBack(ctx, "its group "+a.s.Group.Name+" was taken back")
	}
	return a.wait("the other members of its group " + a.s.Group.Name + " to be verified"), nil
}

func (a *attempt) lead(ctx context.Context) (*pause, error) {
	for _, member := range a.s.Group.Members {
		if member.Path == a.s.Path {
			continue
		}
		entry, err := a.Journal.Load(ctx, member.Path)
		if err != nil {
			return nil, err
		}
		switch fateOf(entry, a.run.Group) {
		case undone:
			return a.takeBack(ctx, fmt.Sprintf("%s, of its group %s, was taken back", member.Secret, a.s.Group.Name))
		case underWay, unknownOf:
			return a.wait(fmt.Sprintf("%s, of its group %s, to be verified", member.Secret, a.s.Group.Name)), nil
		}
	}
	return nil, nil
}
