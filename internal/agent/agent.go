// SPDX-License-Identifier: Apache-2.0

// Package agent has the words that the server and the agents of other machines share: an agent delivers files on its own machine,
// reloads what reads them there, and proves what that runs on, as it is ordered.
//
//	hub       the server's side: which agents are connected, and a consumer for each file on their machines
//	worker    the machine's side: carries orders out with the machine's own adapters
//	identity  who an agent is: a certificate authority, one-time tokens, certificates that expire and can be revoked
//	link      carries orders and answers between the two, over mutual TLS
//
// Guaranteed: an agent is sent values of those consumers alone that the estate (configuration) declares on its machine and the
// operator granted; it can ask for nothing. The machine's own file decides which folders an agent writes to and which programs it
// runs. Without an answer of the agent nothing is proved, so a machine that is away keeps the old credential from being revoked.
//
// Not guaranteed: that a machine which was given a value forgets it. Revoking an agent ends what it is sent, not what it knows.
//
// Cost: one connection for each machine; for each delivery or proof one order and one answer, of the value's size.
package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
)

// Verb is what an order asks for: the method of materialize.Consumer or of its optional interfaces with the same name.
type Verb string

// The verbs.
const (
	Deliver  Verb = "deliver"
	Prove    Verb = "prove"
	Holds    Verb = "holds"
	Given    Verb = "given"
	Withdraw Verb = "withdraw"
	// Leftovers asks for the files in the machine's folders that no consumer is for: Order.Keep names those that one is for.
	Leftovers Verb = "leftovers"
	// Clear removes one of them.
	Clear Verb = "clear"
)

// MaxMessage bounds an order and an answer, in bytes: a value of the largest size, and what JSON adds to it; the answer to Leftovers
// holds ten thousand files.
const MaxMessage = 4 << 20

// Order asks an agent for one thing. It is carried out once; whoever sends it again sends another.
type Order struct {
	// ID tells it from the others of a session.
	ID   uint64
	Verb Verb
	// Consumer is what the documents say of the consumer.
	Consumer v1alpha1.ConsumerSpec
	// Version is what the verb is about; its value is empty where the verb needs none, or where it is lost.
	Version authority.Versioned
	// Within bounds how long the agent tries.
	Within time.Duration
	// Keep are the files, as FOLDER/PATH, that Leftovers leaves out, and File the absolute name of the one that Clear removes.
	Keep []string
	File string
}

// Answer answers one order.
type Answer struct {
	ID uint64 `json:"id"`
	// Error says why it failed, "" when it did not. It holds no value. Stale: it was materialize.ErrStale.
	Error string `json:"error,omitempty"`
	Stale bool   `json:"stale,omitempty"`
	// Proof answers Prove and Holds. Its time is of the agent's clock, which was at Now when it answered.
	Proof materialize.Proof `json:"proof,omitzero"`
	Now   time.Time         `json:"now,omitzero"`
	// Given answers Given, where Known.
	Given authority.VersionID `json:"given,omitzero"`
	Known bool                `json:"known,omitempty"`
	// Left answers Leftovers.
	Left []Left `json:"left,omitempty"`
}

// Left is a file that holds a version that was delivered, and that no consumer is for.
type Left struct {
	File    string              `json:"file"`
	Secret  authority.Path      `json:"secret"`
	Version authority.VersionID `json:"version"`
}

// wire is an order as it travels. The value is in the clear in it: it is for the inside of a connection alone.
type wire struct {
	ID       uint64                `json:"id"`
	Verb     Verb                  `json:"verb"`
	Consumer v1alpha1.ConsumerSpec `json:"consumer"`
	Path     authority.Path        `json:"path,omitempty"`
	Version  authority.VersionID   `json:"version,omitzero"`
	Created  time.Time             `json:"created,omitzero"`
	Value    json.RawMessage       `json:"value,omitempty"`
	Within   time.Duration         `json:"within,omitempty"`
	Keep     []string              `json:"keep,omitempty"`
	File     string                `json:"file,omitempty"`
}

// ExposeLine is the order as one line of JSON, with its value in the clear.
func (o Order) ExposeLine() ([]byte, error) {
	w := wire{
		ID: o.ID, Verb: o.Verb, Consumer: o.Consumer, Path: o.Version.Path, Version: o.Version.ID, Created: o.Version.Created,
		Within: o.Within, Keep: o.Keep, File: o.File,
	}
	if !o.Version.Value.Empty() {
		w.Value = o.Version.Value.Encode()
	}
	line, err := json.Marshal(w)
	return append(line, '\n'), err
}

// ReadOrder reads what ExposeLine wrote. Its error holds nothing of the line.
func ReadOrder(line []byte) (Order, error) {
	var w wire
	if err := json.Unmarshal(line, &w); err != nil {
		return Order{}, fmt.Errorf("reading an order of %d bytes: this version does not write such a line", len(line))
	}
	o := Order{
		ID: w.ID, Verb: w.Verb, Consumer: w.Consumer, Within: w.Within, Keep: w.Keep, File: w.File,
		Version: authority.Versioned{Path: w.Path, ID: w.Version, Created: w.Created},
	}
	if len(w.Value) == 0 {
		return o, nil
	}
	value, err := secret.Decode(w.Value)
	if err != nil {
		return Order{}, fmt.Errorf("reading an order: its value is not a value")
	}
	o.Version.Value = value
	return o, nil
}

// CheckName refuses what cannot be the name of a machine.
func CheckName(machine string) error {
	if !v1alpha1.WellNamed(machine) {
		return fmt.Errorf("the name of a machine is lower-case letters, digits and dashes, at most 63, such as web-1")
	}
	return nil
}
