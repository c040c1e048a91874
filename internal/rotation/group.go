// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"context"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// Group is what a secret needs to know of those it rotates with. One of them leads: its journal entry alone says whether
// all go forward or all are taken back. Every member journals that its candidate works (Applied) and waits; members from
// then on do as the leader did, and before it may be taken back, whereupon the leader takes back all. Members whose old
// credential ends when the new one is made go last: they make it once all the others' candidates work.
//
// Who leads and who takes part is pinned by the leader's run: the estate may change while it lives.
type Group struct {
	Name    string
	Leader  authority.Path
	Members []Member // the leader too
}

// Member is one secret of a group.
type Member struct {
	Secret   string
	Path     authority.Path
	Upstream upstream.Upstream
}

// interrupts says whether making a new credential ends the old one.
func (m Member) interrupts() bool {
	return m.Upstream != nil && m.Upstream.Kind().Capability == upstream.Overwrite
}

// reversible fails for a group of which a member could not be taken back with the others.
func (s Subject) reversible() error {
	if s.Group == nil {
		return nil
	}
	for _, member := range s.Group.Members {
		if member.Upstream != nil && member.Upstream.Kind().Undo == upstream.Impossible {
			return fmt.Errorf("planning run of %s: %s, of its group %s, cannot be taken back with the others, since its upstream cannot undo: %w",
				s.Secret, member.Secret, s.Group.Name, ErrNotAllowed)
		}
	}
	return nil
}

// member is the declared member at path, or what is known of one that is no longer declared.
func (s Subject) member(path authority.Path) Member {
	if s.Group != nil {
		for _, member := range s.Group.Members {
			if member.Path == path {
				return member
			}
		}
	}
	return Member{Secret: string(path), Path: path}
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
		if last.Result == journal.ResultCompleted {
			return decided
		}
		return undone
	}
	return unknownOf
}

// together waits until the whole group may go forward, or takes this run back with it. After it returns without a pause
// and without undoing, this run goes forward.
func (a *attempt) together(ctx context.Context) (*pause, error) {
	if a.run.Step != journal.Applied {
		a.run.Step = journal.Applied
		if err := a.save(ctx); err != nil {
			return nil, err
		}
	}
	if a.run.Group == a.run.ID {
		return a.others(ctx, func(Member) bool { return true })
	}
	leader, went, err := a.ofGroup(ctx)
	if err != nil {
		return nil, err
	}
	switch went {
	case decided:
		return nil, nil
	case undone:
		a.seen.released = true
		return a.beginUndoWith(ctx, leader, "its group was taken back")
	}
	return a.wait(reason.GroupVerifying, reason.Args{"leader": a.s.member(a.run.Leader).Secret}), nil
}

// ofGroup is the fate of the group, as the entry of its leader tells a member, and that entry.
func (a *attempt) ofGroup(ctx context.Context) (leader *journal.Entry, went fate, err error) {
	if leader, err = a.Journal.Load(ctx, a.run.Leader); err != nil {
		return nil, unknownOf, err
	}
	if went = fateOf(leader, a.run.Group); went != unknownOf {
		return leader, went, nil
	}
	if err := a.Journal.Save(ctx, leader); err != nil { // it moved on, or the read was stale: only what is newest can be saved
		return nil, unknownOf, err
	}
	went, err = a.ofOthers(ctx)
	return leader, went, err
}

// ofOthers is the fate of a group whose leader's entry no longer knows it: forward with any other member that went there,
// and back otherwise.
func (a *attempt) ofOthers(ctx context.Context) (fate, error) {
	for _, path := range a.run.Members {
		if path == a.s.Path || path == a.run.Leader {
			continue
		}
		entry, err := a.Journal.Load(ctx, path)
		if err != nil {
			return unknownOf, err
		}
		if fateOf(entry, a.run.Group) == decided {
			return decided, nil
		}
		if err := a.Journal.Save(ctx, entry); err != nil { // that read, too, may have been stale
			return unknownOf, err
		}
	}
	return undone, nil
}

// beginUndoWith takes this run back with that of another member: who aborted that aborted the group.
func (a *attempt) beginUndoWith(ctx context.Context, other *journal.Entry, why string) (*pause, error) {
	a.run.Aborted = abortedIn(other, a.run.Group)
	stop, err := a.beginUndo(ctx, why)
	a.run.Aborted = a.run.Aborted && a.run.Step == journal.Undoing
	return stop, err
}

// abortedIn says whether a person had the entry's run of the group taken back.
func abortedIn(entry *journal.Entry, group authority.RunID) bool {
	if run := entry.Live; run != nil && run.Group == group {
		return run.Aborted
	}
	return entry.Last != nil && entry.Last.Group == group && entry.Last.Aborted
}

// others waits until the candidates of the members that count work, or takes this run back with one of them.
func (a *attempt) others(ctx context.Context, counts func(Member) bool) (*pause, error) {
	for _, path := range a.run.Members {
		member := a.s.member(path)
		if path == a.s.Path || !counts(member) {
			continue
		}
		entry, err := a.Journal.Load(ctx, path)
		if err != nil {
			return nil, err
		}
		switch fateOf(entry, a.run.Group) {
		case undone:
			return a.beginUndoWith(ctx, entry, member.Secret+", of its group, was taken back")
		case unknownOf:
			if stop, over, err := a.groupIsOver(ctx); stop != nil || over || err != nil {
				return stop, err
			}
			fallthrough
		case underWay:
			return a.wait(reason.GroupMemberVerifying, reason.Args{"member": member.Secret}), nil
		}
	}
	return nil, nil
}

// groupIsOver takes this run back where its group was: one that took part after a stale read would wait for a member that is at a later
// run by now, and never comes to this one.
func (a *attempt) groupIsOver(ctx context.Context) (stop *pause, over bool, err error) {
	if a.run.Group == a.run.ID {
		return nil, false, nil // it leads, and the member has not taken part yet
	}
	leader, went, err := a.ofGroup(ctx)
	if err != nil || went != undone {
		return nil, false, err
	}
	stop, err = a.beginUndoWith(ctx, leader, "its group was taken back")
	return stop, true, err
}

// followed says why a supply would hide from a member how its group's run of s ended; nil when none has to know any more.
func (e *Engine) followed(ctx context.Context, s Subject, entry *journal.Entry) error {
	last := entry.Last
	if s.Group == nil || last == nil || last.Group != last.Run || last.Result != journal.ResultCompleted {
		return nil
	}
	for _, member := range s.Group.Members {
		other, err := e.Journal.Load(ctx, member.Path)
		if err != nil {
			return err
		}
		if fateOf(other, last.Group) == ready {
			return fmt.Errorf("supplying a value to %s: the run of %s, of its group %s, still has to go forward with the last one of it; see what that waits for: %w",
				s.Secret, member.Secret, s.Group.Name, ErrNotNow)
		}
	}
	return nil
}
