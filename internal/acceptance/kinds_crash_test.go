// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/upstream"
)

const (
	// modelKills and otherKills are how many kills must hit a live run of a kind.
	modelKills, otherKills = 100, 10
	// seedVariable repeats a random test.
	seedVariable = "CUSTODY_KINDS_SEED"
	// spreadOver is in how many different steps the kills of a model kind must have found it.
	spreadOver = 4
	// runLength is about how long a run takes here, its settle time included.
	runLength = 1500 * time.Millisecond
)

// randomness returns a generator whose seed is printed, or given.
func randomness(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv(seedVariable); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", seedVariable, seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// turning rotates every secret of a stage over and over.
type turning struct {
	stop   context.CancelFunc
	all    sync.WaitGroup
	mu     sync.Mutex
	done   map[string]int
	undone map[string]int
	faults map[string]error
}

// turn rotates each of the secrets until it is told to stop, and at least that many times; a rotation that began ends.
func (s *stage) turn(names []string, least int, within time.Duration) *turning {
	stopping, stop := context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), within)
	w := &turning{stop: stop, done: map[string]int{}, undone: map[string]int{}, faults: map[string]error{}}
	for _, name := range names {
		w.all.Go(func() {
			for n := 0; n < least || stopping.Err() == nil; n++ {
				undone, err := s.drive.rotate(ctx, name)
				w.mu.Lock()
				w.undone[name] += undone
				if err != nil {
					w.faults[name] = err
					w.mu.Unlock()
					return
				}
				w.done[name]++
				w.mu.Unlock()
			}
		})
	}
	s.t.Cleanup(func() { stop(); cancel() })
	return w
}

// of sums over a kind's secrets.
func (w *turning) of(l *live) (done, undone int, faults []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range l.secrets {
		done, undone = done+w.done[name], undone+w.undone[name]
		if err := w.faults[name]; err != nil {
			faults = append(faults, err.Error())
		}
	}
	return done, undone, faults
}

func (s *stage) everySecret() []string {
	names := slices.Clone(s.admins)
	for _, l := range s.kinds {
		names = append(names, l.secrets...)
	}
	return names
}

// TestEveryKindSurvivesCrashes kills the serving process at random moments while every kind rotates, and starts it again.
func TestEveryKindSurvivesCrashes(t *testing.T) {
	if testing.Short() {
		return
	}
	parties(t, crashAll)
}

func crashAll(t *testing.T, kinds []kind) {
	random := randomness(t)
	s := newStage(t, kinds, plan{settle: "100ms", accounts: func(k kind) int { return k.crowd }, workers: 2})
	names := s.everySecret()
	steps := make(chan string, 1<<16)
	s.mu.Lock()
	s.every = func(secret, step string) {
		select {
		case steps <- secret + " " + step:
		default:
		}
	}
	s.mu.Unlock()
	work := s.turn(names, 1, 6*time.Minute)
	var kills []time.Time
	hits := map[string]map[string]int{}
	short := func() (kinds []string) {
		for _, l := range s.kinds {
			if n := total(hits[l.name]); n < otherKills || l.model && (n < modelKills || len(hits[l.name]) < spreadOver) {
				kinds = append(kinds, fmt.Sprintf("%s %v", l.name, hits[l.name]))
			}
		}
		return kinds
	}
	began, down := time.Now(), time.Duration(0)
	for limit := began.Add(5 * time.Minute); len(short()) > 0; {
		if time.Now().After(limit) {
			t.Errorf("after %d kills too few hit a live run of %s", len(kills), short())
			break
		}
		s.awaitMoment(random, names, steps)
		kills = append(kills, time.Now())
		s.kill()
		s.serve()
		down += time.Since(kills[len(kills)-1])
		if len(kills)%10 == 0 {
			hits = s.hits(t, kills)
		}
	}
	took := time.Since(began)
	work.stop()
	work.all.Wait()
	final := s.atRest(t)
	hits = s.hits(t, kills)
	fmt.Printf("acceptance: %d kills in %s, each down for %s\n", len(kills), took.Round(time.Second), (down / time.Duration(max(1, len(kills)))).Round(time.Millisecond))
	for _, l := range s.kinds {
		t.Run(l.name, func(t *testing.T) {
			s.converged(t, l, work, final, fmt.Sprintf("%d kills hit a live run %v", total(hits[l.name]), hits[l.name]))
		})
	}
	s.rig.sound()
}

// atRest lets every run end, looks for what is left over, which a further rotation might hide, and has every secret
// rotated once more.
func (s *stage) atRest(t *testing.T) *turning {
	t.Helper()
	s.settle(t, 2*time.Minute)
	for _, l := range s.kinds {
		t.Run(l.name+"/at-rest", l.sound)
	}
	final := s.turn(s.everySecret(), 1, 2*time.Minute)
	final.stop()
	final.all.Wait()
	s.settle(t, time.Minute)
	time.Sleep(300 * time.Millisecond) // clients see the last credential
	return final
}

// converged checks a kind after trouble.
func (s *stage) converged(t *testing.T, l *live, work, final *turning, trouble string) {
	t.Helper()
	stats := l.client.stop(t)
	done, undone, faults := work.of(l)
	further, _, left := final.of(l)
	if faults = append(faults, left...); len(faults) > 0 || further != len(l.secrets) {
		t.Errorf("%d of %d accounts rotated once more at the end: %s\n%s", further, len(l.secrets), strings.Join(faults, "\n"), tail(s.log()))
	}
	l.quiet(t, stats)
	l.sound(t)
	line := fmt.Sprintf("%s; %d rotations of %d accounts completed, %d runs undone; %d sign-ins, %d refused, %d late",
		trouble, done+further, len(l.secrets), undone, stats.SignIns, stats.Refused, stats.Late)
	if l.capability == upstream.Overwrite {
		median, longest := spread(stats.Gaps)
		line += fmt.Sprintf("; refused for %s (median), %s (longest)", median, longest)
	}
	fmt.Printf("acceptance: %s (%s): %s\n", l.name, l.class(), line)
}

// awaitMoment waits for a moment to kill at: sometimes one drawn over the length of a run; more often a little after a
// step that was drawn, of a secret that was drawn, for most of a run's time goes by in few of its steps.
func (s *stage) awaitMoment(random *rand.Rand, names []string, steps chan string) {
	if random.IntN(3) == 0 {
		time.Sleep(time.Duration(random.Int64N(int64(runLength))))
		return
	}
	all := []string{"planned", "staged", "applied", "verified", "promoted", "delivered", "revoked"}
	wanted := names[random.IntN(len(names))] + " " + all[random.IntN(len(all))]
	after := time.Duration(random.Int64N(int64(20 * time.Millisecond)))
	for len(steps) > 0 {
		<-steps
	}
	limit := time.NewTimer(2 * runLength)
	defer limit.Stop()
	for {
		select {
		case seen := <-steps:
			if seen == wanted {
				time.Sleep(after)
				return
			}
		case <-limit.C:
			return
		}
	}
}

// hits counts for each kind, by the last step on record, the kills that found a run of it live.
func (s *stage) hits(t *testing.T, kills []time.Time) map[string]map[string]int {
	t.Helper()
	runs, err := s.rig.client.Runs(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]map[string]int{}
	for _, l := range s.kinds {
		hits[l.name] = map[string]int{}
		for _, run := range runs {
			if run.Workflow != "rotation" || !slices.Contains(l.secrets, run.Secret) {
				continue
			}
			for _, kill := range kills {
				if run.Started.Before(kill) && (run.Ended.IsZero() || run.Ended.After(kill)) {
					hits[l.name][stepAt(run, kill)]++
				}
			}
		}
	}
	return hits
}

// stepAt is the last step of a run that was on record then.
func stepAt(run server.Run, at time.Time) string {
	step := "planned"
	for _, event := range run.Events {
		if event.At.Before(at) {
			step = event.Step
		}
	}
	return step
}

func total(counts map[string]int) int {
	n := 0
	for count := range maps.Values(counts) {
		n += count
	}
	return n
}
