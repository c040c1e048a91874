// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
)

// stale answers reads of one record as it was.
type stale struct {
	authorityRecords
	was authority.Record
}

type authorityRecords interface {
	Get(ctx context.Context, key string) (authority.Record, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
	List(ctx context.Context, prefix string) ([]authority.Record, error)
}

func (s *stale) Get(ctx context.Context, key string) (authority.Record, error) {
	if key == s.was.Key {
		return s.was, nil
	}
	return s.authorityRecords.Get(ctx, key)
}

// ask submits a request to rotate the first secret.
func (r *rig) askFirst(id string) {
	r.t.Helper()
	s := r.secrets[0]
	if _, err := r.queue().Submit(r.t.Context(), trigger.Request{ID: id, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "test", Reason: "asked"}); err != nil {
		r.t.Fatal(err)
	}
}

// An engine whose read of the journal is stale sees no run, and the pending entry of one: it is not its to remove.
func TestStaleReadSweepsNoLiveRun(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		was, err := r.store.Get(r.t.Context(), "secret/"+string(r.secrets[0].Path))
		if err != nil {
			t.Fatal(err)
		}
		r.consumers[0].IgnoreReloads(true)
		r.askFirst("now")
		r.pass(r.start(), time.Minute)
		pending, err := r.store.Paths(r.t.Context(), authority.ReservedPrefix)
		if err != nil || len(pending) != 1 {
			t.Fatalf("pending %v, %v, want that of the live run", pending, err)
		}
		if err := r.queue().Close(r.t.Context(), "now", "run-x"); err != nil { // the stale engine begins no run
			t.Fatal(err)
		}
		// It read the value before that was promoted, too.
		r.records = &stale{r.store, was}
		other := r.start()
		r.records = nil
		r.pass(other, 30*time.Minute)
		if left, err := r.store.Paths(r.t.Context(), authority.ReservedPrefix); err != nil || len(left) != 1 {
			t.Errorf("pending %v, %v, want that of the live run kept", left, err)
		}
	})
}

// events on record of a step.
func (r *rig) events(step string) []audit.Event {
	r.t.Helper()
	var found []audit.Event
	for event, err := range r.log.Events(r.t.Context(), audit.Filter{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.HasPrefix(event.Step, step) {
			found = append(found, event)
		}
	}
	return found
}

// A consumer that was changed by somebody else is on record with what it should hold: once, however often the same is found.
func TestDriftIsOnRecordOncePerChange(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		for range 3 { // a program that writes its own copy every few minutes
			r.consumers[0].Tamper(tampered(t))
			r.pass(process, 10*time.Minute)
		}
		events := r.events("drifted")
		if len(events) != 1 || events[0].Consumer != "app" || events[0].Version == nil || events[0].Version.Number != 1 || events[0].Secret != "s0" {
			t.Fatalf("on record: %+v, want one event that names consumer and version", events)
		}
		r.pass(process, time.Hour) // and it is right again
		r.consumers[0].Tamper(tampered(t))
		r.pass(process, time.Hour)
		if events := r.events("drifted"); len(events) != 2 {
			t.Errorf("%d events on record, want a second one for the second change", len(events))
		}
	})
}

func tampered(t *testing.T) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"key": "changed from elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
