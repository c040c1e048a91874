// SPDX-License-Identifier: Apache-2.0

// Package audit keeps the record (audit log), in which later changes are detected: every transition is a leaf of a
// Merkle log whose checkpoints are signed. The log consists of segments. The last one grows; each of the others has a
// seal, which holds its part of the tree, and an index by run and by secret. Both are computed from the segment, and
// again if they are missing.
//
// Guaranteed: before Append returns, the event is durable and covered by a signed checkpoint; each (Run, Step) occurs
// once; events keep the order in which they were appended, whatever their clocks say; Verify detects a change, removal
// or insertion of any byte before the last trusted checkpoint. Open detects it in the last segment, and in other
// segments if it changes their length. Reading a whole sealed segment compares it with its seal, and the seals with the
// checkpoint. After a crash there is at most one event that nobody was told of, or one group of events that were
// appended at the same time and whose checkpoint was already signed; Open accepts it.
//
// Not guaranteed: somebody with the signing key can sign another history, and somebody who can write to the folder can
// cut off its end together with its checkpoint. Both show only against a checkpoint kept elsewhere (Config.Anchor,
// Config.Sinks, VerifyConfig.Checkpoints). Somebody who can write to the folder can also make an index leave out an
// event, which is then not found by its run or secret; Verify detects that. Where one file ends and the next begins is
// not protected, because it has no meaning.
//
// Cost: Append is one write and three fsyncs (the line, the checkpoint, its folder), and four for a group of calls at
// the same time. Open reads the seals and the last segment, some MiB for millions of events, and keeps about a megabyte
// for each million in memory; the first Open of a log without seals reads all of it. A question about one run or secret
// costs a few small reads for each segment that contains it. Verify reads and decodes everything, and keeps some 40
// bytes for each event.
package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"custody.dev/custody/internal/authority"
)

// Schema is the version of Event that this package writes. Newer ones are refused.
const Schema = 1

const (
	maxName = 1 << 10 // names of things, in bytes
	maxText = 4 << 10 // Reason and Detail, in bytes; longer ones are cut
)

// ErrInvalid: the event lacks what every event must have. Repeating it will not help.
var ErrInvalid = errors.New("invalid audit event")

// Workflow is what an event belongs to: that of a run (see journal.Workflow), or one of these.
type Workflow string

// The workflows of events that belong to no run.
const (
	// Request: somebody asked for a run.
	Request Workflow = "request"
	// Operation: an operator, or the platform itself, did something beside runs.
	Operation Workflow = "operation"
)

// Result is how what an event tells of ended.
type Result string

// The results.
const (
	OK     Result = "ok"
	Failed Result = "failed"
)

// Event is one transition. It never holds a value.
type Event struct {
	// Schema is set by Append when it is zero.
	Schema int `json:"schema"`
	// Run is the run, or the id of an event that stands alone (a request, an operator's act).
	Run authority.RunID `json:"run"`
	// Step is what was reached. (Run, Step) is unique in the log.
	Step     string               `json:"step"`
	Workflow Workflow             `json:"workflow"`
	Secret   string               `json:"secret,omitempty"`
	Path     authority.Path       `json:"path,omitempty"`
	Version  *authority.VersionID `json:"version,omitempty"`
	// Consumer is the one that the event is about, where it is about one.
	Consumer string `json:"consumer,omitempty"`
	// By names who or what asked: time, event, the operating system's user.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"`
	// At is set by Append, from the log's clock, when it is zero.
	At time.Time `json:"at"`
}

// Recorder is the port of those who put transitions on record. Append is durable before it returns, and idempotent by run and step.
type Recorder interface {
	Append(ctx context.Context, event Event) error
}

// Filter selects events. A zero field selects all.
type Filter struct {
	Run      authority.RunID
	Workflow Workflow
	Secret   string
	Path     authority.Path
	Result   Result
	// Since and Until bound At: from Since, before Until.
	Since, Until time.Time
	// Skip passes over so many of the log's first events. Match knows nothing of it.
	Skip uint64
}

// Match reports whether f selects e.
func (f Filter) Match(e Event) bool {
	return (f.Run == "" || f.Run == e.Run) &&
		(f.Workflow == "" || f.Workflow == e.Workflow) &&
		(f.Secret == "" || f.Secret == e.Secret) &&
		(f.Path == "" || f.Path == e.Path) &&
		(f.Result == "" || f.Result == e.Result) &&
		(f.Since.IsZero() || !e.At.Before(f.Since)) &&
		(f.Until.IsZero() || e.At.Before(f.Until))
}

// settle gives e the one form in which it is written: times in UTC, text in UTF-8, texts no longer than their bound.
func (e Event) settle() (Event, error) {
	if e.Schema == 0 {
		e.Schema = Schema
	}
	if e.Schema < 0 || e.Schema > Schema {
		return Event{}, fmt.Errorf("%w: schema %d, this program knows up to %d", ErrInvalid, e.Schema, Schema)
	}
	if e.Version != nil {
		id := *e.Version
		e.Version = &id
	}
	for _, name := range e.names() {
		if *name.text = strings.ToValidUTF8(*name.text, "\uFFFD"); len(*name.text) > maxName {
			return Event{}, fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalid, name.field, maxName)
		}
		if name.required && *name.text == "" {
			return Event{}, fmt.Errorf("%w: %s is missing", ErrInvalid, name.field)
		}
	}
	if e.At.IsZero() {
		return Event{}, fmt.Errorf("%w: at is missing", ErrInvalid)
	}
	e.At = e.At.Round(0).UTC()
	e.Reason, e.Detail = shorten(e.Reason), shorten(e.Detail)
	return e, nil
}

type name struct {
	field    string
	text     *string
	required bool
}

func (e *Event) names() []name {
	all := []name{
		{"run", (*string)(&e.Run), true}, {"step", &e.Step, true}, {"workflow", (*string)(&e.Workflow), true},
		{"result", (*string)(&e.Result), true}, {"secret", &e.Secret, false}, {"path", (*string)(&e.Path), false},
		{"by", &e.By, false}, {"consumer", &e.Consumer, false},
	}
	if e.Version != nil {
		all = append(all, name{"version.run", (*string)(&e.Version.Run), false},
			name{"version.incarnation", (*string)(&e.Version.Incarnation), false})
	}
	return all
}

// shorten keeps a text within its bound: an event is never lost because an error message was long.
func shorten(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	const mark = "…"
	end := maxText - len(mark)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}
