// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/rotation"
)

// pausing is what Pause waits for. Guarded by the orchestrator's lock.
type pausing struct {
	pauses int
	asked  map[authority.Path]int // what people asked for and that is under way, by secret
	ended  chan struct{}          // closed when something ended that Pause may wait for
}

// Pause lets no look begin, and nothing that a person asks for, until resume is called. It returns once what was under way
// has ended. When ctx ends first nothing is paused, and the error names what was still under way.
func (o *Orchestrator) Pause(ctx context.Context) (resume func(), err error) {
	o.mu.Lock()
	o.pauses++
	o.mu.Unlock()
	resume = func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.pauses--
	}
	for {
		names, ended := o.underWay()
		if len(names) == 0 {
			return resume, nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			resume()
			return nil, fmt.Errorf("what was begun with %s has not ended: %w", strings.Join(names, ", "), rotation.ErrNotNow)
		}
	}
}

// underWay names the secrets that are looked at, or changed for a person, now. ended is closed when one of them has ended.
func (o *Orchestrator) underWay() (names []string, ended <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, paths := range []iter.Seq[authority.Path]{maps.Keys(o.busy), maps.Keys(o.asked)} {
		for path := range paths {
			names = append(names, cmp.Or(o.secrets[path].Secret, string(path)))
		}
	}
	slices.Sort(names)
	if o.ended == nil {
		o.ended = make(chan struct{})
	}
	return slices.Compact(names), o.ended
}

// endedOne tells Pause. The caller holds the lock.
func (o *Orchestrator) endedOne() {
	if o.ended != nil {
		close(o.ended)
		o.ended = nil
	}
}

// enter begins what a person asks for of the secret at path, unless all is paused.
func (o *Orchestrator) enter(path authority.Path) (Secret, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, declared := o.secrets[path]
	switch {
	case !declared:
		return s, fmt.Errorf("no secret is declared at %s: %w", path, authority.ErrNotFound)
	case o.pauses > 0:
		return s, fmt.Errorf("changing %s: an older state is being accepted; try again when that has ended: %w", s.Secret, rotation.ErrNotNow)
	}
	if o.asked == nil {
		o.asked = map[authority.Path]int{}
	}
	o.asked[path]++
	return s, nil
}

func (o *Orchestrator) leave(path authority.Path) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked[path]--; o.asked[path] == 0 {
		delete(o.asked, path)
	}
	o.endedOne()
}

// Unended names the secrets at which one look has gone on for d at least, and says when the first of those looks began. All that a
// look waits for is bounded, so such a look waits for very many parts that do not answer, or for ever.
func (o *Orchestrator) Unended(d time.Duration) (names []string, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.Now()
	for path, began := range o.since {
		if now.Sub(began) < d {
			continue
		}
		names = append(names, o.busy[path].Subject.Secret)
		if since.IsZero() || began.Before(since) {
			since = began
		}
	}
	slices.Sort(names)
	return names, since
}
