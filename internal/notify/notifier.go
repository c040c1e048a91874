// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
)

const (
	// DefaultPerHour is how many messages one route takes within an hour, and perHourInAll how many all routes take together: whoever
	// can make findings must not be able to fill mailboxes.
	DefaultPerHour = 4
	perHourInAll   = 60
	// retryFirst and retryCap bound the pause after a message was not taken; it doubles. lateCap bounds what the other side may ask for.
	retryFirst = time.Minute
	retryCap   = time.Hour
	lateCap    = 6 * time.Hour
	// sendLimit bounds one message: a mail server may greet late on purpose.
	sendLimit = 45 * time.Second
	// storeLimit bounds a read or write of a book.
	storeLimit = 30 * time.Second
	// atOnce is how many messages a channel carries at the same time.
	atOnce = 2
)

// Config wires a Notifier.
type Config struct {
	// Platform is "NAME/ENVIRONMENT".
	Platform string
	Rules    Rules
	// Channels by name; see Mail and Webhook.
	Channels  map[string]Channel
	Documents Documents
	Calls     *outward.Calls
	Now       func() time.Time
	NewID     func() string
	Log       *slog.Logger
	// PerHour is for each route; 0 means DefaultPerHour.
	PerHour int
}

// Notifier tells owners. Its methods may be called at any time.
type Notifier struct {
	Config

	mu    sync.Mutex
	books map[string]*book
	busy  map[string]bool
	// slots are the places for messages on each channel, and away what is known of those that took none.
	slots map[string]chan struct{}
	away  map[string]*away
	sent  []time.Time // in all, within the last hour
	// unreached are owners with findings whom no route leads to.
	unreached []string
	// waiting is how many findings wait on each channel.
	waiting map[string]map[string]int
	working sync.WaitGroup
}

// away is a channel that did not take a message.
type away struct {
	since, again time.Time
	fails        int
	why          string
	// owner is who was not told; see Route.named.
	owner string
}

// New returns a notifier that has told nobody anything yet, but for what Documents know.
func New(c Config) *Notifier {
	c.PerHour = cmp.Or(c.PerHour, DefaultPerHour)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{
		Config: c, books: map[string]*book{}, busy: map[string]bool{}, slots: map[string]chan struct{}{}, away: map[string]*away{},
		waiting: map[string]map[string]int{},
	}
	for name := range c.Channels {
		n.slots[name] = make(chan struct{}, atOnce)
	}
	return n
}

// share is what one route is to know.
type share struct {
	route       Route
	own, theirs []Finding
}

// shares are the routes with the findings of each.
func (n *Notifier) shares(seen Seen) (shares map[string]*share, unreached []string) {
	shares = map[string]*share{}
	of := func(r Route) *share {
		s := shares[r.id()]
		if s == nil {
			s = &share{route: r}
			shares[r.id()] = s
		}
		return s
	}
	for _, r := range n.Rules.All(seen.Owners) {
		of(r)
	}
	for _, f := range seen.Findings {
		routes := n.Rules.Of(f.Owner)
		if f.Reason.Is(reason.TargetAway) { // a target that is away cannot be told of it
			routes = slices.DeleteFunc(routes, func(r Route) bool { return r.Channel == f.Reason.Args["target"] })
		}
		byDefaultToo := true
		for _, r := range routes {
			of(r).own = append(of(r).own, f)
			byDefaultToo = byDefaultToo && r.Owner != Default
		}
		if len(routes) == 0 && f.Owner != (Owner{}) {
			unreached = append(unreached, cmp.Or(f.Owner.Team, f.Owner.Contact))
		}
		if byDefaultToo {
			for _, r := range n.Rules.defaults() {
				of(r).theirs = append(of(r).theirs, f)
			}
		}
	}
	slices.Sort(unreached)
	return shares, slices.Compact(unreached)
}

// Tick has every route told what is due at seen.At, each on its own, and waits for none. It is called again and again; a route that is
// still at it is left alone.
func (n *Notifier) Tick(ctx context.Context, seen Seen) {
	shares, unreached := n.shares(seen)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unreached = unreached
	for id, s := range shares {
		known, read := n.books[id]
		if n.busy[id] || read && known == nil && len(s.own)+len(s.theirs) == 0 {
			continue
		}
		n.busy[id] = true
		n.working.Go(func() {
			err := n.work(ctx, s, seen)
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.busy, id)
			if err != nil {
				delete(n.books, id) // it is read again
				if ctx.Err() == nil {
					n.Log.Error("telling an owner", "owner", s.route.Owner, "error", err)
				}
			}
		})
	}
}

// Wait returns when no route is at it any more.
func (n *Notifier) Wait() { n.working.Wait() }

// work takes one route as far as it will go now.
func (n *Notifier) work(ctx context.Context, s *share, seen Seen) error {
	id := s.route.id()
	n.mu.Lock()
	b := n.books[id]
	n.mu.Unlock()
	if b == nil {
		var err error
		if b, err = bounded(ctx, n, s.route, func(ctx context.Context) (*book, error) { return load(ctx, n.Documents, s.route) }); err != nil {
			return err
		}
	}
	changed := b.look(s.own, s.theirs, seen)
	n.keep(s.route, b)
	now := n.Now()
	if b.Pending != nil && b.Pending.Doubts >= doubts { // the process that sent it last did not see how that ended
		b.told(*b.Pending, now)
		changed = true
	}
	if m, sends := n.message(s.route, b, now); sends {
		if leave, enters := n.enter(s.route.Channel); enters {
			defer leave()
			return n.send(ctx, s.route, b, m)
		}
	}
	if changed {
		return n.save(ctx, s.route, b)
	}
	return nil
}

// message is the one that is to be sent now, which the limits let through.
func (n *Notifier) message(r Route, b *book, now time.Time) (m pending, sends bool) {
	if b.recent(now) >= n.PerHour || !n.may(r.Channel, now) {
		return m, false
	}
	if b.Pending != nil {
		return *b.Pending, true
	}
	keys, over := b.due(now)
	if len(keys)+len(over) == 0 {
		return m, false
	}
	return pending{ID: n.NewID(), At: now, Keys: keys, Over: over}, true
}

// send names the message in the book, sends it, and notes what came of it.
func (n *Notifier) send(ctx context.Context, r Route, b *book, m pending) error {
	m.Doubts++
	b.Pending = &m
	if err := n.save(ctx, r, b); err != nil {
		return err
	}
	said := b.write(n.Platform, r, m)
	failed := n.hand(ctx, r, said)
	now := n.Now()
	switch {
	case failed == nil:
		b.told(m, now)
		n.Log.Info("told an owner", "owner", r.Owner, "channel", r.Channel, "message", m.ID, "findings", len(m.Keys), "over", len(m.Over))
	case failed.Doubt && m.Doubts >= doubts:
		b.told(m, now)
		n.Log.Warn("telling an owner: it is not known whether the message was taken; it counts as taken", "owner", r.Owner, "channel", r.Channel, "message", m.ID, "error", failed.Detail)
	case failed.Doubt:
		n.Log.Warn("telling an owner: it is not known whether the message was taken; it is sent once more", "owner", r.Owner, "channel", r.Channel, "message", m.ID, "error", failed.Detail)
	case m.Doubts == 1:
		b.Pending = nil // nobody has it: the next one is made of what there is then
		n.Log.Warn("telling an owner", "owner", r.Owner, "channel", r.Channel, "error", failed.Detail)
	default:
		m.Doubts--
		b.Pending = &m
	}
	n.keep(r, b)
	return n.save(context.WithoutCancel(ctx), r, b)
}

// hand gives one message to a channel, and notes whether that takes messages.
func (n *Notifier) hand(ctx context.Context, r Route, m Message) *Failure {
	channel := n.Channels[r.Channel]
	if channel == nil {
		return &Failure{Detail: "the host file has no " + r.Channel}
	}
	_, err := outward.Do(ctx, n.Calls, outward.Call{Part: "notification " + r.id(), Limit: sendLimit, Own: true}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, channel.Send(ctx, r.To, m)
	})
	var failed *Failure
	if err != nil {
		failed = failure(err)
		if errors.Is(err, outward.ErrNotBegun) {
			failed = &Failure{Detail: "an earlier message has not ended yet"}
		}
	}
	now := n.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if failed == nil {
		delete(n.away, r.Channel)
		n.sent = append(n.sent, now)
		return nil
	}
	a := n.away[r.Channel]
	if a == nil {
		a = &away{since: now}
		n.away[r.Channel] = a
	}
	a.fails++
	a.owner = r.named()
	pause := min(retryCap, retryFirst<<min(a.fails-1, 10))
	a.again, a.why = now.Add(max(pause, min(failed.After, lateCap))), failed.Detail
	return failed
}

// may reports whether a channel takes messages now, and all of them together one more.
func (n *Notifier) may(channel string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = slices.DeleteFunc(n.sent, func(at time.Time) bool { return now.Sub(at) >= time.Hour || at.After(now) })
	if a := n.away[channel]; a != nil && now.Before(a.again) && !now.Add(lateCap).Before(a.again) { // else a clock ran ahead
		return false
	}
	return len(n.sent) < perHourInAll
}

// enter takes a place on a channel, if one is free.
func (n *Notifier) enter(channel string) (leave func(), enters bool) {
	slots := n.slots[channel]
	if slots == nil {
		return func() {}, true
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, true
	default:
		return nil, false
	}
}

func (n *Notifier) keep(r Route, b *book) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.books[r.id()] = b
	if len(b.Notes) == 0 && b.Pending == nil {
		n.books[r.id()] = nil // its document is read again when there is news
	}
	if n.waiting[r.Channel] == nil {
		n.waiting[r.Channel] = map[string]int{}
	}
	n.waiting[r.Channel][r.id()] = b.waiting()
}

func (n *Notifier) save(ctx context.Context, r Route, b *book) error {
	_, err := bounded(ctx, n, r, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.save(ctx, n.Documents, r) })
	return err
}

func bounded[T any](ctx context.Context, n *Notifier, r Route, fn func(context.Context) (T, error)) (T, error) {
	return outward.Do(ctx, n.Calls, outward.Call{Part: "book of " + r.id(), Limit: storeLimit, Own: true}, fn)
}

// Reasons are what a person should know of the notifier itself: targets that take no messages, and owners whom nobody reaches.
func (n *Notifier) Reasons() (found []reason.Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, channel := range slices.Sorted(maps.Keys(n.away)) {
		a, count := n.away[channel], 0
		for _, waiting := range n.waiting[channel] {
			count += waiting
		}
		args := reason.Args{"target": channel, "since": stamp(a.since), "count": strconv.Itoa(count), "owner": next.Word(a.owner)}
		found = append(found, reason.New(reason.TargetAway, args).Because(a.why))
	}
	if len(n.unreached) > 0 {
		names := n.unreached
		more := ""
		if len(names) > mostNamed {
			names, more = names[:mostNamed], fmt.Sprintf(" and %d more", len(names)-mostNamed)
		}
		found = append(found, reason.New(reason.OwnerUnreached, reason.Args{"owners": strings.Join(names, ", ") + more}))
	}
	return found
}
