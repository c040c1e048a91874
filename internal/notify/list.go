// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Listed is a route, with what it is or would be told.
type Listed struct {
	Route
	Findings []ListedFinding `json:"findings,omitempty"`
	// Away says why the channel takes no messages, "" when it does or when none was tried.
	Away string `json:"away,omitempty"`
}

// ListedFinding is one finding of a route.
type ListedFinding struct {
	Secret string `json:"secret,omitempty"`
	Code   string `json:"code"`
	Text   string `json:"text"`
	// Since is when it was first seen; zero where no server has seen it yet. Told counts the messages that had it, Last is when the
	// last of them was sent, and Next when it is told next unless it ends before.
	Since time.Time `json:"since,omitzero"`
	Told  int       `json:"told"`
	Last  time.Time `json:"last,omitzero"`
	Next  time.Time `json:"next,omitzero"`
}

// Listing is who is told of what.
type Listing struct {
	Routes []Listed `json:"routes"`
	// Unreached are the owners of secrets whom no route leads to.
	Unreached []Owner `json:"unreached,omitempty"`
}

// List says who is told of what, and changes nothing. It reads one document for each route.
func (n *Notifier) List(ctx context.Context, seen Seen) (Listing, error) {
	shares, _ := n.shares(seen)
	listing := Listing{Routes: []Listed{}}
	for _, r := range n.Rules.All(seen.Owners) {
		s := shares[r.id()]
		b, err := bounded(ctx, n, r, func(ctx context.Context) (*book, error) { return load(ctx, n.Documents, r) })
		if err != nil {
			return listing, err
		}
		b.look(s.own, nil, seen) // those of others are listed where these are told
		listed := Listed{Route: r}
		var open []string
		for key, note := range b.Notes {
			if note.Gone.IsZero() && !note.now.Reason.None() {
				open = append(open, key)
			}
		}
		for _, key := range b.sorted(open) {
			note := b.Notes[key]
			listed.Findings = append(listed.Findings, ListedFinding{
				Secret: note.Secret, Code: string(note.Code), Text: note.now.Reason.Text(), Since: note.Since, Told: note.Told, Last: note.At, Next: note.next(),
			})
		}
		n.mu.Lock()
		if a := n.away[r.Channel]; a != nil {
			listed.Away = a.why
		}
		n.mu.Unlock()
		listing.Routes = append(listing.Routes, listed)
	}
	for _, owner := range seen.Owners {
		if len(n.Rules.Of(owner)) == 0 {
			listing.Unreached = append(listing.Unreached, owner)
		}
	}
	return listing, nil
}

// Tried is what came of a test message on one route.
type Tried struct {
	Route
	Message string `json:"message"`
	// Fault says why it was not taken, "" when it was.
	Fault string `json:"fault,omitempty"`
	// Doubt: it may have been taken all the same.
	Doubt bool `json:"doubt,omitempty"`
}

// Test sends a message to where the owner of that team or contact is reached, or the default with Default or "", whatever the limits say,
// and says what came of it. None is where nobody reaches it. Each call sends again.
func (n *Notifier) Test(ctx context.Context, seen Seen, named, by string) []Tried {
	var routes []Route
	if _, team := n.Rules.Teams[named]; !team && (named == "" || named == Default) {
		routes = n.Rules.defaults()
	} else {
		routes = n.Rules.Of(Owner{Team: named, Contact: named})
		for _, owner := range seen.Owners { // a team may have several contacts
			if owner.Team == named {
				routes = append(routes, n.Rules.Of(owner)...)
			}
		}
	}
	slices.SortFunc(routes, func(a, b Route) int { return strings.Compare(a.id(), b.id()) })
	routes = slices.CompactFunc(routes, func(a, b Route) bool { return a.id() == b.id() })
	tried := []Tried{}
	for _, r := range routes {
		one := Tried{Route: r, Message: n.NewID()}
		if failed := n.hand(ctx, r, trial(n.Platform, r, one.Message, n.Now(), by)); failed != nil {
			one.Fault, one.Doubt = failed.Detail, failed.Doubt
		}
		tried = append(tried, one)
	}
	return tried
}
