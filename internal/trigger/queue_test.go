// SPDX-License-Identifier: Apache-2.0

package trigger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/authoritytest"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/trigger"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// rig is a queue over doubles, at a time that the test sets.
type rig struct {
	*trigger.Queue
	store *memory.Store
	log   *auditmemory.Log
	now   time.Time
}

func newRig() *rig {
	r := &rig{now: epoch}
	clock := func() time.Time { return r.now }
	r.store = memory.New(memory.Config{Incarnation: "one", Clock: clock})
	r.log = auditmemory.New(clock)
	r.Queue = trigger.New(r.store, r.log, clock)
	return r
}

func manual(id string) trigger.Request {
	return trigger.Request{ID: id, Path: "app/db", Secret: "db", Kind: trigger.Manual, By: "me", Reason: "leaked"}
}

func (r *rig) open(t *testing.T) []string {
	t.Helper()
	requests, err := r.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, request := range requests {
		ids = append(ids, request.ID)
	}
	return ids
}

func TestReplayChangesNothing(t *testing.T) {
	r := newRig()
	first, err := r.Submit(t.Context(), manual("a"))
	if err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Hour)
	replay := manual("a")
	replay.Reason, replay.Path = "something else", "app/other"
	for range 2 {
		again, err := r.Submit(t.Context(), replay)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("a replay is not answered with what was stored:\n%s", diff)
		}
	}
	if err := r.Close(t.Context(), "a", "run-1"); err != nil {
		t.Fatal(err)
	}
	closed, err := r.Submit(t.Context(), replay)
	if err != nil || closed.Run != "run-1" || closed.Reason != "leaked" {
		t.Errorf("got %+v, %v, want the closed request with its run", closed, err)
	}
	if got := r.open(t); len(got) > 0 {
		t.Errorf("a replay opened %v again", got)
	}
	if got := r.log.Steps("request-a"); len(got) != 1 {
		t.Errorf("the request is on record as %v, want once", got)
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*trigger.Request){
		"no id":                func(q *trigger.Request) { q.ID = "" },
		"an id that is a path": func(q *trigger.Request) { q.ID = "../done/a" },
		"a long id":            func(q *trigger.Request) { q.ID = strings.Repeat("a", 129) },
		"no path":              func(q *trigger.Request) { q.Path = "" },
		"no kind":              func(q *trigger.Request) { q.Kind = "" },
		"nobody":               func(q *trigger.Request) { q.By = "" },
		"no reason":            func(q *trigger.Request) { q.Reason = "" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			request := manual("a")
			change(&request)
			if _, err := r.Submit(t.Context(), request); !errors.Is(err, trigger.ErrMalformed) {
				t.Errorf("got %v, want ErrMalformed", err)
			}
			if records, err := r.store.List(t.Context(), ""); err != nil || len(records) > 0 {
				t.Errorf("%d records were stored: %v", len(records), err)
			}
		})
	}
}

var errBroken = errors.New("broken")

// failing fails to write.
type failing struct {
	*memory.Store
	put bool
}

func (f *failing) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	if f.put {
		return 0, errBroken
	}
	return f.Store.Put(ctx, key, base, data)
}

func TestNothingIsAcknowledgedBeforeItIsDurable(t *testing.T) {
	r := newRig()
	queue := trigger.New(&failing{Store: r.store, put: true}, r.log, func() time.Time { return r.now })
	if _, err := queue.Submit(t.Context(), manual("a")); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the fault", err)
	}
	if got := r.open(t); len(got) > 0 {
		t.Errorf("got %v open", got)
	}
}

// A request cost a write when it was made, one when it was served, and a removal.
func TestARequestCostsTwoWrites(t *testing.T) {
	r := newRig()
	store := authoritytest.Count(r.store)
	queue := trigger.New(store, r.log, func() time.Time { return r.now })
	if _, err := queue.Submit(t.Context(), manual("a")); err != nil {
		t.Fatal(err)
	}
	if open, err := queue.Open(t.Context()); err != nil || len(open) != 1 {
		t.Fatalf("open are %v, %v", open, err)
	}
	if err := queue.Close(t.Context(), "a", "run-1"); err != nil {
		t.Fatal(err)
	}
	want := authoritytest.Calls{{Method: "Put", On: "request/a"}, {Method: "Put", On: "request/a"}}
	if diff := cmp.Diff(want, store.Take().Writes()); diff != "" {
		t.Errorf("writes differ:\n%s", diff)
	}
}

// What was served is kept for a month. It was read at each tick, had it not been remembered.
func TestServedRequestIsReadOnce(t *testing.T) {
	r := newRig()
	for i := range 20 {
		id := fmt.Sprint("r", i)
		if _, err := r.Submit(t.Context(), manual(id)); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(t.Context(), id, "run"); err != nil {
			t.Fatal(err)
		}
	}
	store := authoritytest.Count(r.store)
	queue := trigger.New(store, r.log, func() time.Time { return r.now }) // the next process
	for round, want := range []int{20, 0, 0} {
		if open, err := queue.Open(t.Context()); err != nil || len(open) > 0 {
			t.Fatalf("open are %v, %v", open, err)
		}
		if got := len(store.Take().Reads()); got != want {
			t.Errorf("round %d reads %d requests, want %d", round, got, want)
		}
	}
}

func TestCloseIsRepeatedAndStays(t *testing.T) {
	r := newRig()
	if _, err := r.Submit(t.Context(), manual("a")); err != nil {
		t.Fatal(err)
	}
	cut := trigger.New(&failing{Store: r.store, put: true}, r.log, func() time.Time { return r.now })
	if err := cut.Close(t.Context(), "a", "run-0"); !errors.Is(err, errBroken) {
		t.Fatalf("got %v, want the fault", err)
	}
	if diff := cmp.Diff([]string{"a"}, r.open(t)); diff != "" {
		t.Errorf("open requests differ:\n%s", diff)
	}
	for _, run := range []authority.RunID{"run-1", "run-2"} {
		if err := r.Close(t.Context(), "a", run); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Minute)
	}
	if got := r.open(t); len(got) > 0 {
		t.Errorf("got %v open after closing", got)
	}
	if closed, err := r.Submit(t.Context(), manual("a")); err != nil || closed.Run != "run-1" {
		t.Errorf("got %+v, %v, want the run that closed it first", closed, err)
	}
	if got := r.Known(); len(got) > 0 {
		t.Errorf("%v are taken for open", got)
	}
}

// late keeps the first write of a record back.
type late struct {
	*memory.Store
	land func()
}

func (l *late) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	if l.land == nil {
		l.land = func() { _, _ = l.Store.Put(context.Background(), key, base, data) }
		return 0, errBroken
	}
	return l.Store.Put(ctx, key, base, data)
}

// A client that saw no answer asks again with the same id. What its first attempt wrote lands after the second was served.
func TestServedRequestIsNotReopenedByALateWrite(t *testing.T) {
	r := newRig()
	records := &late{Store: r.store}
	queue := trigger.New(records, r.log, func() time.Time { return r.now })
	if _, err := queue.Submit(t.Context(), manual("a")); !errors.Is(err, errBroken) {
		t.Fatalf("got %v, want the fault", err)
	}
	if _, err := queue.Submit(t.Context(), manual("a")); err != nil {
		t.Fatal(err)
	}
	if err := queue.Close(t.Context(), "a", "run-1"); err != nil {
		t.Fatal(err)
	}
	records.land()
	if got := r.open(t); len(got) > 0 {
		t.Errorf("a late write opened %v again", got)
	}
	if left, err := r.store.List(t.Context(), trigger.Prefix); err != nil || len(left) != 1 {
		t.Errorf("%d records are left, want the closed one: %v", len(left), err)
	}
}

func TestPruneForgetsOnlyWhatIsLongClosed(t *testing.T) {
	r := newRig()
	for i := range 3 {
		id := fmt.Sprint("r", i)
		if _, err := r.Submit(t.Context(), manual(id)); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if err := r.Close(t.Context(), id, "run"); err != nil {
				t.Fatal(err)
			}
		}
		r.now = r.now.Add(20 * 24 * time.Hour)
	}
	if err := r.Prune(t.Context()); err != nil { // r0 was closed 60 days ago, r1 40, r2 is open
		t.Fatal(err)
	}
	left, err := r.store.List(t.Context(), trigger.Prefix)
	if err != nil || len(left) != 1 {
		t.Errorf("%d requests are kept, want the open one: %v", len(left), err)
	}
	if diff := cmp.Diff([]string{"r2"}, r.open(t)); diff != "" {
		t.Errorf("open requests differ:\n%s", diff)
	}
}

// One request that a newer custody wrote, or that is torn, stopped every secret.
func TestUnreadableRequestStopsNoOther(t *testing.T) {
	r := newRig()
	unreadable := map[string]string{"request/a": `{"schema":2,"id":"a"}`, "request/b": `{"schema":`, "request/c": `{"schema":2,"id":"c"}`,
		"request/e": `{}`, "request/f": `{"schema":1,"id":"other","path":"app/db"}`,
	}
	for key, data := range unreadable {
		if _, err := r.store.Put(t.Context(), key, 0, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Submit(t.Context(), manual("d")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d"}, r.open(t)); diff != "" {
		t.Errorf("open requests differ:\n%s", diff)
	}
	faults := strings.Join(r.Faults(), "\n")
	for _, want := range []string{"request/a", "newer than this custody's", "request/b"} {
		if !strings.Contains(faults, want) {
			t.Errorf("faults do not say %q: %s", want, faults)
		}
	}
	if err := r.Prune(t.Context()); err != nil {
		t.Errorf("pruning: %v", err)
	}
	for key, data := range unreadable {
		if held, err := r.store.Get(t.Context(), key); err != nil || string(held.Data) != data {
			t.Errorf("%s holds %q, %v; want it left alone", key, held.Data, err)
		}
	}
}
