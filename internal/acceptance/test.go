// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream"
)

// hang ends what will never end. Every wait of these tests is for a condition, which a quiet machine meets within seconds,
// or where a call's deadline has to pass within half a minute; a busy one takes as long as it takes.
const hang = 10 * time.Minute

// between two looks: each is a request to the server, which would do little else.
const between = 50 * time.Millisecond

// size is how much a test of kinds tries.
type size struct {
	// rotations of each kind where nothing is broken, shared by at most so many accounts, and of each admin.
	rotations, abreast, admins int
	// crowd is how many accounts of each kind rotate at most while processes are killed, losers while replies are lost.
	crowd, losers int
	// model and others are how often a kill must find a run of a kind at a step where no kill found it before. The kills
	// that found a kind must be so many, and have found it in so many steps and runs.
	model, others, kills, steps, runs int
	// heldUp is how many runs of each kind lost replies must hold up, unless losing has passed and one was.
	heldUp int
	losing time.Duration
	// pace is how often each worker signs in while there is trouble.
	pace time.Duration
}

// sized shows each guarantee once, or is the long run's.
func sized() size {
	return thorough.Of(size{},
		size{rotations: 3, abreast: 2, admins: 1, crowd: 3, losers: 2, model: 3, others: 3, kills: 3, steps: 3, runs: 2, heldUp: 2, losing: 5 * time.Second, pace: time.Second},
		size{rotations: 50, abreast: 50, admins: 5, crowd: 50, losers: 5, model: 100, others: 10, kills: 10, steps: 4, runs: 3, heldUp: 10, losing: 30 * time.Second, pace: 500 * time.Millisecond})
}

// accounts is how many of a kind there are: those that are killed, and others that lose replies meanwhile. Some of them,
// or all, rotate where nothing is broken.
func (n size) accounts(k Kind) int {
	if k.Calm {
		return min(k.Abreast, n.abreast)
	}
	return max(min(k.Abreast, n.abreast), min(k.Crowd, n.crowd)+n.losers)
}

func (n size) each(k Kind) int {
	abreast := min(k.Abreast, n.abreast)
	return (n.rotations + abreast - 1) / abreast
}

// workers sign in to each account where nothing is broken.
func (n size) workers(k Kind) int { return max(2, 4/min(k.Abreast, n.abreast)) }

// calm are the accounts that rotate where nothing is broken, crowd those whose runs are killed, losers those whose replies
// are lost.
func (l *live) calm(n size) []string { return l.secrets[:min(l.Abreast, n.abreast)] }

func (l *live) crowd(n size) []string { return l.secrets[:min(l.Crowd, n.crowd)] }

func (l *live) losers(n size) []string {
	crowd := min(l.Crowd, n.crowd)
	return l.secrets[crowd : crowd+n.losers]
}

// Test runs all kinds of one type of upstream on the whole product: one platform of the built binary, their servers, each
// started once, and a process of clients for each kind.
//
//  1. Every kind rotates while clients keep signing in, half of which hold what they read until they are reloaded. Nothing
//     is broken: no sign-in is refused, or of a kind that overwrites for as long as is measured.
//  2. The serving process is killed again and again while every kind rotates, a little after steps that the seed chooses,
//     until kills have found runs of every kind live in enough steps.
//  3. Replies of the servers are lost, from random moments on, while other accounts rotate; those of before wait for the
//     deadlines of their calls, where the kind needs that.
//  4. Everything comes to rest, is looked at, and is rotated once more.
//
// After each part the server honours one credential of an account, the one delivered, with the rights it had, and refuses
// those before it. Nothing is bounded by a time but what hangs, and the gap that an overwrite leaves.
//
// With -short it returns: servers are not for a fast loop. CUSTODY_LONG=1 and CUSTODY_SEED are as thorough says.
func Test(t *testing.T, kinds ...Kind) {
	t.Helper()
	if testing.Short() {
		return
	}
	n, random := sized(), thorough.Random(t, t.Name())
	turns := takeTurns(t)
	turns.together()
	began := time.Now()
	s := newStage(t, complete(t, kinds), plan{settle: "300ms", accounts: n.accounts, proxied: true, measure: turns.alone},
		func(l *live) crew { return crew{l.calm(n), n.workers(l.Kind), 0} })
	lap := func(what string) {
		t.Logf("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
		began = time.Now()
	}
	lap("start")
	s.rotations(t, n)
	turns.together()
	lap("rotations")
	s.sound()
	if s.onlyThose(n); len(s.kinds) == 0 {
		return
	}
	found, killed := s.kills(t, n, random)
	lap("kills")
	lost := s.losses(n, random)
	lap("lost replies")
	killed.wait()
	lost.work.wait()
	s.settle(t)
	lap("rest")
	s.eachKind(t, "at-rest", func(t *testing.T, l *live) { // before a further rotation hides what is left over
		l.sound(t, s.broken(l, n), func(name string) int { return killed.rotated(name) + lost.work.rotated(name) })
	})
	final := s.turn(s.everySecret(n), 1)
	final.wait()
	s.settle(t)
	time.Sleep(time.Second) // clients see the last credential
	s.eachKind(t, "recovered", func(t *testing.T, l *live) { s.recovered(t, l, n, found[l.Name], killed, lost, final) })
	s.sound()
	lap("once more")
}

// eachKind looks at the kinds at the same time: servers answer wrong sign-ins late.
func (s *Stage) eachKind(t *testing.T, what string, look func(*testing.T, *live)) {
	t.Helper()
	t.Run(what, func(t *testing.T) {
		for _, l := range s.kinds {
			t.Run(l.Name, func(t *testing.T) {
				t.Parallel()
				look(t, l)
			})
		}
	})
}

// recovered checks a kind after trouble, and prints what came of it.
func (s *Stage) recovered(t *testing.T, l *live, n size, found *finds, killed *turning, lost losses, final *turning) {
	t.Helper()
	stats := l.client.stop(t)
	done, undone, faults := 0, 0, []string(nil)
	for _, work := range []*turning{killed, lost.work, final} {
		completed, backwards, failed := work.of(l)
		done, undone, faults = done+completed, undone+backwards, append(faults, failed...)
	}
	accounts := s.broken(l, n)
	if again, _, _ := final.of(l); len(faults) > 0 || again != len(accounts) {
		t.Errorf("%d of %d accounts rotated once more at the end: %s\n%s%s", again, len(accounts), strings.Join(faults, "\n"), tail(s.log()), l.said())
	}
	l.quiet(t, stats, true)
	l.sound(t, accounts, final.rotated)
	line := fmt.Sprintf("%s; %s; %d rotations of %d accounts completed, %d runs undone; %d sign-ins, %d refused, %d late",
		found, lost.of(t, l, n), done, len(accounts), undone, stats.SignIns, stats.Refused, stats.Late)
	if l.Capability == upstream.Overwrite {
		gaps, _ := lengths(stats.Gaps, false)
		median, longest := spread(gaps)
		line += fmt.Sprintf("; refused for %s (median), %s (longest)", median, longest)
	}
	fmt.Printf("acceptance: %s (%s): %s\n", l.Name, l.class(), line)
}

// onlyThose leaves the kinds of which trouble can be made, and has their clients sign in to the accounts that get it.
func (s *Stage) onlyThose(n size) {
	s.t.Helper()
	s.kinds = slices.DeleteFunc(s.kinds, func(l *live) bool { return l.Calm })
	for _, l := range s.kinds {
		accounts := s.broken(l, n)
		l.startClient(crew{accounts, max(1, 4/len(accounts)), n.pace})
		// The check asks the new process, which runs once its file is there.
		eventually(s.t, "the clients of "+l.Name+" to run", func() bool {
			_, err := os.Stat(filepath.Join(l.client.folder, "pid"))
			return err == nil
		})
	}
}

// broken are the accounts of a kind that get trouble.
func (s *Stage) broken(l *live, n size) []string { return slices.Concat(l.crowd(n), l.losers(n)) }

// everySecret are those that get trouble, admins among them.
func (s *Stage) everySecret(n size) []string {
	names := slices.Clone(s.admins)
	for _, l := range s.kinds {
		names = append(names, s.broken(l, n)...)
	}
	return names
}
