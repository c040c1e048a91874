// SPDX-License-Identifier: Apache-2.0

// Package upstreamtest is the suite that every upstream passes, the doubles included.
//
// It checks what the run relies on: verdicts, idempotence, that revoking never touches the successor, that calls which
// are late or superseded change nothing, that Unknown is said where nothing is known, and that no error quotes a value.
// It cannot check that a server enforces a deadline against a call already on its way; adapters test that themselves.
package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Fixture is one fresh upstream that honours nothing yet, or nothing that the suite knows.
type Fixture struct {
	Upstream upstream.Upstream
	// Break makes the upstream unreachable and Mend undoes it. Both are needed when Kind.Verifies.
	Break, Mend func()
	// Wait lets changes propagate; nil when they show at once.
	Wait func()
	// Refused turns a proposed candidate into one that the upstream never takes; nil when it has no such rule.
	Refused func(t *testing.T, candidate secret.Value) secret.Value
	// Cut makes the upstream lose its replies after that many from now on, while requests still arrive; Mend undoes it.
	// Nil where no wire lies between.
	Cut func(replies int)
	// Throttle makes the upstream answer that it is asked too often; Mend undoes it. Nil when it never does.
	Throttle func()
	// Skew moves the clock that the upstream was configured with. Nil when it reads none.
	Skew func(by time.Duration)
	// Held names every credential of the account that would be accepted now, by identities that are not secret. Nil when
	// that cannot be asked.
	Held func(t *testing.T) []string
	// EnforcesRun: runs that a later one superseded are refused with ErrSuperseded.
	EnforcesRun bool
	// Log returns everything that the part has written and shown; it is searched for values. Nil when there is nothing.
	Log func() string
}

// callTimeout bounds every call of the suite.
const callTimeout = 30 * time.Second

// Run runs the suite. fresh is called once for each test.
func Run(t *testing.T, fresh func(t *testing.T) Fixture) {
	t.Helper()
	tests := []struct {
		name string
		// applies says for which kinds the test has a meaning; nil for all.
		applies func(f Fixture, k upstream.Kind) bool
		test    func(*bench)
	}{
		{"KindIsConsistent", nil, testKind},
		{"FirstIssueIsHonoured", nil, testFirstIssue},
		{"ProposeChangesNothing", proposes, testPropose},
		{"ApplyTwice", proposes, testApplyTwice},
		{"RandomCredentialIsRefused", verifies, testRandomRefused},
		{"CredentialWithoutFieldsIsNeverAccepted", verifies, testEmptyCredential},
		{"RevokeTwice", verifies, testRevokeTwice},
		{"RevokeNeverTouchesSuccessor", verifies, testRevokeSuccessor},
		{"UndoRestoresCurrent", verifies, testUndo},
		{"LateCallsOfSupersededRun", enforces, testSuperseded},
		{"RefusedCandidateChangesNothing", refuses, testRefusedCandidate},
		{"UnreachableIsUnknownAndNotApplied", verifies, testUnreachable},
		{"ExpiredCallsChangeNothing", verifies, testExpired},
		{"CollectRemovesOrphans", issues, testCollect},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, fresh(t))
			if test.applies == nil || test.applies(b.Fixture, b.kind) {
				test.test(b)
			}
			b.searchForValues()
		})
	}
}

func proposes(_ Fixture, k upstream.Kind) bool { return !k.Issues }
func verifies(_ Fixture, k upstream.Kind) bool { return k.Verifies }
func issues(_ Fixture, k upstream.Kind) bool   { return k.Issues }
func enforces(f Fixture, k upstream.Kind) bool { return f.EnforcesRun && k.Verifies }
func refuses(f Fixture, _ upstream.Kind) bool  { return f.Refused != nil }

// bench calls the upstream, and remembers each value and error that went through it.
type bench struct {
	*testing.T
	Fixture
	kind upstream.Kind

	mu     sync.Mutex
	values []secret.Value
	errors []error
}

func newBench(t *testing.T, f Fixture) *bench {
	t.Helper()
	b := &bench{T: t, Fixture: f, kind: f.Upstream.Kind()}
	if b.kind.Verifies && (f.Break == nil || f.Mend == nil) {
		t.Fatal("the fixture must be able to break and mend its upstream")
	}
	return b
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
	if !b.kind.Issues && !applied.Equal(candidate) {
		b.Fatalf("Apply by %s returned another credential than the candidate", run)
	}
	return applied
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

// is checks a verdict, and that an error comes with Unknown and only with it.
func (b *bench) is(want upstream.Verdict, v secret.Value, what string) {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	b.isUnder(ctx, want, v, what)
}

func (b *bench) isUnder(ctx context.Context, want upstream.Verdict, v secret.Value, what string) {
	b.Helper()
	got, err := b.Upstream.Verify(ctx, v)
	b.saw(err, v)
	if got != want {
		b.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
	if (got == upstream.Unknown) != (err != nil) {
		b.Errorf("%s: got %s with error %v; a reason belongs to Unknown and to nothing else", what, got, err)
	}
}

func (b *bench) wait() {
	if b.Wait != nil {
		b.Wait()
	}
}

// wrong returns v with every field but the user's name replaced: well-formed, and honoured nowhere.
func (b *bench) wrong(v secret.Value) secret.Value {
	b.Helper()
	var err error
	for _, name := range v.Names() {
		if name == nameField {
			continue
		}
		if v, err = v.With(name, []byte("wrong-"+strings.Repeat("Zq7", 8))); err != nil {
			b.Fatal(err)
		}
	}
	return v
}

// nameField is the one field that is not secret.
const nameField = "username"

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
			if name == nameField || len(canary) < 6 {
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
