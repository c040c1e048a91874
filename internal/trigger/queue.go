// SPDX-License-Identifier: Apache-2.0

// Package trigger has the queue of requests to rotate, whoever made them: the clock, an event or a person.
//
// A request is durable before it is acknowledged, and is created once for its id, so repeating it changes nothing. It
// stays open until a run that started after it completes. Cost: Submit is a write; Open is a listing of keys and a read for
// each open request, and at first for each that was closed lately; Close is a read and a write; Prune is a listing and a read
// for each request.
package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/lazyregexp"
)

// Prefix begins the keys of the records of requests, open or closed.
const Prefix = "request/"

const (
	schema = 1
	// remember is how long the id of a closed request is kept, so that a replay of it is recognised.
	remember = 30 * 24 * time.Hour
)

// The kinds of request.
const (
	Manual = "manual"
	Event  = "event"
	Time   = "time"
	// Compromise: somebody else may have the credential.
	Compromise = journal.Compromised
)

// Request asks for one secret to be rotated.
type Request struct {
	Schema int            `json:"schema"`
	ID     string         `json:"id"`
	Path   authority.Path `json:"path"`
	Secret string         `json:"secret"`
	Kind   string         `json:"kind"`
	By     string         `json:"by"`
	Reason string         `json:"reason"`
	At     time.Time      `json:"at"`
	// Run is the run that served it; set when it is closed.
	Run    authority.RunID `json:"run,omitempty"`
	Closed time.Time       `json:"closed,omitzero"`
}

var idForm = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// ErrMalformed: the request lacks something; nothing was stored.
var ErrMalformed = errors.New("malformed request")

// Records is what the queue needs of an authority.
type Records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
	Delete(ctx context.Context, key string, base authority.Revision) error
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Queue is the durable queue.
type Queue struct {
	records Records
	record  audit.Recorder
	now     func() time.Time

	mu     sync.Mutex
	faults []string
	known
}

// New returns the queue kept in records.
func New(records Records, record audit.Recorder, now func() time.Time) *Queue {
	return &Queue{records: records, record: record, now: now}
}

// Submit stores a request and returns it as stored: the earlier one when the id was seen before.
func (q *Queue) Submit(ctx context.Context, request Request) (Request, error) {
	if !idForm.MatchString(request.ID) || request.Path == "" || request.Kind == "" || request.By == "" || request.Reason == "" {
		return Request{}, fmt.Errorf("submitting request: id, path, kind, who and why are all needed: %w", ErrMalformed)
	}
	request.Schema, request.At = schema, q.now().UTC()
	data, err := json.Marshal(request)
	if err != nil {
		return Request{}, fmt.Errorf("submitting request: %w", err)
	}
	if _, err := q.records.Put(ctx, Prefix+request.ID, 0, data); err != nil {
		if !errors.Is(err, authority.ErrConflict) {
			return Request{}, fmt.Errorf("submitting request: %w", err)
		}
		stored, err := q.records.Get(ctx, Prefix+request.ID)
		if err != nil {
			return Request{}, fmt.Errorf("submitting request: %w", err)
		}
		if request, err = decode(stored); err != nil || !request.Closed.IsZero() {
			return request, err
		}
	}
	q.note(func(open []Request) []Request { return append(without(open, request.ID), request) })
	return request, q.record.Append(ctx, audit.Event{
		Run: authority.RunID("request-" + request.ID), Step: "requested", Workflow: audit.Request,
		Secret: request.Secret, Path: request.Path, By: request.By, Reason: request.Reason, Result: audit.OK, At: q.now(),
	})
}

// Open returns the requests that no completed run has served, in order of id. One that was closed stays closed, and is read once. One
// that cannot be decoded is left alone, and Faults says so.
func (q *Queue) Open(ctx context.Context) ([]Request, error) {
	changes := q.changed()
	requests := []Request{}
	var faults []string
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.faults = faults
	}()
	for record, err := range q.below(ctx, q.closed) {
		if err != nil {
			return nil, fmt.Errorf("listing requests: %w", err)
		}
		request, err := decode(record)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		if request.Closed.IsZero() {
			requests = append(requests, request)
		} else {
			q.shut(request.ID)
		}
	}
	q.listed(requests, changes)
	return requests, nil
}

// Faults says which requests could not be decoded when Open last listed them. Nothing is done for them.
func (q *Queue) Faults() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.faults)
}

// Close marks a request as served by run. Idempotent.
func (q *Queue) Close(ctx context.Context, id string, run authority.RunID) error {
	held, err := q.records.Get(ctx, Prefix+id)
	if errors.Is(err, authority.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	request, err := decode(held)
	if err != nil {
		return err
	}
	if !request.Closed.IsZero() {
		q.shut(id)
		return nil
	}
	request.Run, request.Closed = run, q.now().UTC()
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	if _, err := q.records.Put(ctx, held.Key, held.Revision, data); err != nil && !errors.Is(err, authority.ErrConflict) { // closed by another
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	q.shut(id)
	return nil
}

// Prune forgets requests that were closed long ago.
func (q *Queue) Prune(ctx context.Context) error {
	for record, err := range q.below(ctx, nil) {
		if err != nil {
			return fmt.Errorf("pruning requests: %w", err)
		}
		request, err := decode(record)
		if err != nil {
			continue // a newer custody's, which prunes its own
		}
		if !request.Closed.IsZero() && q.now().Sub(request.Closed) > remember {
			if err := q.records.Delete(ctx, record.Key, record.Revision); err != nil {
				return fmt.Errorf("pruning requests: %w", err)
			}
			q.forget(request.ID)
		}
	}
	return nil
}

// below yields the documents of requests, but for those whose id is left out. One that is gone by the time it is read is too.
func (q *Queue) below(ctx context.Context, leaveOut func(id string) bool) iter.Seq2[authority.Document, error] {
	return func(yield func(authority.Document, error) bool) {
		for key, err := range q.records.Keys(ctx, Prefix) {
			if err == nil && leaveOut != nil && leaveOut(path.Base(key)) {
				continue
			}
			var held authority.Document
			if err == nil {
				held, err = q.records.Get(ctx, key)
			}
			if errors.Is(err, authority.ErrNotFound) {
				continue
			}
			if !yield(held, err) || err != nil {
				return
			}
		}
	}
}

// Open reports whether a document below Prefix is of an open request, or of one that cannot be decoded.
func Open(record authority.Document) bool {
	request, err := decode(record)
	return err != nil || request.Closed.IsZero()
}

func decode(record authority.Document) (Request, error) {
	var request Request
	if err := json.Unmarshal(record.Data, &request); err != nil {
		return Request{}, fmt.Errorf("decoding request %s: %w", record.Key, err)
	}
	if request.Schema > schema {
		return Request{}, fmt.Errorf("decoding request %s: schema %d is newer than this custody's %d", record.Key, request.Schema, schema)
	}
	if request.Path == "" || path.Base(record.Key) != request.ID { // closing it would close another, and it would be served for ever
		return Request{}, fmt.Errorf("decoding request %s: it is not the request of that key", record.Key)
	}
	return request, nil
}
