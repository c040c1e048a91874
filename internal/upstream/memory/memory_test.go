// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/memory"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var shapes = []memory.Shape{memory.Dual, memory.Alternate, memory.Overwrite, memory.Issued}

func open(t *testing.T, config memory.Config) *memory.Upstream {
	t.Helper()
	config.Random = rand.NewChaCha8([32]byte{1})
	u, err := memory.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSuite(t *testing.T) {
	for _, shape := range shapes {
		for name, config := range map[string]memory.Config{
			"plain":    {EnforcesRun: true},
			"unmarked": {},
			"slow":     {EnforcesRun: true, Propagation: time.Minute},
			"vague":    {Propagation: time.Minute, VagueWhilePropagating: true},
		} {
			t.Run(string(shape)+"/"+name, func(t *testing.T) {
				upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
					clock := &clock{now: time.Now()} // the suite's contexts have real deadlines
					config := config
					config.Shape, config.Clock, config.Refuses = shape, clock.Now, tooShort
					u := open(t, config)
					fixture := upstreamtest.Fixture{
						Upstream: u, EnforcesRun: config.EnforcesRun,
						Break: func() { u.SetDown(true) }, Mend: func() { u.SetDown(false) },
						Refused: shorten,
					}
					if config.Propagation > 0 {
						fixture.Wait = func() { clock.Advance(config.Propagation) }
						fixture.Upstream = untimed{u, u}
					}
					if shape == memory.Issued {
						fixture.Refused = nil
					}
					return fixture
				})
			})
		}
	}
}

// untimed takes the deadline off live contexts, whose clock is the real one, while the upstream's runs ahead.
type untimed struct {
	*memory.Upstream
	upstream.Collector
}

func (u untimed) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	return u.Upstream.Apply(strip(ctx), run, current, candidate)
}

func (u untimed) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	return u.Upstream.Revoke(strip(ctx), run, old, successor)
}

func (u untimed) Collect(ctx context.Context, run authority.RunID) error {
	return u.Upstream.Collect(strip(ctx), run)
}

func strip(ctx context.Context) context.Context {
	if ctx.Err() != nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

func tooShort(v secret.Value) bool {
	return len(v.ExposeText(memory.Key)+v.ExposeText(memory.Password)) < 20
}

func shorten(t *testing.T, v secret.Value) secret.Value {
	t.Helper()
	field := memory.Key
	if v.Has(memory.Password) {
		field = memory.Password
	}
	v, err := v.With(field, []byte("too-short"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func verdict(t *testing.T, u *memory.Upstream, v secret.Value) upstream.Verdict {
	t.Helper()
	got, err := u.Verify(t.Context(), v)
	if (got == upstream.Unknown) != (err != nil) {
		t.Errorf("got %s with error %v", got, err)
	}
	return got
}

func TestChangesShowAfterPropagation(t *testing.T) {
	for _, test := range []struct {
		name                 string
		vague                bool
		afterApply, afterEnd upstream.Verdict
	}{
		{"stale", false, upstream.Refused, upstream.Accepted},
		{"vague", true, upstream.Unknown, upstream.Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			clock := newClock()
			u := open(t, memory.Config{
				Shape: memory.Dual, Clock: clock.Now, Propagation: time.Minute, VagueWhilePropagating: test.vague,
			})
			v := upstreamtest.Issue(t, u, "run-1", secret.Value{})
			got := []upstream.Verdict{verdict(t, u, v)}
			clock.Advance(time.Minute)
			got = append(got, verdict(t, u, v))
			if err := u.Revoke(t.Context(), "run-2", v, secret.Value{}); err != nil {
				t.Fatal(err)
			}
			got = append(got, verdict(t, u, v))
			clock.Advance(time.Minute)
			got = append(got, verdict(t, u, v))
			want := []upstream.Verdict{test.afterApply, upstream.Accepted, test.afterEnd, upstream.Refused}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLockoutAnswersUnknown(t *testing.T) {
	clock := newClock()
	u := open(t, memory.Config{Shape: memory.Overwrite, Clock: clock.Now, LockoutAfter: 2, LockoutFor: time.Hour})
	old := upstreamtest.Issue(t, u, "run-1", secret.Value{})
	v := upstreamtest.Issue(t, u, "run-2", old)
	got := []upstream.Verdict{
		verdict(t, u, old), verdict(t, u, v), // a success in between starts the count again
		verdict(t, u, old), verdict(t, u, old), verdict(t, u, v), verdict(t, u, old),
	}
	clock.Advance(time.Hour)
	got = append(got, verdict(t, u, v))
	want := []upstream.Verdict{
		upstream.Refused, upstream.Accepted,
		upstream.Refused, upstream.Refused, upstream.Unknown, upstream.Unknown,
		upstream.Accepted,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if !u.Accepts(v) || u.Accepts(old) {
		t.Error("Accepts must see past the lockout")
	}
}

func TestRateLimitAnswersUnknown(t *testing.T) {
	clock := newClock()
	u := open(t, memory.Config{Shape: memory.Dual, Clock: clock.Now, RateLimit: 2, RateWindow: time.Minute})
	v := upstreamtest.Issue(t, u, "run-1", secret.Value{})
	got := []upstream.Verdict{verdict(t, u, v), verdict(t, u, v), verdict(t, u, v)}
	for range 10 {
		u.Accepts(v)
	}
	clock.Advance(time.Minute)
	got = append(got, verdict(t, u, v))
	want := []upstream.Verdict{upstream.Accepted, upstream.Accepted, upstream.Unknown, upstream.Accepted}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

// A call may be held on the wire until its context's deadline has passed by the world's clock.
func TestCallAfterDeadline(t *testing.T) {
	for _, test := range []struct {
		ignores bool
		want    error
	}{{false, upstream.ErrNotApplied}, {true, nil}} {
		clock := newClock()
		clock.Advance(time.Until(clock.Now()).Abs() + 24*time.Hour) // far ahead of the context's own clock
		u := open(t, memory.Config{Shape: memory.Dual, Clock: clock.Now, IgnoresDeadlines: test.ignores})
		ctx, cancel := context.WithDeadline(t.Context(), clock.Now().Add(time.Second))
		defer cancel()
		clock.Advance(time.Second)
		candidate, err := u.Propose(ctx, secret.Value{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Apply(ctx, "run-1", secret.Value{}, candidate); !errors.Is(err, test.want) {
			t.Errorf("ignores=%v: got %v, want %v", test.ignores, err, test.want)
		}
		if got := u.Accepts(candidate); got != test.ignores {
			t.Errorf("ignores=%v: accepted is %v", test.ignores, got)
		}
	}
}

func TestForeignClaimIsRefused(t *testing.T) {
	for _, shape := range shapes {
		u := open(t, memory.Config{Shape: shape, Clock: newClock().Now})
		v := upstreamtest.Issue(t, u, "run-1", secret.Value{})
		u.SetForeign(true)
		var candidate secret.Value
		if shape != memory.Issued {
			candidate = v
		}
		if _, err := u.Apply(t.Context(), "run-2", v, candidate); !errors.Is(err, upstream.ErrSuperseded) {
			t.Errorf("%s: got %v, want ErrSuperseded", shape, err)
		}
		if !u.Accepts(v) {
			t.Errorf("%s: the credential was touched", shape)
		}
	}
}

func TestCredentialsAreCountedByRun(t *testing.T) {
	u := open(t, memory.Config{Shape: memory.Issued, Clock: newClock().Now, Limit: 3})
	seed, err := secret.Text(map[string]string{memory.Key: "made-by-hand-in-a-dashboard"})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Seed(seed); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Issue(t, u, "run-1", seed)
	upstreamtest.Issue(t, u, "run-1", seed)
	want := map[authority.RunID]int{"": 1, "run-1": 2}
	if diff := cmp.Diff(want, u.Credentials()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if _, err := u.Apply(t.Context(), "run-2", seed, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("beyond the limit: got %v, want ErrNotApplied", err)
	}
	if err := u.Collect(t.Context(), "run-1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[authority.RunID]int{"": 1}, u.Credentials()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func TestTrustingServerAcceptsAnything(t *testing.T) {
	u := open(t, memory.Config{Shape: memory.Dual, Clock: newClock().Now, TrustsAll: true})
	if got := verdict(t, u, secret.Value{}); got != upstream.Accepted {
		t.Errorf("got %s, want accepted", got)
	}
}

func TestSameSeedSameWorld(t *testing.T) {
	var got [2]string
	for i := range got {
		u := open(t, memory.Config{Shape: memory.Issued, Clock: newClock().Now})
		got[i] = strings.Join([]string{
			upstreamtest.Issue(t, u, "run-1", secret.Value{}).ExposeText(memory.Key), upstreamtest.Issue(t, u, "run-2", secret.Value{}).ExposeText(memory.Key),
		}, " ")
	}
	if got[0] != got[1] {
		t.Error("two upstreams with one seed issued different keys")
	}
}

// A server that takes over knows nothing of what was changed since, acknowledged or not.
func TestFailOverLosesChanges(t *testing.T) {
	for _, shape := range shapes {
		t.Run(string(shape), func(t *testing.T) {
			u := open(t, memory.Config{Shape: shape, Clock: newClock().Now, EnforcesRun: true})
			old := apply(t, u, "run-1", secret.Value{})
			before := u.Snapshot()
			lost := apply(t, u, "run-2", old)
			if err := u.Revoke(t.Context(), "run-2", old, lost); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a snapshot serves more than once
				u.FailOver(before)
				if !u.Accepts(old) || u.Accepts(lost) {
					t.Errorf("old accepted: %t, lost accepted: %t, want the old one alone", u.Accepts(old), u.Accepts(lost))
				}
				if again := apply(t, u, "run-1", old); !u.Accepts(again) {
					t.Error("the run that was current then can change nothing")
				}
			}
		})
	}
}

// apply makes u honour a successor of current and returns it.
func apply(t *testing.T, u *memory.Upstream, run authority.RunID, current secret.Value) secret.Value {
	t.Helper()
	var candidate secret.Value
	if !u.Kind().Issues {
		var err error
		if candidate, err = u.Propose(t.Context(), current); err != nil {
			t.Fatal(err)
		}
	}
	v, err := u.Apply(t.Context(), run, current, candidate)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
