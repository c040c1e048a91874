// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/server"
)

// runLength is about how long a run takes here, its settle time included.
const runLength = 1500 * time.Millisecond

// killing ends kills that find nothing: a hundred of them take five minutes where the machine is quiet.
const killing = 40 * time.Minute

// reaching is when another step is waited for: a run may first wait for a deadline.
const reaching = 30 * time.Second

// runSteps are those that every run takes.
var runSteps = []string{"planned", "staged", "applied", "verified", "promoted", "delivered", "revoked"}

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
func (s *Stage) turn(names []string, least int) *turning {
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

// wait lets the rotations that began end.
func (w *turning) wait() {
	w.stop()
	limit := time.AfterFunc(hang, w.cancel)
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

// kills kills the serving process while every kind rotates, and starts it again, until kills have found enough runs. The
// rotations that began go on.
func (s *Stage) kills(t *testing.T, n size, random *rand.Rand) (found map[string]*finds, work *turning) {
	t.Helper()
	names := slices.Clone(s.admins)
	for _, l := range s.kinds {
		names = append(names, l.crowd(n)...)
	}
	steps := make(chan reached, 1<<16)
	s.tell(func(secret, step string) {
		select {
		case steps <- reached{secret, step}:
		default:
		}
	})
	defer s.tell(nil)
	work = s.turn(names, 1)
	var kills []time.Time
	began, down := time.Now(), time.Duration(0)
	found = s.found(t, n, kills)
	for wanting := s.wanting(n, found); len(wanting) > 0; wanting = s.wanting(n, found) {
		if time.Since(began) > killing {
			for _, l := range wanting {
				t.Errorf("after %d kills in %s too few found a run of %s: %s\n%s", len(kills), killing, l.Name, found[l.Name], l.standings())
			}
			break
		}
		s.awaitMoment(n, random, wanting, found, steps)
		s.kill()
		kills = append(kills, time.Now()) // nothing was recorded since
		s.serve()
		down += time.Since(kills[len(kills)-1])
		found = s.found(t, n, kills)
	}
	work.stop()
	fmt.Printf("acceptance: %d kills in %s, each down for %s\n", len(kills), time.Since(began).Round(100*time.Millisecond), (down / time.Duration(max(1, len(kills)))).Round(time.Millisecond))
	return found, work
}

// tell has every step that the serving process logs told.
func (s *Stage) tell(every func(secret, step string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.every = every
}

// reached is a step that a secret's run took.
type reached struct{ secret, step string }

// awaitMoment waits for a moment to kill at: sometimes one drawn over the length of a run; more often a little after a
// step that was drawn, of a kind that kills have not found often enough or of an admin, for most of a run's time goes
// by in few of its steps, and some runs get nowhere as long as the process dies every second.
func (s *Stage) awaitMoment(n size, random *rand.Rand, wanting []*live, found map[string]*finds, steps chan reached) {
	if random.IntN(4) == 0 {
		time.Sleep(time.Duration(random.Int64N(int64(runLength))))
		return
	}
	wanted := wanting[random.IntN(len(wanting))]
	names, among := wanted.crowd(n), slices.Clone(runSteps)
	if len(s.admins) > 0 && random.IntN(8) == 0 {
		names = s.admins
	} else if rare := found[wanted.Name]; len(rare.steps) < n.steps {
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
func (s *Stage) wanting(n size, found map[string]*finds) (kinds []*live) {
	for _, l := range s.kinds {
		least := n.others
		if l.Model {
			least = n.model
		}
		if f := found[l.Name]; f.total < least || f.kills < n.kills || len(f.steps) < n.steps || len(f.runs) < n.runs {
			kinds = append(kinds, l)
		}
	}
	return kinds
}

// found counts for each kind which of its runs, at which last step on record, the kills found live.
func (s *Stage) found(t *testing.T, n size, kills []time.Time) map[string]*finds {
	t.Helper()
	runs, err := s.rig.client.Runs(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*finds{}
	for _, l := range s.kinds {
		f, struck := &finds{runs: map[string]int{}, steps: map[string]int{}}, map[time.Time]bool{}
		for _, run := range runs {
			if run.Workflow != "rotation" || !slices.Contains(l.crowd(n), run.Secret) {
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
		found[l.Name] = f
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
