// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/conformance"
	"custody.dev/custody/internal/upstream/memory"
)

// wired is the double behind a wire that can be cut: each call needs two replies, the second of them after its effect. A
// request that is kept back has its effect when it lands.
type wired struct {
	*memory.Upstream
	cut       bool
	left      int
	holding   bool
	kept      []func()
	landed    int
	throttled bool
	skew      time.Duration
	kind      func(upstream.Kind) upstream.Kind

	apply  func(call func() (secret.Value, error), run authority.RunID, current, candidate secret.Value) (secret.Value, error)
	verify func(got upstream.Verdict, err error) (upstream.Verdict, error)
	revoke func(call func() error, run authority.RunID, old, successor secret.Value) error
	decoy  func(v secret.Value) (secret.Value, error)
}

// callDeadline is short: the suite lets it pass.
const callDeadline = 200 * time.Millisecond

var errLost = errors.New("the reply was lost")

func (w *wired) Kind() upstream.Kind {
	kind := w.Upstream.Kind()
	if w.kind != nil {
		kind = w.kind(kind)
	}
	return kind
}

// reply reports whether the next one arrives.
func (w *wired) reply() bool {
	if !w.cut {
		return true
	}
	w.left--
	return w.left >= 0
}

// over makes a call that needs a reply before its effect and one after it.
func (w *wired) over(ctx context.Context, call func(context.Context) error) error {
	if w.throttled {
		return fmt.Errorf("calling: %w: %w", upstream.ErrNotApplied, &upstream.Later{After: time.Second, Err: errors.New("too often")})
	}
	if !w.reply() {
		return fmt.Errorf("signing in as admin: %w: %w", upstream.ErrNotApplied, errLost)
	}
	if w.holding {
		if w.left--; w.left < 0 {
			w.kept = append(w.kept, func() { _ = call(context.WithoutCancel(ctx)) })
			<-ctx.Done()
			return ctx.Err()
		}
	}
	if err := call(ctx); err != nil {
		return err
	}
	if !w.reply() {
		return errLost
	}
	return nil
}

// land lets what was kept back have its effect, once.
func (w *wired) land() int {
	for _, effect := range w.kept[w.landed:] {
		effect()
	}
	w.landed = len(w.kept)
	return w.landed
}

func (w *wired) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (applied secret.Value, err error) {
	call := func() (secret.Value, error) {
		err := w.over(ctx, func(ctx context.Context) error {
			applied, err = w.Upstream.Apply(ctx, run, current, candidate)
			return err
		})
		if err != nil {
			return secret.Value{}, err
		}
		return applied, nil
	}
	if w.apply != nil {
		return w.apply(call, run, current, candidate)
	}
	return call()
}

func (w *wired) Verify(ctx context.Context, v secret.Value) (verdict upstream.Verdict, err error) {
	lost := w.over(ctx, func(ctx context.Context) error {
		verdict, err = w.Upstream.Verify(ctx, v)
		return nil
	})
	if lost != nil {
		verdict, err = upstream.Unknown, lost
	}
	if w.verify != nil {
		return w.verify(verdict, err)
	}
	return verdict, err
}

func (w *wired) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	call := func() error {
		return w.over(ctx, func(ctx context.Context) error { return w.Upstream.Revoke(ctx, run, old, successor) })
	}
	if w.revoke != nil {
		return w.revoke(call, run, old, successor)
	}
	return call()
}

func (w *wired) Collect(ctx context.Context, run authority.RunID) error {
	return w.over(ctx, func(ctx context.Context) error { return w.Upstream.Collect(ctx, run) })
}

func (w *wired) List(ctx context.Context) (list []string, err error) {
	err = w.over(ctx, func(ctx context.Context) error {
		list, err = w.Upstream.List(ctx)
		return err
	})
	return list, err
}

func (w *wired) Decoy(v secret.Value) (secret.Value, error) {
	if w.decoy != nil {
		return w.decoy(v)
	}
	return w.Upstream.Decoy(v)
}

func fixture(config memory.Config, change func(*wired)) func(conformance.T) conformance.Fixture {
	return func(t conformance.T) conformance.Fixture {
		w := &wired{}
		config.Random, config.Clock = rand.Reader, time.Now // the server's clock, which no skew of Custody's moves
		u, err := memory.New(config)
		if err != nil {
			t.Fatalf("%v", err)
		}
		w.Upstream = u
		if change != nil {
			change(w)
		}
		return conformance.Fixture{
			Upstream: w, EnforcesRun: config.EnforcesRun, Beside: true,
			Break: func() { u.SetDown(true) },
			Mend: func() {
				u.SetDown(false)
				w.cut, w.holding, w.throttled = false, false, false
			},
			Cut: func(replies int) { w.cut, w.left = true, replies },
			Hold: func(requests int) func() int {
				w.holding, w.left = true, requests
				return w.land
			},
			Throttle: func() { w.throttled = true },
			Skew:     func(by time.Duration) { w.skew = by },
			Held: func(conformance.T) []string {
				var held []string
				for run, n := range u.Credentials() {
					for range n {
						held = append(held, string(run))
					}
				}
				return held
			},
		}
	}
}

// run returns the failures by the test in which they were found.
func run(t *testing.T, fresh func(conformance.T) conformance.Fixture) map[string]string {
	t.Helper()
	failures := map[string]string{}
	seen := 0
	err := conformance.Check(t.Context(), fresh, nil, func(r conformance.Result) {
		seen++
		if len(r.Failures) > 0 {
			failures[r.Name] = strings.Join(r.Failures, "\n")
		}
	})
	if err != nil || seen != len(conformance.Names()) {
		t.Fatalf("got %d results and error %v, want %d", seen, err, len(conformance.Names()))
	}
	return failures
}

func TestGoodUpstreamsPass(t *testing.T) {
	for _, shape := range []memory.Shape{memory.Dual, memory.Alternate, memory.Overwrite, memory.Issued, memory.Listed, memory.Rotated} {
		for _, enforces := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", shape, enforces), func(t *testing.T) {
				t.Parallel()
				config := memory.Config{Shape: shape, EnforcesRun: enforces, CallDeadline: callDeadline}
				for name, failure := range run(t, fixture(config, nil)) {
					t.Errorf("%s: %s", name, failure)
				}
			})
		}
	}
}

// Each mutant has one fault, and the test that must find it.
func TestMutantsAreFound(t *testing.T) {
	for _, mutant := range []struct {
		name    string
		shape   memory.Shape
		change  func(*wired)
		test    string
		message string
	}{
		{"refused when the reply is lost", memory.Dual, func(w *wired) {
			w.verify = func(got upstream.Verdict, err error) (upstream.Verdict, error) {
				if errors.Is(err, errLost) {
					return upstream.Refused, nil
				}
				return got, err
			}
		}, "LostRepliesOfVerify", "want unknown"},
		{"not applied, though it was", memory.Dual, func(w *wired) {
			w.apply = func(call func() (secret.Value, error), _ authority.RunID, _, _ secret.Value) (secret.Value, error) {
				v, err := call()
				if errors.Is(err, errLost) {
					err = fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
				}
				return v, err
			}
		}, "LostRepliesOfApply", "said not to be applied"},
		{"superseded, though nobody said so", memory.Dual, func(w *wired) {
			w.apply = func(call func() (secret.Value, error), _ authority.RunID, _, _ secret.Value) (secret.Value, error) {
				v, err := call()
				if errors.Is(err, errLost) {
					err = upstream.ErrSuperseded
				}
				return v, err
			}
		}, "LostRepliesOfApply", "which nobody said"},
		{"a marker that names nobody", memory.Alternate, func(w *wired) {
			w.kind = func(k upstream.Kind) upstream.Kind {
				k.Fences = true // which the double does not
				return k
			}
		}, "MarkerNamesTheLastRun", "a run that came later is no stranger"},
		{"applied anew each time", memory.Alternate, func(w *wired) {
			tries := 0
			w.apply = func(call func() (secret.Value, error), run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
				if run == "run-2" {
					if tries++; tries > 1 {
						return candidate.With(memory.Password, []byte("another-password"))
					}
				}
				return call()
			}
		}, "LostRepliesOfApply", "another credential"},
		{"old one removed when it is applied", memory.Dual, func(w *wired) {
			w.apply = func(call func() (secret.Value, error), run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
				v, err := call()
				if err == nil && !current.Empty() {
					_ = w.Upstream.Revoke(context.Background(), run, current, candidate)
				}
				return v, err
			}
		}, "LostRepliesOfApply", "current credential"},
		{"revoked, though it was not", memory.Dual, func(w *wired) {
			w.revoke = func(call func() error, _ authority.RunID, _, _ secret.Value) error {
				if err := call(); !errors.Is(err, errLost) {
					return err
				}
				return nil
			}
		}, "LostRepliesOfRevoke", "the old credential"},
		{"keeps what a lost reply left", memory.Issued, func(w *wired) {
			runs := 0
			w.apply = func(call func() (secret.Value, error), run authority.RunID, current, _ secret.Value) (secret.Value, error) {
				if runs++; w.cut {
					_, _ = w.Upstream.Apply(context.Background(), authority.RunID(fmt.Sprintf("%s-%d", run, runs)), current, secret.Value{})
				}
				return call()
			}
		}, "LostRepliesOfApply", "holds 2 credentials"},
		{"late calls land whatever came after them", memory.Dual, func(w *wired) {
			w.kind = func(k upstream.Kind) upstream.Kind {
				k.Fences = true // which the double does not
				return k
			}
		}, "RequestsThatLandLate", "the candidate that was taken back"},
		{"late calls land after their deadline", memory.Overwrite, func(w *wired) {
			w.kind = func(k upstream.Kind) upstream.Kind {
				k.Fences = true
				return k
			}
		}, "RequestsThatLandLate", "the next run's candidate"},
		{"gives up what is on its way for not applied", memory.Dual, func(w *wired) {
			w.apply = func(call func() (secret.Value, error), _ authority.RunID, _, _ secret.Value) (secret.Value, error) {
				v, err := call()
				if errors.Is(err, context.DeadlineExceeded) {
					err = fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
				}
				return v, err
			}
		}, "RequestsThatLandLate", "said not to be applied"},
		{"fails before anything is kept back", memory.Dual, func(w *wired) {
			w.apply = func(call func() (secret.Value, error), run authority.RunID, _, _ secret.Value) (secret.Value, error) {
				if w.holding && run == "run-2" {
					return secret.Value{}, errLost
				}
				return call()
			}
		}, "RequestsThatLandLate", "nothing of it was kept back"},
		{"one decoy for all", memory.Issued, func(w *wired) {
			w.decoy = func(v secret.Value) (secret.Value, error) { return v.With(memory.Key, []byte("the-one-decoy")) }
		}, "DecoyIsRefused", "another decoy"},
		{"decoy of another form", memory.Issued, func(w *wired) {
			w.decoy = func(secret.Value) (secret.Value, error) {
				return secret.Text(map[string]string{"other": rand.Text()})
			}
		}, "DecoyIsRefused", "fields of a decoy"},
		{"refused when throttled", memory.Dual, func(w *wired) {
			w.verify = func(got upstream.Verdict, err error) (upstream.Verdict, error) {
				if w.throttled {
					return upstream.Refused, nil
				}
				return got, err
			}
		}, "Throttled", "want unknown"},
		{"throttled without a word on when to come back", memory.Dual, func(w *wired) {
			w.verify = func(got upstream.Verdict, err error) (upstream.Verdict, error) {
				if w.throttled {
					return upstream.Unknown, errors.New("no")
				}
				return got, err
			}
		}, "Throttled", "upstream.Later"},
		{"verdicts by its own clock", memory.Dual, func(w *wired) {
			w.verify = func(got upstream.Verdict, err error) (upstream.Verdict, error) {
				if w.skew > 0 && got == upstream.Accepted {
					return upstream.Refused, nil
				}
				return got, err
			}
		}, "ClockSkew", "an hour ahead"},
		{"evidence that nobody gives", memory.Dual, func(w *wired) {
			w.kind = func(k upstream.Kind) upstream.Kind {
				k.Evidence = &upstream.Evidence{Source: "none"}
				return k
			}
		}, "CustodyIsNoUser", "Uses of the"},
		{"contradicts itself", memory.Overwrite, func(w *wired) {
			w.kind = func(k upstream.Kind) upstream.Kind {
				k.Undo = upstream.Discard
				return k
			}
		}, "KindIsConsistent", "cannot discard"},
	} {
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			failures := run(t, fixture(memory.Config{Shape: mutant.shape, CallDeadline: callDeadline}, mutant.change))
			if got := failures[mutant.test]; !strings.Contains(got, mutant.message) {
				t.Errorf("%s: got %q, want a failure with %q; all: %v", mutant.test, got, mutant.message, failures)
			}
		})
	}
}

// However places are drawn, the last reply is lost that the call needs, and the last request is kept back.
func TestLastPlaceIsAlwaysTried(t *testing.T) {
	for _, draw := range []func(int) int{func(int) int { return 0 }, func(n int) int { return n - 1 }} {
		for _, mutant := range []struct {
			test, message string
			change        func(*wired)
		}{
			{"LostRepliesOfApply", "said not to be applied", func(w *wired) {
				w.apply = func(call func() (secret.Value, error), _ authority.RunID, _, _ secret.Value) (secret.Value, error) {
					v, err := call()
					if errors.Is(err, errLost) { // true of the first reply, not of the last
						err = fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
					}
					return v, err
				}
			}},
			{"RequestsThatLandLate", "the candidate that was taken back", func(w *wired) {
				w.kind = func(k upstream.Kind) upstream.Kind {
					k.Fences = true // which the double does not
					return k
				}
			}},
		} {
			fresh := fixture(memory.Config{Shape: memory.Dual, CallDeadline: callDeadline}, mutant.change)
			drawn := func(t conformance.T) conformance.Fixture {
				f := fresh(t)
				f.Draw = draw
				return f
			}
			var failures []string
			chosen := func(name string) bool { return name == mutant.test }
			err := conformance.Check(t.Context(), drawn, chosen, func(r conformance.Result) { failures = append(failures, r.Failures...) })
			if got := strings.Join(failures, "\n"); err != nil || !strings.Contains(got, mutant.message) {
				t.Errorf("%s, drawn %d of 4: got %q and error %v, want a failure with %q", mutant.test, draw(4), got, err, mutant.message)
			}
		}
	}
}

func TestCheckStopsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var told []string
	err := conformance.Check(ctx, fixture(memory.Config{Shape: memory.Dual}, nil), nil, func(r conformance.Result) {
		told = append(told, r.Name)
		cancel()
	})
	if !errors.Is(err, context.Canceled) || len(told) != 1 {
		t.Errorf("got %v and error %v, want one result and the interruption", told, err)
	}
}
