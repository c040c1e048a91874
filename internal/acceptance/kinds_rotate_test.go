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

// longestGap is an upper bound, on a busy machine, of how long an overwrite kind refuses clients that read the file
// before each sign-in, and those that wait for a reload. Some servers answer a wrong sign-in only after seconds.
const longestGap = 15 * time.Second

// rotationLimit bounds one rotation, however busy the machine is.
const rotationLimit = 2 * time.Minute

// TestEveryKindRotates rotates every kind on its real server, all at the same time on one platform, while clients keep
// signing in, half of which hold what they read until they are reloaded. A kind's name behind a slash runs it alone:
// -run TestEveryKindRotates/postgres.
func TestEveryKindRotates(t *testing.T) {
	if testing.Short() {
		return // servers of every kind are not for a fast loop
	}
	t.Parallel()
	parties(t, false, rotateAll)
}

func rotateAll(t *testing.T, kinds []kind) {
	const rotations, adminEvery = 50, 10
	accounts := func(k kind) int { return k.abreast }
	workers := func(k kind) int { return max(2, 4/k.abreast) }
	s := newStage(t, kinds, plan{settle: "300ms", accounts: accounts, workers: workers, holds: true})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	each := func(l *live) int { return (rotations + len(l.secrets) - 1) / len(l.secrets) }
	var all sync.WaitGroup
	var mu sync.Mutex
	faults, took := map[string]error{}, map[string]time.Duration{}
	for _, l := range s.kinds {
		for _, name := range l.secrets {
			all.Go(func() {
				began := time.Now()
				err := s.several(ctx, name, each(l))
				mu.Lock()
				defer mu.Unlock()
				faults[name], took[l.name] = err, max(took[l.name], time.Since(began))
			})
		}
	}
	adminFaults := make([]error, len(s.admins))
	for i, name := range s.admins { // an admin is replaced while it is used
		all.Go(func() {
			for range rotations / adminEvery {
				if _, adminFaults[i] = s.drive.rotate(ctx, name); adminFaults[i] != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
	}
	all.Wait()
	s.settle(t, time.Minute)
	time.Sleep(time.Second) // clients see the last credential
	for _, l := range s.kinds {
		t.Run(l.name, func(t *testing.T) {
			stats, done := l.client.stop(t), 0
			for _, name := range l.secrets {
				if faults[name] != nil {
					t.Errorf("%v\n%s%s", faults[name], tail(s.log()), l.said())
				}
				row, _ := s.drive.look(name)
				done += number(row.Version) - l.versions[name]
				if got, want := number(row.Version), l.versions[name]+each(l); got != want {
					t.Errorf("%s: version %d, want %d", name, got, want)
				}
			}
			l.quiet(t, stats)
			l.sound(t, func(string) int { return each(l) })
			line := fmt.Sprintf("%d rotations in %s under %d clients: %d sign-ins, %d refused, %d late, longest %s",
				done, took[l.name].Round(time.Second), workers(l.kind)*len(l.secrets), stats.SignIns, stats.Refused, stats.Late, stats.Longest.Round(time.Millisecond))
			if l.capability == upstream.Overwrite {
				gaps, longest := lengths(stats.Gaps, false)
				held, longestHeld := lengths(stats.Gaps, true)
				median, most := spread(gaps)
				heldMedian, heldMost := spread(held)
				line += fmt.Sprintf("; refused for %s (median), %s (longest of %d) where the file is read, %s, %s (of %d) where the client is reloaded",
					median, most, len(gaps), heldMedian, heldMost, len(held))
				if len(stats.Gaps) == 0 {
					t.Error("no client was ever refused: nothing was measured")
				}
				for _, g := range []gap{longest, longestHeld} {
					if length := g.Ended.Sub(g.Began); length > longestGap {
						t.Errorf("a client was refused for %s, want %s at most; %s; at its end %s", length, longestGap, s.during(t, g.Secret, g.Began), s.during(t, g.Secret, g.Ended))
					}
				}
			}
			fmt.Printf("acceptance: %s (%s): %s\n", l.name, l.class(), line)
		})
	}
	for i, err := range adminFaults {
		if err != nil {
			t.Errorf("%s: %v", s.admins[i], err)
		}
	}
	s.rig.sound()
}

// several rotates one secret so many times.
func (s *stage) several(ctx context.Context, name string, times int) error {
	for range times {
		one, cancel := context.WithTimeout(ctx, rotationLimit)
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
