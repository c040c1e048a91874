// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// callTimeout ends a call that hangs. Calls take less than a second; a busy machine may make that a minute.
	callTimeout = 2 * time.Minute
	// patience ends the tries of a call that never has effect, though its way is mended. A call that was given up may hold
	// up its successor until its own deadline, by default half a minute. Again lies between the tries.
	patience = 5 * time.Minute
	again    = 200 * time.Millisecond
)

// bench calls the upstream, and remembers each value and error that went through it.
type bench struct {
	T
	Fixture
	kind  upstream.Kind
	fresh func(T) Fixture

	mu     sync.Mutex
	values []secret.Value
	errors []error
}

func newBench(t T, fresh func(T) Fixture) *bench {
	t.Helper()
	f := fresh(t)
	return &bench{T: t, Fixture: f, kind: f.Upstream.Kind(), fresh: fresh}
}

// anew runs a test within this one on a fresh fixture, and reports whether it passed.
func (b *bench) anew(name string, test func(*bench)) bool {
	return b.Run(name, func(t T) {
		inner := newBench(t, b.fresh)
		test(inner)
		inner.searchForValues()
	})
}

// atOnce is how many fixtures one test uses beside each other: servers take only so many connections.
const atOnce = 4

// each runs so many tests, some beside each other where fixtures are independent.
func (b *bench) each(count int, test func(i int)) {
	width := 1
	if b.Beside {
		width = atOnce
	}
	free := make(chan struct{}, width)
	var tests sync.WaitGroup
	for i := range count {
		free <- struct{}{}
		tests.Go(func() {
			defer func() { <-free }()
			test(i)
		})
	}
	tests.Wait()
}

func (b *bench) saw(err error, values ...secret.Value) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values = append(b.values, values...)
	if err != nil {
		b.errors = append(b.errors, err)
	}
}

func (b *bench) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.Context(), callTimeout)
}

// pause lets real time pass: servers do not know of any other.
func (b *bench) pause(d time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// propose returns a candidate to follow current; for kinds that issue, nothing.
func (b *bench) propose(current secret.Value) secret.Value {
	b.Helper()
	if b.kind.Issues {
		return secret.Value{}
	}
	ctx, cancel := b.within()
	defer cancel()
	candidate, err := b.Upstream.Propose(ctx, current)
	b.saw(err, candidate)
	if err != nil {
		b.Fatalf("Propose: %v", err)
	}
	return candidate
}

func (b *bench) tryApply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	applied, err := b.Upstream.Apply(ctx, run, current, candidate)
	b.saw(err, current, candidate, applied)
	b.wait()
	return applied, err
}

func (b *bench) apply(run authority.RunID, current, candidate secret.Value) secret.Value {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	applied, err := b.tryApply(ctx, run, current, candidate)
	if err != nil {
		b.Fatalf("Apply by %s: %v", run, err)
	}
	b.isApplied(run, applied, candidate)
	return applied
}

func (b *bench) isApplied(run authority.RunID, applied, candidate secret.Value) {
	b.Helper()
	if !b.kind.Issues && !applied.Equal(candidate) {
		b.Fatalf("Apply by %s returned another credential than the candidate", run)
	}
}

// issue proposes and applies what follows current.
func (b *bench) issue(run authority.RunID, current secret.Value) secret.Value {
	b.Helper()
	return b.apply(run, current, b.propose(current))
}

func (b *bench) tryRevoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	err := b.Upstream.Revoke(ctx, run, old, successor)
	b.saw(err, old, successor)
	b.wait()
	return err
}

func (b *bench) revoke(run authority.RunID, old, successor secret.Value) {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if err := b.tryRevoke(ctx, run, old, successor); err != nil {
		b.Fatalf("Revoke by %s: %v", run, err)
	}
}

// until repeats a call as the run does after a lost reply, until it has effect.
func (b *bench) until(what string, call func(ctx context.Context) error) {
	b.Helper()
	whole, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for {
		ctx, cancel := context.WithTimeout(whole, callTimeout)
		err := call(ctx)
		cancel()
		switch {
		case err == nil:
			return
		case errors.Is(err, upstream.ErrSuperseded), errors.Is(err, upstream.ErrRefusedCandidate), whole.Err() != nil:
			b.Fatalf("%s, repeated after a lost reply: %v", what, err)
		}
		b.pause(again)
	}
}

func (b *bench) applyUntil(run authority.RunID, current, candidate secret.Value) (applied secret.Value) {
	b.Helper()
	b.until("Apply by "+string(run), func(ctx context.Context) (err error) {
		applied, err = b.tryApply(ctx, run, current, candidate)
		return err
	})
	b.isApplied(run, applied, candidate)
	return applied
}

func (b *bench) revokeUntil(run authority.RunID, old, successor secret.Value) {
	b.Helper()
	b.until("Revoke by "+string(run), func(ctx context.Context) error { return b.tryRevoke(ctx, run, old, successor) })
}

func (b *bench) tryCollect(ctx context.Context, collector upstream.Collector, run authority.RunID) error {
	err := collector.Collect(ctx, run)
	b.saw(err)
	b.wait()
	return err
}

func (b *bench) collectUntil(run authority.RunID) {
	b.Helper()
	collector, ok := b.Upstream.(upstream.Collector)
	if !ok {
		b.Fatalf("a kind that reissues must be able to collect what a lost reply left")
	}
	b.until("Collect of "+string(run), func(ctx context.Context) error { return b.tryCollect(ctx, collector, run) })
}

// is checks a verdict, and that an error comes with Unknown and only with it.
func (b *bench) is(want upstream.Verdict, v secret.Value, what string) {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	b.isUnder(ctx, want, v, what)
}

func (b *bench) isUnder(ctx context.Context, want upstream.Verdict, v secret.Value, what string) {
	b.Helper()
	if got, err := b.verdict(ctx, v, what); got != want {
		b.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}

func (b *bench) verdict(ctx context.Context, v secret.Value, what string) (upstream.Verdict, error) {
	b.Helper()
	got, err := b.Upstream.Verify(ctx, v)
	b.saw(err, v)
	if (got == upstream.Unknown) != (err != nil) {
		b.Errorf("%s: got %s with error %v; a reason belongs to Unknown and to nothing else", what, got, err)
	}
	return got, err
}

// honours wants the current credential accepted where a change must never interrupt; an overwrite may.
func (b *bench) honours(current secret.Value, when string) {
	b.Helper()
	if b.kind.Capability != upstream.Overwrite {
		b.is(upstream.Accepted, current, "the current credential "+when)
	}
}

// holds wants that many credentials upstream, where that can be asked.
func (b *bench) holds(want int, when string) {
	b.Helper()
	if b.Held == nil {
		return
	}
	if held := b.Held(b.T); len(held) != want {
		b.Errorf("%s the upstream holds %d credentials of the account (%s), want %d", when, len(held), strings.Join(held, ", "), want)
	}
}

func (b *bench) wait() {
	if b.Wait != nil {
		b.Wait()
	}
}

// stranger returns a credential like v that the upstream was never given.
func (b *bench) stranger(v secret.Value) secret.Value {
	b.Helper()
	decoyer, ok := b.Upstream.(upstream.Decoyer)
	if !ok || !b.kind.Issues {
		return b.wrong(v)
	}
	decoy, err := decoyer.Decoy(v)
	b.saw(err, decoy)
	if err != nil {
		b.Fatalf("Decoy: %v", err)
	}
	return decoy
}

// wrong returns v with every field replaced that is secret: well-formed, and honoured nowhere.
func (b *bench) wrong(v secret.Value) secret.Value {
	b.Helper()
	for _, name := range v.Names() {
		if b.public(name) {
			continue
		}
		v = b.with(v, name, "wrong-"+strings.Repeat("Zq7", 8))
	}
	return v
}

func (b *bench) with(v secret.Value, name, text string) secret.Value {
	b.Helper()
	v, err := v.With(name, []byte(text))
	if err != nil {
		b.Fatalf("%v", err)
	}
	return v
}

// public reports whether a field is not secret: the user's name, and what the fixture says.
func (b *bench) public(name string) bool {
	return name == "username" || slices.Contains(b.Public, name)
}

// searchForValues looks for every value in every error and in the part's log.
func (b *bench) searchForValues() {
	b.Helper()
	var texts []string
	for _, err := range b.errors {
		for ; err != nil; err = errors.Unwrap(err) {
			texts = append(texts, fmt.Sprintf("%v\n%+v\n%#v", err, err, err))
		}
	}
	said := strings.Join(texts, "\n")
	log := ""
	if b.Log != nil {
		log = b.Log()
	}
	for _, v := range b.values {
		for _, name := range v.Names() {
			canary := v.ExposeText(name)
			if b.public(name) || len(canary) < 6 {
				continue
			}
			if strings.Contains(said, canary) {
				b.Errorf("an error quotes the field %s", name)
			}
			if strings.Contains(log, canary) {
				b.Errorf("the log quotes the field %s", name)
			}
		}
	}
}
