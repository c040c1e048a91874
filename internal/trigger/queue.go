// SPDX-License-Identifier: Apache-2.0

// Package trigger has the queue of requests to rotate, whoever made them: the clock, an event or a person.
//
// A request is durable before it is acknowledged, and is created once for its id, so repeating it changes nothing. It
// stays open until a run that started after it completes. Cost: Submit is two reads and a write; Open is a listing and
// two reads for each open request; Close is a read, a write and a removal; Prune is a listing and a read for each
// closed request.
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
	"custody.dev/custody/internal/lazyregexp"
)

// OpenPrefix begins the keys of the records of open requests.
const OpenPrefix = "request/open/"

const (
	schema     = 1
	donePrefix = "request/done/"
	// remember is how long the id of a closed request is kept, so that a replay of it is recognised.
	remember = 30 * 24 * time.Hour
)

// The kinds of request.
const (
	Manual = "manual"
	Event  = "event"
	Time   = "time"
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
	if done, err := q.records.Get(ctx, donePrefix+request.ID); err == nil {
		return decode(done)
	} else if !errors.Is(err, authority.ErrNotFound) {
		return Request{}, fmt.Errorf("submitting request: %w", err)
	}
	request.Schema, request.At = schema, q.now().UTC()
	data, err := json.Marshal(request)
	if err != nil {
		return Request{}, fmt.Errorf("submitting request: %w", err)
	}
	if _, err := q.records.Put(ctx, OpenPrefix+request.ID, 0, data); err != nil {
		if !errors.Is(err, authority.ErrConflict) {
			return Request{}, fmt.Errorf("submitting request: %w", err)
		}
		stored, err := q.records.Get(ctx, OpenPrefix+request.ID)
		if err != nil {
			return Request{}, fmt.Errorf("submitting request: %w", err)
		}
		if request, err = decode(stored); err != nil {
			return Request{}, err
		}
	}
	q.note(func(open []Request) []Request { return append(without(open, request.ID), request) })
	return request, q.record.Append(ctx, audit.Event{
		Run: authority.RunID("request-" + request.ID), Step: "requested", Workflow: audit.Request,
		Secret: request.Secret, Path: request.Path, By: request.By, Reason: request.Reason, Result: audit.OK, At: q.now(),
	})
}

// Open returns the requests that no completed run has served, in order of id. One that was closed stays closed: a write
// of Submit that lands after that is cleared away. One that cannot be decoded is left alone, and Faults says so.
func (q *Queue) Open(ctx context.Context) ([]Request, error) {
	changes := q.changed()
	requests := []Request{}
	var faults []string
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.faults = faults
	}()
	for record, err := range q.below(ctx, OpenPrefix) {
		if err != nil {
			return nil, fmt.Errorf("listing requests: %w", err)
		}
		request, err := decode(record)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		switch _, err := q.records.Get(ctx, donePrefix+request.ID); {
		case errors.Is(err, authority.ErrNotFound):
			requests = append(requests, request)
		case err != nil:
			return nil, fmt.Errorf("listing requests: %w", err)
		default:
			if err := q.records.Delete(ctx, record.Key, record.Revision); err != nil {
				return nil, fmt.Errorf("listing requests: %w", err)
			}
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
	open, err := q.records.Get(ctx, OpenPrefix+id)
	if errors.Is(err, authority.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	request, err := decode(open)
	if err != nil {
		return err
	}
	request.Run, request.Closed = run, q.now().UTC()
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	if _, err := q.records.Put(ctx, donePrefix+id, 0, data); err != nil && !errors.Is(err, authority.ErrConflict) {
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	q.note(func(open []Request) []Request { return without(open, id) })
	if err := q.records.Delete(ctx, OpenPrefix+id, open.Revision); err != nil {
		return fmt.Errorf("closing request %s: %w", id, err)
	}
	return nil
}

// Prune forgets requests that were closed long ago.
func (q *Queue) Prune(ctx context.Context) error {
	for record, err := range q.below(ctx, donePrefix) {
		if err != nil {
			return fmt.Errorf("pruning requests: %w", err)
		}
		request, err := decode(record)
		if err != nil {
			continue // a newer custody's, which prunes its own
		}
		if q.now().Sub(request.Closed) > remember {
			if err := q.records.Delete(ctx, record.Key, record.Revision); err != nil {
				return fmt.Errorf("pruning requests: %w", err)
			}
		}
	}
	return nil
}

// below yields the documents whose keys begin with prefix. One that is gone by the time it is read is left out.
func (q *Queue) below(ctx context.Context, prefix string) iter.Seq2[authority.Document, error] {
	return func(yield func(authority.Document, error) bool) {
		for key, err := range q.records.Keys(ctx, prefix) {
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
