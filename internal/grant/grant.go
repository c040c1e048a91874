// SPDX-License-Identifier: Apache-2.0

// Package grant says what the operator of a platform allows an estate (configuration) to do with values: which keys
// they are encrypted to, which servers they are sent to, and who reads secrets of other owners. The estate asks for it
// with its documents; the operator grants it.
//
// Guaranteed: a grant names both ends exactly, so that a change of either needs a new grant. The estate's folder only
// says what is needed, never what is granted. Every change of the grants is one compare-and-set, and appears once in
// the record (audit log), with who, when and why, even if the process crashes in between.
//
// Not guaranteed: that a document really belongs to the team that it names. Reviews in the repository have to control
// who can change which document.
//
// Cost: one pass over the documents finds what an estate needs. A change takes two writes, and one event for each
// grant.
package grant

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/reason"
)

// Kind is what a grant is about.
type Kind string

const (
	// Recipient: values are encrypted To an age public key Of the root or of an environment.
	Recipient Kind = "recipient"
	// Endpoint: credentials Of an upstream are sent To an address.
	Endpoint Kind = "endpoint"
	// Reader: the value Of a secret is read by a secret, an upstream or a consumer that its owner does not answer for.
	Reader Kind = "reader"
)

// Root is what a recipient's grant is of when it is not an environment.
const Root = "root"

// Grant is one thing that is allowed.
type Grant struct {
	Kind Kind   `json:"kind"`
	Of   string `json:"of"`
	To   string `json:"to"`
}

// ToUpstream is the grant that an upstream takes the value of a secret: as its admin credential, or instead of the upstream
// that the secret's history names.
func ToUpstream(secretName, upstream string) Grant {
	return Grant{Reader, secretName, "upstream/" + upstream}
}

// String says it to people.
func (g Grant) String() string {
	switch g.Kind {
	case Recipient:
		return fmt.Sprintf("what is sealed for %s can be read with %s", g.Of, g.To)
	case Endpoint:
		return fmt.Sprintf("credentials of upstream %s are sent to %s", g.Of, g.To)
	case Reader:
		return fmt.Sprintf("the value of %s is read by %s", g.Of, g.To)
	}
	return fmt.Sprintf("%s of %s to %s", g.Kind, g.Of, g.To)
}

// Check refuses what could not be asked for.
func (g Grant) Check() error {
	switch g.Kind {
	case Recipient, Endpoint, Reader:
	default:
		return fmt.Errorf("there is no grant of kind %q: want recipient, endpoint or reader", g.Kind)
	}
	for _, text := range []string{g.Of, g.To} {
		if strings.TrimSpace(text) != text || text == "" || len(text) > 1024 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("a grant of kind %s names both its ends, each in one line", g.Kind)
		}
	}
	return nil
}

// Compare orders grants by kind, then by their ends.
func Compare(a, b Grant) int {
	return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Of, b.Of), strings.Compare(a.To, b.To))
}

// Entry is a grant on record.
type Entry struct {
	Grant
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// File: the host's grants file says so, and taking it out of there revokes it.
	File bool `json:"file,omitempty"`
}

// Need is what an estate asks for.
type Need struct {
	Grant
	// Holds are the secrets that wait for it, Consumer the one consumer of the only one, when nothing else does.
	Holds    []string `json:"holds,omitempty"`
	Consumer string   `json:"consumer,omitempty"`
	// NeverRan: the platform has not run on its host yet, so that no command can grant anything.
	NeverRan bool `json:"neverRan,omitempty"`
}

// How says how something is granted on a host, where a platform that never ran takes no command yet.
func How(neverRan bool) string {
	asked := next.Grant() + " shows it and asks"
	if neverRan {
		return "the platform has never run here: write it into the host's grants file now (`custody grant --help` shows one); or start `custody serve`, which holds it, and then " + asked
	}
	return asked
}

// Waiting is why what it holds waits.
func (n Need) Waiting() reason.Reason {
	if n.NeverRan { // no command can grant anything
		return reason.New(reason.GrantMissingBeforeFirstRun, reason.Args{"what": n.Grant.String(), "kind": string(n.Kind), "of": n.Of})
	}
	return reason.New(reason.GrantMissing, reason.Args{"what": n.Grant.String(), "kind": string(n.Kind), "of": n.Of})
}

// Finding says it where nothing else does.
func (n Need) Finding() reason.Reason {
	held := "nothing is held"
	switch {
	case n.Consumer != "":
		held = fmt.Sprintf("consumer %s of %s is held", n.Consumer, n.Holds[0])
	case len(n.Holds) > 0:
		held = "held until then: " + strings.Join(n.Holds, ", ")
	case n.Kind == Recipient:
		held = "`custody seal` refuses until then"
	}
	if n.NeverRan {
		return reason.New(reason.NotGrantedBeforeFirstRun, reason.Args{"what": n.Grant.String(), "kind": string(n.Kind), "of": n.Of, "held": held})
	}
	return reason.New(reason.NotGranted, reason.Args{"what": n.Grant.String(), "kind": string(n.Kind), "of": n.Of, "held": held})
}

// Set is what is granted.
type Set map[Grant]bool

// SetOf makes one.
func SetOf(grants ...Grant) Set {
	set := Set{}
	for _, g := range grants {
		set[g] = true
	}
	return set
}

// To lists to what is granted of one thing, in order.
func (s Set) To(kind Kind, of string) []string {
	var found []string
	for g := range s {
		if g.Kind == kind && g.Of == of {
			found = append(found, g.To)
		}
	}
	slices.Sort(found)
	return found
}

// Reads reports whether values may be encrypted to key, for the root or whichever environment.
func (s Set) Reads(key string) bool {
	for g := range s {
		if g.Kind == Recipient && g.To == key {
			return true
		}
	}
	return false
}

// Missing are the needs that are not granted.
func (s Set) Missing(needs []Need) []Need {
	return slices.DeleteFunc(slices.Clone(needs), func(n Need) bool { return s[n.Grant] })
}

// List returns the grants in order.
func (s Set) List() []Grant {
	list := make([]Grant, 0, len(s))
	for g := range s {
		list = append(list, g)
	}
	slices.SortFunc(list, Compare)
	return list
}
