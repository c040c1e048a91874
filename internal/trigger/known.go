// SPDX-License-Identifier: Apache-2.0

package trigger

import "slices"

// known are the requests that this process knows to be open. Guarded by the queue's lock.
type known struct {
	open []Request
	// served are the ids of requests that were closed, which none opens again.
	served  map[string]bool
	changes int // counts those that this process submitted and closed
}

// Known are the requests that were open when this process listed them last, with those that it submitted and without those
// that it closed since. It asks nothing.
func (q *Queue) Known() []Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.open)
}

func (q *Queue) changed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changes
}

// listed takes up a listing, unless a request was submitted or closed since it began, which it may lack.
func (q *Queue) listed(open []Request, since int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changes == since {
		q.open = slices.Clone(open)
	}
}

// closed reports whether the request is known to be closed.
func (q *Queue) closed(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.served[id]
}

// shut notes that the request is closed, and forget that it is not kept any more.
func (q *Queue) shut(id string) {
	q.note(func(open []Request) []Request { return without(open, id) })
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.served == nil {
		q.served = map[string]bool{}
	}
	q.served[id] = true
}

func (q *Queue) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.served, id)
}

func (q *Queue) note(change func(open []Request) []Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changes++
	q.open = change(q.open)
}

func without(open []Request, id string) []Request {
	return slices.DeleteFunc(open, func(r Request) bool { return r.ID == id })
}
