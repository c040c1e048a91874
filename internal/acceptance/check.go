// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/upstream"
)

// sound checks that a kind is as it was at the start but for its versions: one credential, the one delivered, which has
// the same rights. At least so many of each secret's were replaced since it was last checked.
func (l *live) sound(t *testing.T, names []string, replaced func(name string) int) {
	t.Helper()
	for _, name := range names {
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		if l.Held != nil {
			if held, err := l.Held(ctx, account(name)); err != nil || len(held) != 1 {
				t.Errorf("%s: the server honours %q (%v), want one credential\n%s", name, held, err, l.standings())
			}
		}
		l.stale(ctx, t, name, replaced(name))
		if verdict, err := l.SignIn(ctx, l.At, l.stage.Fields(name)); verdict != upstream.Accepted {
			t.Errorf("%s: the delivered credential is %s (%v): locked out\n%s", name, verdict, err, l.standings())
		}
		if now := l.allowed(t, name); now != l.before[name] {
			t.Errorf("%s: its rights changed from\n%s\nto\n%s", name, l.before[name], now)
		}
		cancel()
	}
	if t.Failed() {
		t.Log(l.said())
	}
}

// stale checks that no credential which was delivered before opens anything. At least so many were.
func (l *live) stale(ctx context.Context, t *testing.T, name string, replaced int) {
	t.Helper()
	old := l.stage.replaced(name)
	replaced -= len(old)
	var all sync.WaitGroup
	slots := make(chan struct{}, 8) // servers take their time over a wrong sign-in
	for version, fields := range old {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if verdict, err := l.SignIn(ctx, l.At, fields); verdict != upstream.Refused {
				t.Errorf("%s: version %s, which was replaced, is %s (%v)", name, version, verdict, err)
			}
		})
	}
	all.Wait()
	if replaced > 0 {
		t.Errorf("%s: %d of the versions that were replaced were not seen, so nobody knows whether they are refused", name, replaced)
	}
}

// quiet checks what the clients of a kind saw. Where replies were lost, those that cannot go around the proxy lost some.
func (l *live) quiet(t *testing.T, stats seen, lost bool) {
	t.Helper()
	accepted := stats.SignIns - stats.Refused - stats.Late - stats.Unknown
	if accepted <= 0 {
		t.Errorf("%d sign-ins, none of which was accepted: the clients were not busy", stats.SignIns)
	}
	if stats.Unknown > 0 && (!lost || !l.OneWay) {
		t.Errorf("%d of %d sign-ins were neither accepted nor refused, the first: %s", stats.Unknown, stats.SignIns, stats.FirstUnknown)
	}
	if l.Capability != upstream.Overwrite && stats.Refused > 0 {
		t.Errorf("%d of %d sign-ins were refused, the first by %s; %s", stats.Refused, stats.SignIns, stats.First.Text, l.stage.during(t, stats.First.Secret, stats.First.At))
	}
	// A client that gets no processor is late at each rotation, and its next sign-in, soon after, is not: on a quiet machine
	// fewer than one in a hundred are late. Where most are, the rest shows nothing.
	if l.Capability != upstream.Overwrite && stats.Late > accepted {
		t.Errorf("%d of %d sign-ins were refused after the client had been slow, and only %d accepted: nothing was measured; the longest sign-in took %s",
			stats.Late, stats.SignIns, accepted, stats.Longest)
	}
	if len(stats.Open) > 0 {
		first := stats.Open[0]
		t.Errorf("%d workers could not sign in for %s after the end; %s\n%s", len(stats.Open), openLimit, l.stage.during(t, first.Secret, first.Began), l.standings())
	}
}

// lengths are those of the gaps of workers that hold what they read, or of the others, and the longest gap.
func lengths(gaps []gap, holds bool) (all []time.Duration, longest gap) {
	for _, g := range gaps {
		if g.Holds != holds {
			continue
		}
		length := g.Ended.Sub(g.Began)
		if all = append(all, length); length > longest.Ended.Sub(longest.Began) {
			longest = g
		}
	}
	return all, longest
}

// spread is the median and the longest.
func spread(gaps []time.Duration) (median, longest time.Duration) {
	if len(gaps) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(gaps))
	return sorted[len(sorted)/2].Round(time.Millisecond), sorted[len(sorted)-1].Round(time.Millisecond)
}
