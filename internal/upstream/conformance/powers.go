// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

func testDecoy(b *bench) {
	decoyer, ok := b.Upstream.(upstream.Decoyer)
	if !ok {
		b.Fatalf("a kind that issues and verifies must be able to make a decoy: without one nothing shows that verifying means something")
	}
	first := b.issue("run-1", none)
	one, two := b.stranger(first), b.stranger(first)
	if got, want := one.Names(), first.Names(); !slices.Equal(got, want) {
		b.Errorf("fields of a decoy: got %v, want those of the credential, %v", got, want)
	}
	if one.Equal(first) || one.Equal(two) {
		b.Errorf("a decoy equals the credential, or another decoy")
	}
	b.is(upstream.Refused, one, "a decoy")
	b.is(upstream.Refused, two, "another decoy")
	b.is(upstream.Accepted, first, "the credential after its decoys")
	if b.Break == nil || b.Mend == nil {
		return
	}
	b.Break()
	if _, err := decoyer.Decoy(first); err != nil {
		b.Errorf("Decoy, unreachable: got %v, but it calls nothing outside", err)
	}
	b.Mend()
}

func testList(b *bench) {
	lister, ok := b.Upstream.(upstream.Lister)
	if !ok {
		return
	}
	before := b.list()
	first := b.issue("run-1", none)
	one := b.list()
	second := b.issue("run-2", first)
	two := b.list()
	if len(one) != len(before)+1 || b.kind.Capability != upstream.Overwrite && len(two) != len(one)+1 {
		b.Errorf("got lists of %d, %d and %d credentials, want one more with each that is issued", len(before), len(one), len(two))
	}
	for _, list := range [][]string{before, one, two} {
		if unique := slices.Compact(slices.Sorted(slices.Values(list))); len(unique) != len(list) {
			b.Errorf("a list names a credential twice")
		}
		for _, name := range list {
			for _, v := range b.values {
				for _, field := range v.Names() {
					if !b.public(field) && len(v.ExposeText(field)) >= 6 && name == v.ExposeText(field) {
						b.Errorf("a list names a credential by its field %s; identities must not be secret", field)
					}
				}
			}
		}
	}
	if b.kind.Verifies && b.kind.Capability != upstream.Overwrite {
		b.revoke("run-2", first, second)
		if after := b.list(); len(after) != len(two)-1 {
			b.Errorf("after revoking the list has %d credentials, want %d", len(after), len(two)-1)
		}
	}
	cancelled, cancel := context.WithCancel(b.Context())
	cancel()
	if list, err := lister.List(cancelled); err == nil {
		b.Errorf("List under a cancelled context: got %d credentials and no error", len(list))
	}
}

func testThrottled(b *bench) {
	first := b.issue("run-1", none)
	candidate := b.propose(first)
	before := b.list()
	b.Throttle()
	ctx, cancel := b.within()
	defer cancel()
	got, err := b.verdict(ctx, first, "the current credential, throttled")
	if got != upstream.Unknown {
		b.Errorf("the current credential, throttled: got %s, want unknown", got)
	}
	later, ok := errors.AsType[*upstream.Later](err)
	if !ok {
		b.Errorf("the current credential, throttled: got %v, want an upstream.Later in its chain", err)
	} else if later.After < 0 {
		b.Errorf("the current credential, throttled: asked to wait for %s", later.After)
	}
	second, err := b.tryApply(ctx, "run-2", first, candidate)
	b.fits(err)
	b.Mend()
	b.wait()
	unapplied := errors.Is(err, upstream.ErrNotApplied)
	if unapplied && !b.kind.Issues {
		b.is(upstream.Refused, candidate, "the candidate that is said not to be applied")
	}
	b.honours(first, "after throttling")
	if err != nil {
		var ended bool
		if second, ended = b.recover(first, candidate, before, unapplied); ended {
			return
		}
	}
	b.is(upstream.Accepted, second, "the candidate in the end")
	b.revokeUntil("run-2", first, second)
	b.is(upstream.Refused, first, "the old credential in the end")
	b.holds(1, "in the end")
}

// testMarker: an older state knows by it that somebody came later.
func testMarker(b *bench) {
	b.familiar("an account that no run changed")
	first := b.issue("run-1", none)
	b.familiar("the run that changed the account", "run-0", "run-1")
	b.strange("a run that is not known", "run-0")
	second := b.issue("run-2", first)
	b.strange("a run that came later", "run-0", "run-1")
	b.familiar("the later run", "run-1", "run-2")
	b.revoke("run-2", first, second)
	b.strange("a run that came later, at its end", "run-1")
	b.is(upstream.Accepted, second, "the credential after looking at the marker")
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if found, err := b.Upstream.(upstream.Marked).Stranger(ctx, nil); err == nil {
		b.Errorf("Stranger under a cancelled context: got %q and no error", found)
	}
}

// atMarker asks whom the marker names.
func (b *bench) atMarker(what string, known []authority.RunID) string {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	found, err := b.Upstream.(upstream.Marked).Stranger(ctx, known)
	b.saw(err)
	if err != nil {
		b.Fatalf("Stranger, %s: %v", what, err)
	}
	return found
}

// familiar wants the marker to name none but the runs known.
func (b *bench) familiar(what string, known ...authority.RunID) {
	b.Helper()
	if found := b.atMarker(what, known); found != "" {
		b.Errorf("%s is taken for a stranger, %q", what, found)
	}
}

// strange wants it to name another.
func (b *bench) strange(what string, known ...authority.RunID) {
	b.Helper()
	if b.atMarker(what, known) == "" {
		b.Errorf("%s is no stranger", what)
	}
}

// testOwner: by it somebody who hands in the credential of another account is refused.
func testOwner(b *bench) {
	first := b.issue("run-1", none)
	second := b.issue("run-2", first)
	for what, v := range map[string]secret.Value{"the first credential": first, "the second": second} {
		if name, own, err := b.whose(v); name == "" || !own || err != nil {
			b.Errorf("%s: it is of %q, own %v, %v", what, name, own, err)
		}
	}
	another := b.wrong(first)
	for _, name := range first.Names() {
		if b.public(name) {
			another = b.with(another, name, "somebody-else")
		}
	}
	for what, v := range map[string]secret.Value{"a credential of another account": another, "a credential without fields": none} {
		if name, own, _ := b.whose(v); own {
			b.Errorf("%s: it is taken for one of %s, which runs change", what, name)
		}
	}
	b.is(upstream.Accepted, second, "the credential after asking whose it is")
}

func (b *bench) whose(v secret.Value) (name string, own bool, err error) {
	ctx, cancel := b.within()
	defer cancel()
	name, own, err = b.Upstream.(upstream.Owner).Whose(ctx, v)
	b.saw(err, v)
	return name, own, err
}

// testSkew: a clock that is an hour wrong changes no verdict, and deadlines still bound calls.
func testSkew(b *bench) {
	for name, by := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		b.anew(name, func(b *bench) {
			first := b.issue("run-1", none)
			b.Skew(by)
			b.is(upstream.Accepted, first, "the current credential, the clock skewed")
			b.is(upstream.Refused, b.stranger(first), "a credential that nobody made, the clock skewed")
			second := b.issue("run-2", first)
			b.is(upstream.Accepted, second, "the candidate, the clock skewed")
			b.is(b.overlap(), first, "the current credential, the clock skewed")
			b.revoke("run-2", first, second)
			b.is(upstream.Refused, first, "the old credential, the clock skewed")
			b.is(upstream.Accepted, second, "its successor, the clock skewed")
			expired, release := context.WithDeadline(b.Context(), time.Unix(0, 0))
			defer release()
			if _, err := b.tryApply(expired, "run-3", second, b.propose(second)); !errors.Is(err, upstream.ErrNotApplied) {
				b.Errorf("Apply, expired, the clock skewed: got %v, want ErrNotApplied", err)
			}
			if b.Cut == nil || b.Mend == nil {
				return
			}
			guard, done := context.WithTimeout(b.Context(), callTimeout)
			defer done()
			ctx, cancel := context.WithTimeout(b.Context(), brief)
			defer cancel()
			b.Cut(0)
			if _, err := b.tryApply(ctx, "run-3", second, b.propose(second)); err == nil || guard.Err() != nil {
				b.Errorf("Apply without a reply, the clock skewed: got %v within %s, want an error at its deadline", err, callTimeout)
			}
			b.Mend()
			b.wait()
			b.honours(second, "after a call without a reply, the clock skewed,")
		})
	}
}

// seeing bounds how long the suite waits for uses to show.
const seeing = 3 * time.Second

func testUses(b *bench) {
	witness := b.Upstream.(upstream.Witness)
	first := b.issue("run-1", none)
	b.is(upstream.Accepted, first, "the first credential")
	second := b.issue("run-2", first)
	for range 3 {
		b.is(b.overlap(), first, "the current credential")
		b.is(upstream.Accepted, second, "its successor")
	}
	b.pause(min(b.kind.Evidence.Late, seeing))
	b.wait()
	ctx, cancel := b.within()
	defer cancel()
	for what, credential := range map[string]secret.Value{"old": first, "new": second} {
		uses, err := witness.Uses(ctx, credential, time.Unix(0, 0))
		b.saw(err)
		if err != nil {
			b.Errorf("Uses of the %s credential: %v", what, err)
		}
		for _, use := range uses {
			b.Errorf("nobody but Custody used the %s credential, yet it has a use by %q", what, use.Who)
		}
	}
	b.is(upstream.Accepted, second, "the successor after asking for uses")
	cancelled, stop := context.WithCancel(b.Context())
	stop()
	if _, err := witness.Uses(cancelled, first, time.Unix(0, 0)); err == nil {
		b.Errorf("Uses under a cancelled context: got no error; silence is not proof")
	}
}

// testBlind: one Go type may serve kinds with evidence and without. Asked where there is none, it must not seem silent.
func testBlind(b *bench) {
	first := b.issue("run-1", none)
	ctx, cancel := b.within()
	defer cancel()
	if uses, err := b.Upstream.(upstream.Witness).Uses(ctx, first, time.Unix(0, 0)); err == nil {
		b.Errorf("no evidence is declared, yet Uses tells of %d uses without an error", len(uses))
	}
}
