// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// related are rotations whose course others decide with: a person where the upstream cannot tell what a lost call made,
// a stranger who still uses the old credential, the other members of a group.
func related() []Scenario {
	short := func(shape upstreammemory.Shape, account upstreammemory.Config) Declaration {
		one := declare(shape, true, account)
		one.Reloads = one.Reloads[:1]
		return one
	}
	member := func(name string, shape upstreammemory.Shape, account upstreammemory.Config) Declaration {
		one := short(shape, account)
		one.Name = name
		return one
	}
	refusing := member("third", upstreammemory.Dual, upstreammemory.Config{})
	refusing.RefuseFirst = 1
	used := short(upstreammemory.Dual, upstreammemory.Config{Witnesses: true, Late: 2 * time.Second})
	used.Policy.QuietWindow = used.Policy.Settle // the default; a window of nothing looks at one instant
	return []Scenario{
		{
			Name: "listed", Secret: short(upstreammemory.Listed, upstreammemory.Config{Limit: 2}), Requests: 2,
			Danger: "a key that nobody can attribute is removed, or one more is made beside it",
			Events: []Event{{When: newcomer, Do: removeNewcomer}},
		},
		{
			Name: "rotated", Secret: short(upstreammemory.Rotated, upstreammemory.Config{}), Requests: 2,
			Danger: "a lost reply is taken for a call without effect, and the credential that nobody knows is waited for",
			Events: []Event{{When: wantsSupply, Do: supply}},
		},
		{
			Name: "old-still-used", Secret: used, Requests: 1,
			Danger: "a credential is revoked that somebody undeclared signs in with",
			Events: []Event{{When: recorded(journal.Delivered), Do: stranger}},
		},
		{
			Name: "derived", Requests: 2,
			Secret: short(upstreammemory.Dual, upstreammemory.Config{}),
			With:   []Declaration{{Name: "derived", DerivedFrom: []string{"secret"}, Reloads: []time.Duration{3 * time.Second}, Needs: materialize.Rolled}},
			Danger: "an input is revoked while a consumer of what is computed from it still runs on the old one",
		},
		{
			Name: "derived-from-group", Requests: 1,
			Secret: short(upstreammemory.Dual, upstreammemory.Config{}),
			With: []Declaration{
				member("second", upstreammemory.Dual, upstreammemory.Config{}),
				{Name: "derived", DerivedFrom: []string{"secret", "second"}, Reloads: []time.Duration{0}, Needs: materialize.Rolled},
			},
			Danger: "a derived value of one old and one new input",
		},
		{
			Name: "group", Requests: 2,
			Secret: short(upstreammemory.Dual, upstreammemory.Config{}),
			With:   []Declaration{member("second", upstreammemory.Overwrite, upstreammemory.Config{})},
			Danger: "one member goes forward and another is taken back",
		},
		{
			Name: "group-refused", Requests: 1,
			Secret: short(upstreammemory.Dual, upstreammemory.Config{}),
			With:   []Declaration{refusing},
			Danger: "one member goes forward and another is taken back",
		},
		{
			Name: "group-abort", Requests: 1,
			Secret: short(upstreammemory.Dual, upstreammemory.Config{}),
			With:   []Declaration{member("second", upstreammemory.Dual, upstreammemory.Config{})},
			Danger: "one member goes forward and another is taken back",
			Events: []Event{{When: recorded(journal.Applied), Do: abort}},
		},
		{
			Name: "group-abort-member", Requests: 1,
			Secret: short(upstreammemory.Dual, upstreammemory.Config{}),
			With:   []Declaration{member("second", upstreammemory.Dual, upstreammemory.Config{})},
			Danger: "a member that the leader counted on is taken back",
			Events: []Event{{When: countedOn, Do: abort, Member: 1}},
		},
	}
}

// waits returns why the live run said that it waits, none while effects are still on their way.
func (w *World) waits(s *Secret) reason.Reason {
	run := w.entry(s.Path).Live
	if run == nil || run.Waiting == nil || len(w.late) > 0 {
		return reason.Reason{}
	}
	return run.Waiting.Reason
}

// appeared are the keys that a run waits for a person to remove, and that are still there.
func (w *World) appeared(s *Secret) []string {
	waits := w.waits(s)
	if !waits.Is(reason.LostReplyNewcomers) {
		return nil
	}
	live, err := s.Upstream.List(context.Background())
	if err != nil {
		panic("sim: listing the double's keys: " + err.Error())
	}
	return slices.DeleteFunc(strings.Split(waits.Args["names"], ", "), func(name string) bool { return !slices.Contains(live, name) })
}

func newcomer(w *World, s *Secret) bool { return len(w.appeared(s)) > 0 }

// removeNewcomer is a person who reads what the run waits for, and removes the key that it names.
func removeNewcomer(w *World, s *Secret) {
	for _, name := range w.appeared(s) {
		s.Upstream.Delete(name)
	}
	w.events = append(w.events, Event{When: newcomer, Do: removeNewcomer, of: s})
}

func wantsSupply(w *World, s *Secret) bool {
	run := w.entry(s.Path).Live
	return w.waits(s).Args["supply"] != "" && (len(run.Digest) == 0 || !bytes.Equal(run.Digest, s.handed))
}

// supply is a person who makes a credential upstream and hands it in. While the run waits, the one before it is gone:
// that is what this kind of upstream does to a lost reply.
func supply(w *World, s *Secret) {
	made, err := s.Upstream.Hand(s.Bootstrap)
	if err != nil {
		panic("sim: making a credential by hand: " + err.Error())
	}
	w.person(func(ctx context.Context, engine *rotation.Engine) error {
		_, err := engine.Supply(ctx, s.Subject, "person", "the reply was lost", made)
		return err
	})
	if w.notes[len(w.notes)-1] == "done" {
		if run := w.entry(s.Path).Live; run != nil {
			s.handed = run.Digest
		}
		w.events = append(w.events, Event{When: wantsSupply, Do: supply, of: s})
	}
}

// stranger signs in with the old credential for a minute, twenty times a second, and must never be refused.
func stranger(w *World, s *Secret) {
	until := time.Now().Add(time.Minute)
	old := s.Bootstrap
	w.watch = func() {
		if time.Now().Before(until) && !s.Upstream.SignIn("stranger", old) {
			w.violate("used-credential-is-kept", s, "a stranger who uses the old credential is refused")
		}
	}
}

// countedOn holds once the leader has decided and the member does not know yet.
func countedOn(w *World, s *Secret) bool {
	leader := w.entry(s.Group.Leader).Live
	return liveAt(journal.Applied)(w, s) && leader != nil && leader.Step == journal.Verified
}

// group declares more secrets, which rotate with first as one.
func (w *World) group(first *Secret, declared []Declaration) ([]*Secret, error) {
	members := []*Secret{first}
	if len(declared) == 0 {
		return members, nil
	}
	for _, d := range declared {
		s, err := w.Declare(d)
		if err != nil {
			return nil, err
		}
		members = append(members, s)
	}
	together := slices.DeleteFunc(slices.Clone(members), func(s *Secret) bool { return s.Derived != nil })
	if len(together) == 1 {
		return members, nil
	}
	group := &rotation.Group{Name: "group", Leader: first.Path}
	for _, s := range together {
		group.Members = append(group.Members, rotation.Member{Secret: s.Subject.Secret, Path: s.Path, Upstream: s.Subject.Upstream})
		s.Group = group
	}
	w.saved = func(*journal.Entry) { w.oneFate(together) }
	return members, nil
}

// oneFate checks that no member of a group goes forward while another is taken back.
func (w *World) oneFate(members []*Secret) {
	forward, back := map[authority.RunID]bool{}, map[authority.RunID]bool{}
	for _, s := range members {
		entry := w.entry(s.Path)
		if run := entry.Live; run != nil && run.Group != "" {
			switch run.Step {
			case journal.Undoing:
				back[run.Group] = true
			case journal.Verified, journal.Promoted, journal.Delivered:
				forward[run.Group] = true
			}
		}
		if last := entry.Last; last != nil && last.Group != "" {
			if last.Result == journal.ResultCompleted {
				forward[last.Group] = true
			} else {
				back[last.Group] = true
			}
		}
	}
	for run := range forward {
		if back[run] {
			w.violate("one-fate", members[0], "of the group run %s one member goes forward and another is taken back", run)
		}
	}
}
