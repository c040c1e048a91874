// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// maxReplies bounds how many replies a call may need. One with more is not tried whole, which counts as a failure.
	maxReplies = 60
	// sampled: of so many places where a reply may be lost, one is tried when they are sampled.
	sampled = 4
)

// cutEach runs test with the replies lost after none, after one and so on, each time on a fresh fixture, until a call
// had all that it needed. When places are sampled, it goes on by more than one reply, and then back to the last reply that
// the call needs: what was lost there has had its effect.
func (b *bench) cutEach(test func(b *bench, replies int) (whole bool)) {
	b.Helper()
	try := func(replies int) (whole, passed bool) {
		passed = b.anew(fmt.Sprintf("after %d replies", replies), func(b *bench) { whole = test(b, replies) })
		return whole, passed
	}
	replies, step := 0, 1
	if b.Draw != nil {
		replies, step = b.Draw(sampled), sampled
	}
	for ; replies < maxReplies; replies += step {
		whole, passed := try(replies)
		if !passed {
			return
		}
		if whole {
			for before := replies - 1; before > replies-step && before >= 0; before-- {
				if whole, passed := try(before); !whole || !passed {
					return
				}
			}
			return
		}
	}
	b.Errorf("the call still waits for a reply after %d of them", maxReplies)
}

// cut makes one call whose replies are lost after some.
func (b *bench) cut(replies int, call func(ctx context.Context) error) error {
	ctx, cancel := b.within()
	defer cancel()
	b.Cut(replies)
	defer b.Mend()
	return call(ctx)
}

// fits checks the class of an error after a lost reply: nothing that only the upstream can have said.
func (b *bench) fits(err error) {
	b.Helper()
	if errors.Is(err, upstream.ErrSuperseded) || errors.Is(err, upstream.ErrRefusedCandidate) {
		b.Errorf("after a lost reply: got %v, which nobody said", err)
	}
}

func testLostVerify(b *bench) {
	first := b.issue("run-1", none)
	for replies := range maxReplies {
		var got upstream.Verdict
		var reason error
		_ = b.cut(replies, func(ctx context.Context) error {
			got, reason = b.verdict(ctx, first, fmt.Sprintf("the current credential, replies lost after %d", replies))
			return reason
		})
		switch got {
		case upstream.Accepted:
			return
		case upstream.Refused:
			b.Errorf("replies lost after %d: the current credential is said to be refused, want unknown", replies)
			return
		}
	}
	b.Errorf("signing in still waits for a reply after %d of them", maxReplies)
}

func testLostApply(b *bench) { b.cutEach(lostApply) }

func lostApply(b *bench, replies int) (whole bool) {
	first := b.issue("run-1", none)
	b.holds(1, "after the first issue")
	candidate := b.propose(first)
	before := b.list()
	var second secret.Value
	err := b.cut(replies, func(ctx context.Context) (err error) {
		second, err = b.tryApply(ctx, "run-2", first, candidate)
		return err
	})
	b.wait()
	b.fits(err)
	b.honours(first, "after a lost reply")
	if errors.Is(err, upstream.ErrNotApplied) {
		if b.kind.Issues {
			b.holds(1, "after a call that says it was not applied,")
		} else {
			b.is(upstream.Refused, candidate, fmt.Sprintf("the candidate that is said not to be applied (%v)", err))
		}
		b.is(upstream.Accepted, first, "the current credential, the candidate not being applied")
	}
	if err != nil {
		var ended bool
		if second, ended = b.recover(first, candidate, before, errors.Is(err, upstream.ErrNotApplied)); ended {
			return false
		}
	}
	b.is(upstream.Accepted, second, "the candidate in the end")
	b.is(b.overlap(), first, "the current credential in the end")
	b.revokeUntil("run-2", first, second)
	b.is(upstream.Accepted, second, "the candidate after revoking")
	b.is(upstream.Refused, first, "the old credential after revoking")
	b.holds(1, "in the end")
	return err == nil
}

// recover does what the run does when Apply by run-2 had no answer. ended says that a person would have to go on.
func (b *bench) recover(first, candidate secret.Value, before []string, unapplied bool) (second secret.Value, ended bool) {
	b.Helper()
	switch {
	case unapplied, b.kind.LostReply == upstream.Recover:
	case b.kind.LostReply == upstream.Reissue && b.kind.Issues:
		b.collectUntil("run-2")
		b.honours(first, "after collecting")
		if b.kind.Capability != upstream.Overwrite {
			b.holds(1, "after collecting what a lost reply left,")
		}
	case b.kind.Capability == upstream.Overwrite: // the current credential still works if the lost call had no effect
		ctx, cancel := b.within()
		defer cancel()
		if got, _ := b.verdict(ctx, first, "the current credential after a lost reply"); got != upstream.Accepted {
			return second, true
		}
	case b.kind.LostReply == upstream.Person:
		after := b.list()
		for _, one := range before {
			if !slices.Contains(after, one) {
				b.Errorf("after a lost reply the credential %s is gone from the list", one)
			}
		}
		if len(after) > len(before)+1 {
			b.Errorf("after a lost reply %d credentials are new, want one at most", len(after)-len(before))
		}
		return second, true
	}
	return b.applyUntil("run-2", first, candidate), false
}

// list is what the upstream lists, nothing where no list is asked for.
func (b *bench) list() []string {
	b.Helper()
	lister, ok := b.Upstream.(upstream.Lister)
	if !ok || !b.kind.Issues || b.kind.LostReply != upstream.Person || b.kind.Capability == upstream.Overwrite {
		return nil
	}
	ctx, cancel := b.within()
	defer cancel()
	list, err := lister.List(ctx)
	b.saw(err)
	if err != nil {
		b.Fatalf("List: %v", err)
	}
	return list
}

func testLostRevoke(b *bench) { b.cutEach(lostRevoke) }

func lostRevoke(b *bench, replies int) (whole bool) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	err := b.cut(replies, func(ctx context.Context) error { return b.tryRevoke(ctx, "run-2", first, second) })
	b.wait()
	b.fits(err)
	b.is(upstream.Accepted, second, "the successor after a lost reply")
	if errors.Is(err, upstream.ErrNotApplied) {
		b.is(upstream.Accepted, first, fmt.Sprintf("the old credential that is said not to be revoked (%v)", err))
	}
	if err == nil {
		b.is(upstream.Refused, first, "the old credential, said to be revoked")
	}
	b.revokeUntil("run-2", first, second)
	b.is(upstream.Refused, first, "the old credential in the end")
	b.is(upstream.Accepted, second, "the successor in the end")
	b.holds(1, "in the end")
	return err == nil
}

func testLostCollect(b *bench) { b.cutEach(lostCollect) }

func lostCollect(b *bench, replies int) (whole bool) {
	first := b.issue("run-1", none)
	orphan := b.issue("run-2", first)
	err := b.cut(replies, func(ctx context.Context) error {
		return b.tryCollect(ctx, b.Upstream.(upstream.Collector), "run-2")
	})
	b.wait()
	b.honours(first, "after a lost reply")
	b.collectUntil("run-2")
	b.honours(first, "after collecting")
	b.is(upstream.Refused, orphan, "the orphan in the end")
	b.holds(1, "in the end")
	return err == nil
}

const (
	// brief is the deadline of a call that gets no answer; it passes before a connection is given up.
	brief = 100 * time.Millisecond
	// landing bounds how long the suite waits for late effects. What breaks the wire passes requests on at once.
	landing = 2 * time.Second
)

// testOutlived: a call's deadline passes while it is under way. Once its run is taken back, nothing of it lands in the
// next run's account.
func testOutlived(b *bench) {
	first := b.issue("run-1", none)
	candidate := b.propose(first)
	guard, release := context.WithTimeout(b.Context(), callTimeout)
	defer release()
	ctx, cancel := context.WithTimeout(b.Context(), brief)
	defer cancel()
	b.Cut(0)
	_, err := b.tryApply(ctx, "run-2", first, candidate)
	if err == nil {
		b.Errorf("Apply without a single reply: got no error")
	}
	if guard.Err() != nil {
		b.Errorf("Apply went on for %s after its deadline", callTimeout)
	}
	b.fits(err)
	b.Mend()
	b.wait()
	b.honours(first, "after a call that outlived its deadline")
	if !b.kind.Fences {
		b.pause(min(b.kind.CallDeadline, landing))
	}
	current := b.undo("run-2", first, candidate)
	third := b.applyUntil("run-3", current, b.propose(current))
	b.undisturbed(current, candidate, third, 3)
}

// undisturbed checks that nothing of a call of run-2, which was taken back, lands while run-3 goes on, and ends run-3. It
// looks so many times, with pauses between: once where it is known that what was on its way has landed.
func (b *bench) undisturbed(current, candidate, third secret.Value, looks int) {
	b.Helper()
	for look := range looks {
		if look > 0 {
			b.pause(again)
		}
		b.is(upstream.Accepted, third, "the next run's candidate")
		b.honours(current, "during the next run")
	}
	if !b.kind.Issues && b.kind.Undo != upstream.Impossible {
		b.is(upstream.Refused, candidate, "the candidate that was taken back")
	}
	b.revokeUntil("run-3", current, third)
	b.is(upstream.Accepted, third, "the next run's candidate in the end")
	b.is(upstream.Refused, current, "the old credential in the end")
	b.holds(1, "in the end")
}

// undo undoes a run as its kind allows, and returns what is current then.
func (b *bench) undo(run authority.RunID, current, candidate secret.Value) secret.Value {
	b.Helper()
	switch {
	case b.kind.Issues:
		b.collectUntil(run)
	case b.kind.Undo == upstream.Discard:
		b.revokeUntil(run, candidate, current)
	case b.kind.Undo == upstream.Reapply:
		b.applyUntil(run, candidate, current)
	default: // it can only go forward
		b.applyUntil(run, current, candidate)
		b.revokeUntil(run, current, candidate)
		return candidate
	}
	b.is(upstream.Accepted, current, "the current credential after the run was taken back")
	return current
}
