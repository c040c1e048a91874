// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// spy stands before an account, counts what it is asked, and answers in its place where a hook is set.
type spy struct {
	*upstreammemory.Upstream
	kind                     func(*upstream.Kind)
	apply                    func() error
	revoke                   func() error
	verify                   func(secret.Value) (upstream.Verdict, error)
	uses                     func() error
	collect                  func()
	applied, revoked         int
	lastApplied, lastRefused time.Time
}

func (u *spy) Kind() upstream.Kind {
	kind := u.Upstream.Kind()
	if u.kind != nil {
		u.kind(&kind)
	}
	return kind
}

// Apply calls the hook after the account took the change: its error is that of a lost reply, unless it says more.
func (u *spy) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	u.applied++
	u.lastApplied = time.Now()
	if u.apply != nil {
		if err := u.apply(); errors.Is(err, upstream.ErrNotApplied) || errors.Is(err, upstream.ErrRefusedCandidate) {
			return secret.Value{}, err
		} else if err != nil {
			_, _ = u.Upstream.Apply(ctx, run, current, candidate)
			return secret.Value{}, err
		}
	}
	return u.Upstream.Apply(ctx, run, current, candidate)
}

func (u *spy) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	u.revoked++
	if u.revoke != nil {
		if err := u.revoke(); err != nil {
			return err
		}
	}
	return u.Upstream.Revoke(ctx, run, old, successor)
}

// Collect calls the hook before the account takes the change.
func (u *spy) Collect(ctx context.Context, run authority.RunID) error {
	if u.collect != nil {
		u.collect()
	}
	return u.Upstream.Collect(ctx, run)
}

func (u *spy) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	if u.verify != nil {
		if verdict, err := u.verify(v); verdict != "" {
			return verdict, err
		}
	}
	verdict, err := u.Upstream.Verify(ctx, v)
	if verdict == upstream.Refused {
		u.lastRefused = time.Now()
	}
	return verdict, err
}

func (u *spy) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	if u.uses != nil {
		if err := u.uses(); err != nil {
			return nil, err
		}
	}
	return u.Upstream.Uses(ctx, old, since)
}

// spied is a rig whose secret has its first value, made through the spy that it returns.
func spied(t *testing.T, account upstreammemory.Config) (*rig, *spy) {
	t.Helper()
	r := newRig(t, account)
	u := &spy{Upstream: r.account}
	r.subject.Upstream, r.subject.AllowInterruption = u, true
	if account.Shape == upstreammemory.Rotated || account.Shape == upstreammemory.Overwrite {
		r.seed(t, account.Shape)
	} else {
		r.plan(t)
		r.finish(t, r.subject)
	}
	u.applied, u.revoked = 0, 0
	return r, u
}

// seed puts a first value in place that was made by hand.
func (r *rig) seed(t *testing.T, shape upstreammemory.Shape) {
	t.Helper()
	fields := map[string]string{upstreammemory.Key: "by-hand"}
	if shape == upstreammemory.Overwrite {
		fields = map[string]string{upstreammemory.Username: "account", upstreammemory.Password: "by-hand"}
	}
	v, err := secret.Text(fields)
	if err == nil {
		err = r.account.Seed(v)
	}
	if err == nil {
		_, err = r.store.Write(t.Context(), r.subject.Path, 0, "run-0", v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) plan(t *testing.T) authority.RunID {
	t.Helper()
	id, err := r.Plan(t.Context(), r.subject, journal.Trigger{Kind: "manual", By: "me", Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// wait advances until the run waits for that reason, with each of words in its parameters or its cause, for an hour at most.
func (r *rig) wait(t *testing.T, code reason.Code, words ...string) {
	t.Helper()
	var last reason.Reason
	for until := time.Now().Add(time.Hour); time.Now().Before(until); {
		outlook := r.advance(t)
		if last = outlook.Waiting; outlook.Ended != "" || has(last, code, words) {
			break
		}
		time.Sleep(outlook.Again.Sub(r.Now()))
	}
	if !has(last, code, words) {
		t.Fatalf("the run waits because of %+v, want %s with %q", last, code, words)
	}
}

// has reports whether a reason is of that code and has each of words in its parameters or its cause.
func has(why reason.Reason, code reason.Code, words []string) bool {
	said := fmt.Sprint(why.Args, why.Cause)
	return why.Is(code) && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(said, word) })
}

func (r *rig) advance(t *testing.T) rotation.Outlook {
	t.Helper()
	outlook, err := r.Advance(t.Context(), r.subject)
	if err != nil {
		t.Fatal(err)
	}
	return outlook
}

func (r *rig) entry(t *testing.T) *journal.Entry {
	t.Helper()
	entry, err := r.Journal.Load(t.Context(), r.subject.Path)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// value is the secret's value and its version.
func (r *rig) value(t *testing.T) authority.Versioned {
	t.Helper()
	held, err := r.store.Read(t.Context(), r.subject.Path)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// restart is another process over the same parts.
func (r *rig) restart() { r.Engine = rotation.New(r.Config) }
