// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
)

// losing is how long replies are lost. Then the servers heal, and what waits for a deadline goes on.
const losing = 30 * time.Second

// TestEveryKindSurvivesLostReplies loses the replies of servers to Custody, from random moments on, while every kind
// rotates. Clients go to the servers directly.
func TestEveryKindSurvivesLostReplies(t *testing.T) {
	if testing.Short() {
		return
	}
	parties(t, loseAll)
}

func loseAll(t *testing.T, kinds []kind) {
	const accounts, each = 5, 2 // ten rotations of each kind, and more where they are quick
	random := randomness(t)
	s := newStage(t, kinds, plan{settle: "300ms", accounts: func(k kind) int { return max(k.crowd, accounts) }, workers: 1, proxied: true})
	cuts := map[string]*int{}
	for server := range s.proxies {
		cuts[server] = new(int)
	}
	work := s.turn(s.everySecret(), each, 4*time.Minute)
	s.lose(random, cuts, time.Now().Add(losing))
	work.stop()
	work.all.Wait()
	disturbed := map[string]int{}
	for _, l := range s.kinds {
		disturbed[l.name] = s.drive.disturbed(l.secrets)
	}
	final := s.atRest(t)
	for _, l := range s.kinds {
		t.Run(l.name, func(t *testing.T) {
			trouble := "no wire"
			if times := cuts[l.server]; times != nil { // a program of the host's has none
				trouble = fmt.Sprintf("the server's replies were cut off %d times, which held up %d runs", *times, disturbed[l.name])
				if disturbed[l.name] == 0 {
					t.Error("no run was held up: nothing was lost")
				}
			}
			s.converged(t, l, work, final, trouble)
		})
	}
	s.rig.sound()
}

// lose has every server lose its replies again and again until then.
func (s *stage) lose(random *rand.Rand, cuts map[string]*int, until time.Time) {
	var all sync.WaitGroup
	for server, proxies := range s.proxies {
		own := rand.New(rand.NewPCG(random.Uint64(), 2))
		all.Go(func() {
			for time.Now().Before(until) {
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
