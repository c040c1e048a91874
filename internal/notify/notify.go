// SPDX-License-Identifier: Apache-2.0

// Package notify sends findings (alerts) to the owners of secrets: each finding once to its owner's target, reminders while it is
// open, and one message when it is over. It decides on recipients, times and texts; channels (internal/notify/webhook,
// internal/notify/mail) deliver the messages.
//
// Guaranteed: the authority's documents say what was sent, so no restart sends it again. If the outcome of a message is not known,
// after a crash or a lost answer, it is sent once more under the same id, and never a third time. A route (one owner's target) never
// waits for another. A message has what `custody status` shows, and so contains no value.
//
// Not guaranteed: that somebody reads it; that a channel delivers a message that it accepted. After an older state is restored,
// later messages are sent again.
//
// Cost: nothing is written while nothing changes. A message is three writes of about 200 bytes for each open finding of its
// route. Memory: the same, for every route with an open finding.
package notify

import (
	"context"
	"errors"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/reason"
)

// Finding is something that a person should look at, and whose it is.
type Finding struct {
	// Secret is the one that it is about, "" where it is about the platform.
	Secret string
	Owner  Owner
	Reason reason.Reason
}

// Owner is who is responsible, as a document says; the zero Owner is the platform's operator.
type Owner struct {
	Team    string `json:"team"`
	Contact string `json:"contact"`
}

// Seen are all findings at one moment.
type Seen struct {
	At       time.Time
	Findings []Finding
	// Owners are those of all secrets, whether they have a finding or not.
	Owners []Owner
	// Unknown are the secrets that this process has not looked at yet: that they have no finding says nothing. Blind says the
	// same of all.
	Unknown map[string]bool
	Blind   bool
}

// Message is one for one owner.
type Message struct {
	// ID is unique, and the same when the message is sent again. It has letters, digits and dashes alone.
	ID string
	At time.Time
	// Subject is one line; Text is plain, in lines.
	Subject, Text string
}

// Channel carries messages to places that the operator named.
type Channel interface {
	// Send hands in one message, for these addresses where the channel has addresses. nil: the other side took it. An error is a
	// *Failure, which holds no credential. It is bounded by its context.
	Send(ctx context.Context, to []string, m Message) error
}

// Failure is why a message was not taken.
type Failure struct {
	// Detail says what happened, in a few words, without a credential.
	Detail string
	// Doubt: it may have been taken all the same.
	Doubt bool
	// After is for how long the other side wants to be left alone; 0 where it does not say.
	After time.Duration
}

func (f *Failure) Error() string { return f.Detail }

// failure is what err says of a message, of which nothing is known unless a channel tells.
func failure(err error) *Failure {
	if told, is := errors.AsType[*Failure](err); is {
		return told
	}
	return &Failure{Detail: "nothing came back in time", Doubt: true}
}

// Documents keep the books; see authority.Store.
type Documents interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
}
