// SPDX-License-Identifier: Apache-2.0

// Package audittest is the test suite that every audit log passes, also the in-memory double.
package audittest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
)

// Log is what the suite needs of a log.
type Log interface {
	Append(ctx context.Context, e audit.Event) error
	Events(ctx context.Context, filter audit.Filter) iter.Seq2[audit.Event, error]
}

// Epoch is the time that the log under test must give to events without one.
var Epoch = time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)

// Event makes an event whose number tells it from others.
func Event(number int) audit.Event {
	return audit.Event{
		Schema:   audit.Schema,
		Run:      authority.RunID(fmt.Sprintf("run-%06d", number/8)),
		Step:     fmt.Sprintf("step-%d", number%8),
		Workflow: "rotation",
		Secret:   "mail-relay",
		Path:     "mail/relay",
		Version:  &authority.VersionID{Incarnation: "first", Run: "run-000000", Number: authority.Version(number + 1)},
		By:       "time",
		Reason:   `due: "30d" < ttl & <window>`,
		Result:   "ok",
		At:       Epoch.Add(time.Duration(number) * time.Second),
	}
}

// Collect reads all the events that filter selects.
func Collect(t testing.TB, log Log, filter audit.Filter) []audit.Event {
	t.Helper()
	var got []audit.Event
	for e, err := range log.Events(t.Context(), filter) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	return got
}

// Run holds a log against the port. open gives an empty log each time.
func Run(t *testing.T, open func(t *testing.T) Log) {
	t.Run("KeepsOrderAndContent", func(t *testing.T) { keeps(t, open(t)) })
	t.Run("RepeatAddsNothing", func(t *testing.T) { repeats(t, open(t)) })
	t.Run("SettlesForm", func(t *testing.T) { settles(t, open(t)) })
	t.Run("RefusesInvalid", func(t *testing.T) { refuses(t, open(t)) })
	t.Run("Filters", func(t *testing.T) { filters(t, open(t)) })
	t.Run("EndedContext", func(t *testing.T) { ended(t, open(t)) })
	t.Run("ManyWriters", func(t *testing.T) { many(t, open(t)) })
	t.Run("ReadersMayStop", func(t *testing.T) { stops(t, open(t)) })
}

func add(t *testing.T, log Log, events ...audit.Event) {
	t.Helper()
	for _, e := range events {
		if err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func keeps(t *testing.T, log Log) {
	want := []audit.Event{Event(3), Event(1), Event(2)} // times go back: the clock may jump, order does not
	add(t, log, want...)
	if diff := cmp.Diff(want, Collect(t, log, audit.Filter{})); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func repeats(t *testing.T, log Log) {
	first := Event(1)
	again := first
	again.At, again.Result, again.Detail = first.At.Add(-time.Hour), "failed", "another detail"
	add(t, log, first, Event(2), again, first)
	if diff := cmp.Diff([]audit.Event{first, Event(2)}, Collect(t, log, audit.Filter{})); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	// Names that run into each other are different all the same.
	a, b := Event(5), Event(5)
	a.Run, a.Step = `r","step":"s`, "x"
	b.Run, b.Step = "r", `s","step":"x`
	add(t, log, a, b, a, b)
	if got := len(Collect(t, log, audit.Filter{})); got != 4 {
		t.Errorf("%d events, want 4", got)
	}
}

func settles(t *testing.T, log Log) {
	e := Event(1)
	e.Schema, e.At = 0, time.Time{}
	e.Detail = strings.Repeat("é", 5000) + "\xff"
	e.By = "broken \xff name"
	version := *e.Version
	e.Version = &version
	add(t, log, e)
	version.Number = 99 // the caller's to change again
	got := Collect(t, log, audit.Filter{})[0]
	if got.Schema != audit.Schema || !got.At.Equal(Epoch) || got.At.Location() != time.UTC {
		t.Errorf("schema %d at %v, want %d at %v", got.Schema, got.At, audit.Schema, Epoch)
	}
	if len(got.Detail) > 4<<10 || !strings.HasSuffix(got.Detail, "é…") {
		t.Errorf("a long detail came back with %d bytes, ending in %q", len(got.Detail), got.Detail[len(got.Detail)-8:])
	}
	if got.By != "broken \uFFFD name" || got.Version.Number != 2 {
		t.Errorf("by %q, version %v", got.By, got.Version)
	}
	elsewhere := Event(2)
	elsewhere.At = elsewhere.At.In(time.FixedZone("east", 3600))
	add(t, log, elsewhere)
	if diff := cmp.Diff(Event(2), Collect(t, log, audit.Filter{})[1]); diff != "" {
		t.Errorf("time in another zone (-want +got):\n%s", diff)
	}
}

func refuses(t *testing.T, log Log) {
	for name, change := range map[string]func(*audit.Event){
		"no run":       func(e *audit.Event) { e.Run = "" },
		"no step":      func(e *audit.Event) { e.Step = "" },
		"no workflow":  func(e *audit.Event) { e.Workflow = "" },
		"no result":    func(e *audit.Event) { e.Result = "" },
		"newer schema": func(e *audit.Event) { e.Schema = audit.Schema + 1 },
		"long name":    func(e *audit.Event) { e.Secret = strings.Repeat("x", 2000) },
		"far future":   func(e *audit.Event) { e.At = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		e := Event(1)
		change(&e)
		if err := log.Append(t.Context(), e); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if got := Collect(t, log, audit.Filter{}); len(got) != 0 {
		t.Errorf("refused events are in the log: %v", got)
	}
}

func filters(t *testing.T, log Log) {
	for i := range 24 {
		e := Event(i)
		if i%2 == 1 {
			e.Secret, e.Path, e.Workflow, e.Result = "database", "db/main", "handover", "held"
		}
		add(t, log, e)
	}
	cases := map[string]struct {
		filter audit.Filter
		want   int
	}{
		"all":      {audit.Filter{}, 24},
		"run":      {audit.Filter{Run: "run-000001"}, 8},
		"secret":   {audit.Filter{Secret: "database"}, 12},
		"path":     {audit.Filter{Path: "mail/relay"}, 12},
		"workflow": {audit.Filter{Workflow: "handover"}, 12},
		"result":   {audit.Filter{Result: "held", Run: "run-000002"}, 4},
		"since":    {audit.Filter{Since: Epoch.Add(20 * time.Second)}, 4},
		"until":    {audit.Filter{Until: Epoch.Add(20 * time.Second)}, 20},
		"nothing":  {audit.Filter{Run: "run-9"}, 0},
	}
	for name, c := range cases {
		if got := len(Collect(t, log, c.filter)); got != c.want {
			t.Errorf("%s: %d events, want %d", name, got, c.want)
		}
	}
}

func ended(t *testing.T, log Log) {
	add(t, log, Event(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := log.Append(ctx, Event(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("appending: got %v, want context.Canceled", err)
	}
	var last error
	for _, err := range log.Events(ctx, audit.Filter{}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("reading: got %v, want context.Canceled", last)
	}
	if got := len(Collect(t, log, audit.Filter{})); got != 1 {
		t.Errorf("%d events, want 1", got)
	}
}

func many(t *testing.T, log Log) {
	const writers, each = 4, 8
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() { // all write the same events
			for i := range each {
				if err := log.Append(t.Context(), Event(i)); err != nil {
					t.Error(err)
				}
				for _, err := range log.Events(t.Context(), audit.Filter{}) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := len(Collect(t, log, audit.Filter{})); got != each {
		t.Errorf("%d events, want %d", got, each)
	}
}

func stops(t *testing.T, log Log) {
	add(t, log, Event(1), Event(2), Event(3))
	seen := 0
	for _, err := range log.Events(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("%d events seen, want 2", seen)
	}
	add(t, log, Event(4)) // nothing is held by the reader
}
