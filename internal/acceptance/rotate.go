// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/upstream"
)

// longestGap bounds how long an overwrite kind refuses a client: from applying the new credential until it lies in the
// client's file, or until the client is reloaded, and until the client tries again. Nothing waits for a time in between, so
// it is a second or two. With fifty busy processes on its two processors a machine needed 36 s, at a mail server that answers
// wrong sign-ins late. A run that waited for the next look at it, a minute later, would show.
const longestGap = 60 * time.Second

// rotations rotates every kind where nothing is broken, all at the same time, while clients keep signing in, and each admin
// while it is used.
func (s *Stage) rotations(t *testing.T, n size) {
	ctx := t.Context()
	var all sync.WaitGroup
	var mu sync.Mutex
	faults, took := map[string]error{}, map[string]time.Duration{}
	for _, l := range s.kinds {
		for _, name := range l.calm(n) {
			all.Go(func() {
				began := time.Now()
				err := s.several(ctx, name, n.each(l.Kind))
				mu.Lock()
				defer mu.Unlock()
				faults[name], took[l.Name] = err, max(took[l.Name], time.Since(began))
			})
		}
	}
	adminFaults := make([]error, len(s.admins))
	for i, name := range s.admins {
		all.Go(func() {
			for again := range n.admins {
				if again > 0 {
					time.Sleep(time.Second) // others use it in between
				}
				if adminFaults[i] = s.several(ctx, name, 1); adminFaults[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	s.settle(t)
	time.Sleep(time.Second) // clients see the last credential
	s.eachKind(t, "rotated", func(t *testing.T, l *live) {
		stats, done, each := l.client.stop(t), 0, n.each(l.Kind)
		for _, name := range l.calm(n) {
			if faults[name] != nil {
				t.Errorf("%v\n%s%s", faults[name], tail(s.log()), l.said())
			}
			row, _ := s.drive.look(name)
			done += number(row.Version) - l.versions[name]
			if got, want := number(row.Version), l.versions[name]+each; got != want {
				t.Errorf("%s: version %d, want %d", name, got, want)
			}
		}
		l.quiet(t, stats, false)
		l.sound(t, l.calm(n), func(string) int { return each })
		line := fmt.Sprintf("%d rotations in %s under %d clients: %d sign-ins, %d refused, %d late, longest %s", done,
			took[l.Name].Round(100*time.Millisecond), n.workers(l.Kind)*len(l.calm(n)), stats.SignIns, stats.Refused, stats.Late, stats.Longest.Round(time.Millisecond))
		if l.Capability == upstream.Overwrite {
			line += s.gaps(t, stats)
		}
		fmt.Printf("acceptance: %s (%s): %s\n", l.Name, l.class(), line)
	})
	for i, err := range adminFaults {
		if err != nil {
			t.Errorf("%s: %v", s.admins[i], err)
		}
	}
}

// gaps tells how long an overwrite kind refused its clients, which is bounded. A gap can be so short that it lies between two
// sign-ins of every client, so that none was refused is an answer too.
func (s *Stage) gaps(t *testing.T, stats seen) string {
	t.Helper()
	gaps, longest := lengths(stats.Gaps, false)
	held, longestHeld := lengths(stats.Gaps, true)
	for _, g := range []gap{longest, longestHeld} {
		if length := g.Ended.Sub(g.Began); length > longestGap {
			t.Errorf("a client was refused for %s, want %s at most; %s; at its end %s", length, longestGap, s.during(t, g.Secret, g.Began), s.during(t, g.Secret, g.Ended))
		}
	}
	median, most := spread(gaps)
	heldMedian, heldMost := spread(held)
	return fmt.Sprintf("; refused for %s (median), %s (longest of %d) where the file is read, %s, %s (of %d) where the client is reloaded",
		median, most, len(gaps), heldMedian, heldMost, len(held))
}

// several rotates one secret so many times.
func (s *Stage) several(ctx context.Context, name string, times int) error {
	for range times {
		one, cancel := context.WithTimeout(ctx, hang)
		undone, err := s.drive.rotate(one, name)
		cancel()
		if err == nil && undone > 0 {
			err = fmt.Errorf("%d runs of %s were undone", undone, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
