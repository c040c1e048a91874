// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/trigger"
)

// queue orders the secrets that nobody looks at now by when they are to be looked at. Putting one in, moving it and taking it out
// cost O(log n).
//
// A place in it is the time that the steady clock shows then. Times of day cannot be compared for this: some carry a reading of the
// steady clock and some, which were stored, do not, and once the wall clock jumps such times have no order.
type queue struct {
	items []queued
	index map[authority.Path]int
}

type queued struct {
	at   time.Duration
	path authority.Path
}

// atOnce comes before every other place.
const atOnce = time.Duration(math.MinInt64)

var _ heap.Interface = (*queue)(nil)

// Len implements heap.Interface.
func (q *queue) Len() int { return len(q.items) }

// Less implements heap.Interface.
func (q *queue) Less(i, j int) bool { return q.items[i].at < q.items[j].at }

// Swap implements heap.Interface.
func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.index[q.items[i].path], q.index[q.items[j].path] = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(item any) {
	q.index[item.(queued).path] = len(q.items)
	q.items = append(q.items, item.(queued))
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := q.items[len(q.items)-1]
	q.items[len(q.items)-1] = queued{}
	q.items = q.items[:len(q.items)-1]
	delete(q.index, last.path)
	return last
}

// put gives path its place.
func (q *queue) put(path authority.Path, at time.Duration) {
	if q.index == nil {
		q.index = map[authority.Path]int{}
	}
	if i, in := q.index[path]; in {
		q.items[i].at = at
		heap.Fix(q, i)
		return
	}
	heap.Push(q, queued{at, path})
}

// remove takes path out, and reports whether it was in.
func (q *queue) remove(path authority.Path) bool {
	i, in := q.index[path]
	if in {
		heap.Remove(q, i)
	}
	return in
}

// until takes out all whose place is not after at.
func (q *queue) until(at time.Duration) []authority.Path {
	var paths []authority.Path
	for len(q.items) > 0 && q.items[0].at <= at {
		paths = append(paths, heap.Pop(q).(queued).path)
	}
	return paths
}

// schedule gives the secret at path its place in the queue by what its state says. It is called whenever that changed or the secret
// was declared or removed; while somebody looks at the secret it does nothing, and finish calls it. The caller holds the lock.
func (o *Orchestrator) schedule(path authority.Path) {
	switch state := o.states[path]; {
	case state == nil:
		o.queue.remove(path)
	case o.acting(path):
	case state.woken || state.Again.IsZero():
		o.queue.put(path, atOnce)
	default:
		o.queue.put(path, o.steady(state.Again))
	}
}

// steady is what the steady clock shows at a time of day, since the orchestrator was first asked. The caller holds the lock.
func (o *Orchestrator) steady(at time.Time) time.Duration {
	const most = math.MaxInt64 / 4
	now := o.Now()
	if o.began.IsZero() {
		o.began = now
	}
	return min(max(now.Sub(o.began), -most), most) + min(max(at.Sub(now), -most), most)
}

// next is when the first secret's time comes, of those that nobody looks at now.
func (o *Orchestrator) next() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.Now()
	if len(o.queue.items) == 0 {
		return now.Add(o.Reconcile)
	}
	first := o.queue.items[0].at
	if first == atOnce {
		return now
	}
	return now.Add(min(first-o.steady(now), o.Reconcile))
}

// ready returns the secrets whose time has come, which were woken, or for which there is a request that the last look
// did not know of, and takes them in hand; those that are in hand already wait for the look to end. Requests are told
// apart by id: one that is stored late carries a time from before the look.
func (o *Orchestrator) ready(requests map[authority.Path][]trigger.Request) []Secret {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pauses > 0 {
		return nil
	}
	paths := o.queue.until(o.steady(o.Now()))
	for path, asked := range requests {
		unknown := func(request trigger.Request) bool { return !o.states[path].asked[request.ID] }
		if _, waits := o.queue.index[path]; waits && slices.ContainsFunc(asked, unknown) {
			o.queue.remove(path)
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	work := make([]Secret, 0, len(paths))
	for _, path := range paths {
		work = append(work, o.secrets[path])
		o.busy[path] = o.secrets[path]
	}
	if o.Workers > 1 {
		slices.SortStableFunc(work, func(a, b Secret) int { return cmp.Compare(o.states[b.Path].rank, o.states[a.Path].rank) })
	}
	return work
}

// At returns the secret that is declared at path.
func (o *Orchestrator) At(path authority.Path) (Secret, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, declared := o.secrets[path]
	return s, declared
}
