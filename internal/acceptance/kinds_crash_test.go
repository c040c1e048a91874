// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
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
	// modelFinds and otherFinds are how often a kill must find a run of a kind at a step where no kill found it before.
	modelFinds, otherFinds = 100, 10
	// The kills that found a kind must be so many, and have found it in so many steps and runs.
	killsOver, spreadOver, runsOver = 10, 4, 3
	// seedVariable repeats a random test.
	seedVariable = "CUSTODY_KINDS_SEED"
	// runLength is about how long a run takes here, its settle time included.
	runLength = 1500 * time.Millisecond
	// killing bounds the kills, reaching the wait for one moment: a run may first wait for a deadline.
	killing, reaching = 10 * time.Minute, 30 * time.Second
)

// runSteps are those that every run takes.
var runSteps = []string{"planned", "staged", "applied", "verified", "promoted", "delivered", "revoked"}

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
	stop, cancel context.CancelFunc
	all          sync.WaitGroup
	mu           sync.Mutex
	done         map[string]int
	undone       map[string]int
	faults       map[string]error
}

// turn rotates each of the secrets until it is told to stop, and at least that many times; a rotation that began ends.
func (s *stage) turn(names []string, least int) *turning {
	stopping, stop := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	w := &turning{stop: stop, cancel: cancel, done: map[string]int{}, undone: map[string]int{}, faults: map[string]error{}}
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

// end waits until the rotations that began are done, for so long at most.
func (w *turning) end(within time.Duration) {
	w.stop()
	limit := time.AfterFunc(within, w.cancel)
	defer limit.Stop()
	w.all.Wait()
}

// rotated is how often a secret was.
func (w *turning) rotated(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done[name]
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
	t.Parallel()
	parties(t, true, crashAll)
}

func crashAll(t *testing.T, kinds []kind) {
	random := randomness(t)
	accounts := func(k kind) int { return k.crowd }
	workers := func(k kind) int { return max(1, 4/k.crowd) }
	s := newStage(t, kinds, plan{settle: "100ms", accounts: accounts, workers: workers, pace: 500 * time.Millisecond})
	steps := make(chan reached, 1<<16)
	s.mu.Lock()
	s.every = func(secret, step string) {
		select {
		case steps <- reached{secret, step}:
		default:
		}
	}
	s.mu.Unlock()
	work := s.turn(s.everySecret(), 1)
	var kills []time.Time
	began, down := time.Now(), time.Duration(0)
	found := s.found(t, kills)
	for wanting := s.wanting(found); len(wanting) > 0; wanting = s.wanting(found) {
		if time.Since(began) > killing {
			for _, l := range wanting {
				t.Errorf("after %d kills in %s too few found a run of %s: %s\n%s", len(kills), killing, l.name, found[l.name], l.standings())
			}
			break
		}
		s.awaitMoment(random, wanting, found, steps)
		s.kill()
		kills = append(kills, time.Now()) // nothing was recorded since
		s.serve()
		down += time.Since(kills[len(kills)-1])
		found = s.found(t, kills)
	}
	took := time.Since(began)
	work.end(2 * time.Minute)
	final := s.atRest(t, work)
	fmt.Printf("acceptance: %d kills in %s, each down for %s\n", len(kills), took.Round(time.Second), (down / time.Duration(max(1, len(kills)))).Round(time.Millisecond))
	for _, l := range s.kinds {
		t.Run(l.name, func(t *testing.T) {
			s.converged(t, l, work, final, found[l.name].String())
		})
	}
	s.rig.sound()
}

// atRest lets every run end, looks for what is left over, which a further rotation might hide, and has every secret
// rotated once more.
func (s *stage) atRest(t *testing.T, work *turning) *turning {
	t.Helper()
	s.settle(t, 2*time.Minute)
	for _, l := range s.kinds {
		t.Run(l.name+"/at-rest", func(t *testing.T) { l.sound(t, work.rotated) })
	}
	final := s.turn(s.everySecret(), 1)
	final.end(2 * time.Minute)
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
		t.Errorf("%d of %d accounts rotated once more at the end: %s\n%s%s", further, len(l.secrets), strings.Join(faults, "\n"), tail(s.log()), l.said())
	}
	l.quiet(t, stats)
	l.sound(t, final.rotated)
	line := fmt.Sprintf("%s; %d rotations of %d accounts completed, %d runs undone; %d sign-ins, %d refused, %d late",
		trouble, done+further, len(l.secrets), undone, stats.SignIns, stats.Refused, stats.Late)
	if l.capability == upstream.Overwrite {
		gaps, _ := lengths(stats.Gaps, false)
		median, longest := spread(gaps)
		line += fmt.Sprintf("; refused for %s (median), %s (longest)", median, longest)
	}
	fmt.Printf("acceptance: %s (%s): %s\n", l.name, l.class(), line)
}

// reached is a step that a secret's run took.
type reached struct{ secret, step string }

// awaitMoment waits for a moment to kill at: sometimes one drawn over the length of a run; more often a little after a
// step that was drawn, of a kind that kills have not found often enough or of an admin, for most of a run's time goes
// by in few of its steps, and some runs get nowhere as long as the process dies every second.
func (s *stage) awaitMoment(random *rand.Rand, wanting []*live, found map[string]*finds, steps chan reached) {
	if random.IntN(4) == 0 {
		time.Sleep(time.Duration(random.Int64N(int64(runLength))))
		return
	}
	wanted := wanting[random.IntN(len(wanting))]
	names, among := wanted.secrets, slices.Clone(runSteps)
	if len(s.admins) > 0 && random.IntN(8) == 0 {
		names = s.admins
	} else if rare := found[wanted.name]; len(rare.steps) < spreadOver {
		among = slices.DeleteFunc(among, func(step string) bool { return rare.steps[step] > 0 })
	}
	step := among[random.IntN(len(among))]
	after := time.Duration(random.Int64N(int64(20 * time.Millisecond)))
	for len(steps) > 0 {
		<-steps
	}
	limit := time.NewTimer(reaching)
	defer limit.Stop()
	for {
		select {
		case seen := <-steps:
			if seen.step == step && slices.Contains(names, seen.secret) {
				time.Sleep(after)
				return
			}
		case <-limit.C:
			return
		}
	}
}

// finds are the runs of a kind that kills found live, each counted once at each step.
type finds struct {
	runs, steps  map[string]int
	kills, total int
}

func (f *finds) String() string {
	return fmt.Sprintf("%d kills found %d runs live, in %d steps %v", f.kills, len(f.runs), f.total, f.steps)
}

// wanting are the kinds that kills have not found often enough.
func (s *stage) wanting(found map[string]*finds) (kinds []*live) {
	for _, l := range s.kinds {
		least := otherFinds
		if l.model {
			least = modelFinds
		}
		if f := found[l.name]; f.total < least || f.kills < killsOver || len(f.steps) < spreadOver || len(f.runs) < runsOver {
			kinds = append(kinds, l)
		}
	}
	return kinds
}

// found counts for each kind which of its runs, at which last step on record, the kills found live.
func (s *stage) found(t *testing.T, kills []time.Time) map[string]*finds {
	t.Helper()
	runs, err := s.rig.client.Runs(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*finds{}
	for _, l := range s.kinds {
		f, struck := &finds{runs: map[string]int{}, steps: map[string]int{}}, map[time.Time]bool{}
		for _, run := range runs {
			if run.Workflow != "rotation" || !slices.Contains(l.secrets, run.Secret) {
				continue
			}
			at := map[string]bool{}
			for _, kill := range kills {
				if run.Started.Before(kill) && (run.Ended.IsZero() || run.Ended.After(kill)) {
					at[stepAt(run, kill)], struck[kill] = true, true
				}
			}
			for step := range at {
				f.steps[step]++
				f.runs[string(run.ID)]++
				f.total++
			}
		}
		f.kills = len(struck)
		found[l.name] = f
	}
	return found
}

// stepAt is the last step of a run that was on record then.
func stepAt(run server.Run, at time.Time) string {
	step := "planned"
	for _, event := range run.Events {
		if event.At.Before(at) && slices.Contains(runSteps, event.Step) {
			step = event.Step
		}
	}
	return step
}
