// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
)

const (
	// losing is how long replies are lost at most, enoughLost how many runs of each kind are held up when it ends before.
	// Then the servers heal, and what waits for a deadline goes on.
	losing     = 30 * time.Second
	enoughLost = 10
)

// TestEveryKindSurvivesLostReplies loses the replies of servers to Custody, from random moments on, while every kind
// rotates. Clients go to the servers directly.
func TestEveryKindSurvivesLostReplies(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	parties(t, true, loseAll)
}

func loseAll(t *testing.T, kinds []kind) {
	const accounts, each = 5, 2 // ten rotations of each kind, and more where they are quick
	random := randomness(t)
	s := newStage(t, kinds, plan{settle: "300ms", accounts: func(kind) int { return accounts }, workers: func(kind) int { return 1 }, pace: 500 * time.Millisecond, proxied: true})
	cuts := map[string]*int{}
	for server := range s.proxies {
		cuts[server] = new(int)
	}
	work := s.turn(s.everySecret(), each)
	s.lose(random, cuts)
	work.end(4 * time.Minute)
	disturbed := map[string]int{}
	for _, l := range s.kinds {
		disturbed[l.name] = s.drive.disturbed(l.secrets)
	}
	final := s.atRest(t, work)
	for _, l := range s.kinds {
		t.Run(l.name, func(t *testing.T) {
			trouble := "no wire"
			if times := cuts[l.server]; times != nil { // a program of the host's has none
				trouble = fmt.Sprintf("the server's replies were cut off %d times, which held up %d runs", *times, disturbed[l.name])
				if disturbed[l.name] == 0 {
					t.Errorf("no run was held up: nothing was lost\n%s", l.standings())
				}
			}
			s.converged(t, l, work, final, trouble)
		})
	}
	s.rig.sound()
}

// lose has every server lose its replies again and again until that has held up enough runs of each kind.
func (s *stage) lose(random *rand.Rand, cuts map[string]*int) {
	var all sync.WaitGroup
	until := time.Now().Add(losing)
	enough := func() bool {
		return time.Now().After(until) || !slices.ContainsFunc(s.kinds, func(l *live) bool {
			return len(s.proxies[l.server]) > 0 && s.drive.disturbed(l.secrets) < enoughLost
		})
	}
	for server, proxies := range s.proxies {
		own := rand.New(rand.NewPCG(random.Uint64(), 2))
		all.Go(func() {
			for !enough() {
				lose(own, proxies)
				*cuts[server]++
				time.Sleep(time.Duration(own.Int64N(int64(800 * time.Millisecond))))
			}
		})
	}
	all.Wait()
}

// lose has one of the proxies lose replies after some more, and heals it after a while.
func lose(random *rand.Rand, proxies []*realparts.Proxy) {
	proxy := proxies[random.IntN(len(proxies))]
	proxy.Cut(random.IntN(40))
	time.Sleep(time.Duration(random.Int64N(int64(400 * time.Millisecond))))
	proxy.Mend()
}
