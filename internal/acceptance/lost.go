// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
)

// losses are what came of losing replies.
type losses struct {
	work   *turning
	cuts   map[string]*atomic.Int64 // by server
	heldUp map[string]int           // runs, by kind
}

// losses loses the replies of servers to Custody while every kind rotates, in accounts that no kill has touched: what holds
// up their runs is what was lost. Clients go to the servers directly. The rotations that began go on.
func (s *Stage) losses(n size, random *rand.Rand) losses {
	lost := losses{cuts: map[string]*atomic.Int64{}, heldUp: map[string]int{}}
	var names []string
	for _, l := range s.kinds {
		names = append(names, l.losers(n)...)
	}
	for _, server := range s.wired() {
		lost.cuts[server] = new(atomic.Int64)
	}
	lost.work = s.turn(names, 1)
	s.lose(n, random, lost.cuts)
	lost.work.stop()
	for _, l := range s.kinds {
		lost.heldUp[l.Name] = s.drive.disturbed(l.losers(n))
	}
	return lost
}

// of tells what was lost of a kind, which must be something.
func (l losses) of(t *testing.T, kind *live, n size) string {
	t.Helper()
	cuts := l.cuts[kind.server]
	if cuts == nil {
		return "no wire" // a program of the host's has none
	}
	if l.heldUp[kind.Name] == 0 {
		t.Errorf("no run was held up: nothing was lost\n%s", kind.standings())
	}
	return fmt.Sprintf("the server's replies were cut off %d times, which held up %d runs", cuts.Load(), l.heldUp[kind.Name])
}

// wired are the servers that stand behind proxies, in an order that the seed can rely on.
func (s *Stage) wired() (servers []string) {
	for server, proxies := range s.proxies {
		if len(proxies) > 0 {
			servers = append(servers, server)
		}
	}
	slices.Sort(servers)
	return servers
}

// lose has every server lose its replies again and again until that has held up enough runs of each kind, or one of each
// and time is up. Then the servers heal, and what waits for a deadline goes on.
func (s *Stage) lose(n size, random *rand.Rand, cuts map[string]*atomic.Int64) {
	var all sync.WaitGroup
	began := time.Now()
	enough := func() bool {
		want, took := n.heldUp, time.Since(began)
		switch {
		case took > hang:
			return true
		case took > n.losing:
			want = 1
		}
		return !slices.ContainsFunc(s.kinds, func(l *live) bool {
			return cuts[l.server] != nil && s.drive.disturbed(l.losers(n)) < want
		})
	}
	for _, server := range s.wired() {
		own, proxies := rand.New(rand.NewPCG(random.Uint64(), 2)), s.proxies[server] //nolint:gosec // a sample, not a secret
		all.Go(func() {
			for !enough() {
				lose(own, proxies)
				cuts[server].Add(1)
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
