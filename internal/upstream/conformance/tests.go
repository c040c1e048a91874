// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"reflect"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

var none secret.Value

func testKind(b *bench) {
	k := b.kind
	if again := b.Upstream.Kind(); !reflect.DeepEqual(k, again) {
		b.Errorf("Kind changes between calls: first %+v, then %+v", k, again)
	}
	if err := k.Check(); err != nil {
		b.Errorf("%v", err)
	}
	_, collects := b.Upstream.(upstream.Collector)
	_, decoys := b.Upstream.(upstream.Decoyer)
	_, tells := b.Upstream.(upstream.Witness)
	if k.Issues && k.LostReply == upstream.Reissue && !collects {
		b.Errorf("a kind that reissues must be able to collect what a lost reply left")
	}
	if k.Issues && k.Verifies && !decoys {
		b.Errorf("a kind that issues and verifies must be able to make a decoy")
	}
	if k.Evidence != nil && !tells {
		b.Errorf("evidence is declared, and uses cannot be asked for")
	}
	if _, owns := b.Upstream.(upstream.Owner); k.Whose != "" && !owns {
		b.Errorf("it is declared that whose a credential is can be told by %s, and it cannot be asked", k.Whose)
	}
}

func testFirstIssue(b *bench) {
	first := b.issue("run-1", none)
	if first.Empty() {
		b.Fatalf("got an empty credential")
	}
	if err := first.Fits(); err != nil {
		b.Errorf("%v", err)
	}
	b.is(upstream.Accepted, first, "the first credential")
}

func testPropose(b *bench) {
	first := b.issue("run-1", none)
	noted, err := first.With("note", []byte("kept"))
	if err != nil {
		b.Fatalf("%v", err)
	}
	candidate := b.propose(noted)
	if candidate.Equal(noted) {
		b.Errorf("the candidate equals the current value")
	}
	if got := candidate.ExposeText("note"); got != "kept" {
		b.Errorf("another field of the current value: got %q, want it kept", got)
	}
	if again := b.propose(noted); again.Equal(candidate) {
		b.Errorf("two proposals are equal")
	}
	b.is(upstream.Accepted, first, "the current credential after Propose")
	if b.kind.Verifies {
		b.is(upstream.Refused, candidate, "a candidate that was only proposed")
	}
}

// testIssueKeeps: fields that the upstream does not own stay with the credential that follows.
func testIssueKeeps(b *bench) {
	first := b.issue("run-1", none)
	noted, err := first.With("note", []byte("kept"))
	if err != nil {
		b.Fatalf("%v", err)
	}
	second := b.issue("run-2", noted)
	if second.Equal(noted) {
		b.Errorf("what was issued equals the current value")
	}
	if got := second.ExposeText("note"); got != "kept" {
		b.Errorf("another field of the current value: got %q, want it kept", got)
	}
	b.is(upstream.Accepted, second, "what was issued")
}

func testApplyTwice(b *bench) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	b.apply("run-2", first, second)
	b.is(upstream.Accepted, second, "the candidate applied twice")
	b.is(b.overlap(), first, "the current credential")
	third := b.issue("run-3", second)
	b.is(upstream.Accepted, third, "the next run's candidate")
	b.is(b.overlap(), second, "the current credential")
}

// overlap is what becomes of the old credential when its successor is applied.
func (b *bench) overlap() upstream.Verdict {
	if b.kind.Capability == upstream.Overwrite && b.kind.Verifies {
		return upstream.Refused
	}
	return upstream.Accepted
}

func testRandomRefused(b *bench) {
	first := b.issue("run-1", none)
	b.is(upstream.Refused, b.stranger(first), "a credential that nobody made")
	b.is(upstream.Accepted, first, "the right one after a wrong one")
}

func testEmptyCredential(b *bench) {
	b.issue("run-1", none)
	for _, v := range []secret.Value{none, b.wrong(none)} {
		got, err := b.Upstream.Verify(b.Context(), v)
		b.saw(err, v)
		if got == upstream.Accepted {
			b.Errorf("a credential without fields is accepted")
		}
	}
}

func testRevokeTwice(b *bench) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	for range 2 {
		b.revoke("run-2", first, second)
		b.is(upstream.Refused, first, "the revoked credential")
		b.is(upstream.Accepted, second, "its successor")
	}
	third := b.issue("run-3", second)
	b.is(upstream.Accepted, third, "the next run's candidate")
	b.is(b.overlap(), second, "the current credential")
	b.is(upstream.Refused, first, "the credential revoked before")
}

func testRevokeSuccessor(b *bench) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	ctx, cancel := b.within()
	defer cancel()
	// Whether this mistake is an error is the adapter's choice; the successor stays.
	_ = b.tryRevoke(ctx, "run-2", second, second)
	b.is(upstream.Accepted, second, "the successor, named as old too")
	_ = b.tryRevoke(ctx, "run-2", b.wrong(second), second)
	b.is(upstream.Accepted, second, "the successor, after revoking another secret of its account")
	b.is(b.overlap(), first, "the credential not revoked")
}

func testUndo(b *bench) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	switch b.kind.Undo {
	case upstream.Discard:
		for range 2 {
			b.revoke("run-2", second, first)
		}
	case upstream.Reapply:
		for range 2 {
			b.apply("run-2", second, first)
		}
	default:
		return
	}
	b.is(upstream.Accepted, first, "the current credential after undoing")
	b.is(upstream.Refused, second, "the candidate after undoing")
	third := b.issue("run-3", first)
	b.is(upstream.Accepted, third, "the next run's candidate")
	b.is(b.overlap(), first, "the current credential")
}

func testSuperseded(b *bench) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	third := b.issue("run-3", second)
	unchanged := func(after string) {
		b.Helper()
		b.is(upstream.Accepted, third, "the current credential after "+after)
		b.is(b.overlap(), second, "the one before it after "+after)
	}
	unchanged("three runs")

	ctx, cancel := b.within()
	defer cancel()
	for _, run := range []struct {
		id            authority.RunID
		current, late secret.Value
	}{{"run-1", none, first}, {"run-2", first, second}} {
		candidate := run.late
		if b.kind.Issues {
			candidate = none
		}
		if _, err := b.tryApply(ctx, run.id, run.current, candidate); !errors.Is(err, upstream.ErrSuperseded) {
			b.Errorf("late Apply by %s: got %v, want ErrSuperseded", run.id, err)
		}
		unchanged("a late Apply by " + string(run.id))
	}
	if b.kind.Capability == upstream.Overwrite {
		return // revoking does nothing there
	}
	for _, old := range []secret.Value{first, third} {
		if err := b.tryRevoke(ctx, "run-2", old, second); !errors.Is(err, upstream.ErrSuperseded) {
			b.Errorf("late Revoke: got %v, want ErrSuperseded", err)
		}
		unchanged("a late Revoke")
	}
	b.revoke("run-3", second, third)
	b.is(upstream.Refused, second, "the old credential, revoked by the run that may")
}

func testRefusedCandidate(b *bench) {
	first := b.issue("run-1", none)
	candidate := b.Refused(b.T, b.propose(first))
	ctx, cancel := b.within()
	defer cancel()
	for range 2 {
		if _, err := b.tryApply(ctx, "run-2", first, candidate); !errors.Is(err, upstream.ErrRefusedCandidate) {
			b.Errorf("Apply: got %v, want ErrRefusedCandidate", err)
		}
	}
	b.is(upstream.Accepted, first, "the current credential")
	b.is(upstream.Refused, candidate, "the candidate")
	b.is(upstream.Accepted, b.issue("run-3", first), "the next candidate")
}

func testUnreachable(b *bench) {
	first := b.issue("run-1", none)
	candidate := b.propose(first)
	b.Break()
	ctx, cancel := b.within()
	defer cancel()
	b.isUnder(ctx, upstream.Unknown, first, "the current credential, unreachable")
	if _, err := b.tryApply(ctx, "run-2", first, candidate); !errors.Is(err, upstream.ErrNotApplied) {
		b.Errorf("Apply, unreachable: got %v, want ErrNotApplied", err)
	}
	if err := b.tryRevoke(ctx, "run-2", first, candidate); err == nil && b.kind.Capability != upstream.Overwrite {
		b.Errorf("Revoke, unreachable: got no error")
	}
	if witness, ok := b.Upstream.(upstream.Witness); ok {
		if uses, err := witness.Uses(ctx, first, time.Unix(0, 0)); err == nil {
			b.Errorf("Uses, unreachable: got %d uses and no error; silence is not proof", len(uses))
		}
	}
	if marked, ok := b.Upstream.(upstream.Marked); ok && marks(b.Fixture, b.kind) {
		if found, err := marked.Stranger(ctx, nil); err == nil {
			b.Errorf("Stranger, unreachable: got %q and no error", found)
		}
	}
	b.Mend()
	b.is(upstream.Accepted, first, "the current credential, reachable again")
	second := b.apply("run-2", first, candidate)
	b.is(upstream.Accepted, second, "the candidate, applied when reachable again")
}

func testExpired(b *bench) {
	first := b.issue("run-1", none)
	candidate := b.propose(first)
	cancelled, cancel := context.WithCancel(b.Context())
	cancel()
	expired, release := context.WithDeadline(b.Context(), time.Unix(0, 0))
	defer release()
	for name, ctx := range map[string]context.Context{"cancelled": cancelled, "expired": expired} {
		b.isUnder(ctx, upstream.Unknown, first, "Verify, "+name)
		if _, err := b.tryApply(ctx, "run-2", first, candidate); !errors.Is(err, upstream.ErrNotApplied) {
			b.Errorf("Apply, %s: got %v, want ErrNotApplied", name, err)
		}
		if err := b.tryRevoke(ctx, "run-2", first, candidate); err == nil && b.kind.Capability != upstream.Overwrite {
			b.Errorf("Revoke, %s: got no error", name)
		}
	}
	b.is(upstream.Accepted, first, "the current credential")
	if !b.kind.Issues {
		b.is(upstream.Refused, candidate, "the candidate of expired calls")
	}
}

func testCollect(b *bench) {
	collector, ok := b.Upstream.(upstream.Collector)
	if !ok {
		return
	}
	first := b.issue("run-1", none)
	orphan := b.issue("run-2", first)
	second := b.issue("run-2", first)
	if orphan.Equal(second) {
		b.Errorf("two calls issued the same credential")
	}
	ctx, cancel := b.within()
	defer cancel()
	for range 2 {
		err := collector.Collect(ctx, "run-2")
		b.saw(err)
		if err != nil {
			b.Fatalf("Collect: %v", err)
		}
		b.wait()
		b.is(upstream.Refused, orphan, "an orphan")
		b.is(upstream.Refused, second, "another orphan")
		b.is(upstream.Accepted, first, "the current credential")
	}
}
