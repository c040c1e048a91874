// SPDX-License-Identifier: Apache-2.0

package outward

import (
	"context"
	"slices"
	"sync"
)

// Rank says who goes first where several wait.
type Rank int

const (
	// First is work of which nothing has been done yet, and looks at what is in order.
	First Rank = iota
	// Begun is work whose candidate the upstream has taken.
	Begun
	// Cut is work that consumers wait for: what they have is refused until it is done.
	Cut
	ranks
)

// Gate lets so many through at once: higher ranks first, and in turn within a rank. Some of the width is kept for what is
// past its first steps.
type Gate struct {
	width, kept int

	mu      sync.Mutex
	inside  int
	waiting [ranks][]chan struct{}
}

// NewGate returns a gate of a width, of which work of rank First takes all but kept. At least one is left for it.
func NewGate(width, kept int) *Gate {
	width = max(width, 1)
	return &Gate{width: width, kept: min(kept, width-1)}
}

// Enter waits for room, for as long as ctx lasts. Work that waits holds no place of its own meanwhile; see AtPlace. After
// nil, Leave is owed.
func (g *Gate) Enter(ctx context.Context, rank Rank) error {
	g.mu.Lock()
	if g.room(rank) && g.nobodyBefore(rank) {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting[rank] = append(g.waiting[rank], turn)
	g.mu.Unlock()
	_, back := away(ctx)
	defer back()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	if !g.forget(turn, rank) { // its turn came meanwhile
		return nil
	}
	return ctx.Err()
}

// forget takes one who waits no longer out, and reports whether it still waited.
func (g *Gate) forget(turn chan struct{}, rank Rank) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(g.waiting[rank], turn)
	if at < 0 {
		return false
	}
	g.waiting[rank] = slices.Delete(g.waiting[rank], at, at+1)
	return true
}

// Leave makes room for the next.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	for rank := ranks - 1; rank >= First; rank-- {
		for len(g.waiting[rank]) > 0 && g.room(rank) {
			g.inside++
			close(g.waiting[rank][0])
			g.waiting[rank] = g.waiting[rank][1:]
		}
	}
}

func (g *Gate) room(rank Rank) bool {
	if rank == First {
		return g.inside < g.width-g.kept
	}
	return g.inside < g.width
}

func (g *Gate) nobodyBefore(rank Rank) bool {
	for ; rank < ranks; rank++ {
		if len(g.waiting[rank]) > 0 {
			return false
		}
	}
	return true
}

// place is what a worker holds while it works.
type place struct {
	gate *Gate
	rank Rank
}

type placeKey struct{}

// AtPlace returns a context of work that holds a place of gate, which its caller entered and leaves: whatever the work
// waits for outside, it holds none meanwhile.
func AtPlace(ctx context.Context, gate *Gate, rank Rank) context.Context {
	return context.WithValue(ctx, placeKey{}, &place{gate, rank})
}

// away gives up the place that ctx tells of until back is called. outside is ctx without one.
func away(ctx context.Context) (outside context.Context, back func()) {
	held, _ := ctx.Value(placeKey{}).(*place)
	if held == nil {
		return ctx, func() {}
	}
	held.gate.Leave()
	return context.WithValue(ctx, placeKey{}, (*place)(nil)), func() {
		_ = held.gate.Enter(context.Background(), held.rank) // places are held only for what is bounded
	}
}
