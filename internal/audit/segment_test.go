// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
)

// variedEvent has one of three secrets, or none, whose names hold what JSON escapes.
func variedEvent(number int) audit.Event {
	e := audittest.Event(number)
	e.Secret = []string{"mail-relay", `a "quoted\" name`, "ünïcode <&>", ""}[number/8%4]
	return e
}

// segmented makes a closed log of several segments.
func segmented(t testing.TB, dir string) (events []audit.Event) {
	t.Helper()
	log := open(t, dir)
	for number := range 120 {
		events = append(events, variedEvent(number))
		if err := log.Append(t.Context(), events[number]); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return events
}

// beside are the files of one suffix.
func beside(t testing.TB, dir, suffix string) []string {
	t.Helper()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(contents(t, dir))), func(name string) bool { return !strings.HasSuffix(name, suffix) })
	if len(names) < 3 {
		t.Fatalf("files %v: the log has fewer than three sealed segments", names)
	}
	return names
}

// A start reads the last segment. What it does not read is found by Verify, by a start that has no seal, and by whoever
// reads the whole segment for an index.
func TestAlteredSealedSegment(t *testing.T) {
	dir := t.TempDir()
	segmented(t, dir)
	first := contents(t, dir)["00000001.jsonl"]
	write(t, dir, "00000001.jsonl", bytes.Replace(first, []byte(`"result":"ok"`), []byte(`"result":"OK"`), 1))
	log, err := audit.Open(config(t, dir))
	if err != nil {
		t.Fatalf("a start read more than the last segment: %v", err)
	}
	if err := log.Append(t.Context(), audittest.Event(500)); err != nil {
		t.Error(err)
	}
	if verify(t, dir).Sound() {
		t.Error("verify found nothing")
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	remove(t, dir, "00000001.index")
	log = open(t, dir)
	var last error
	for _, err := range log.Events(t.Context(), audit.Filter{Run: "run-000000"}) {
		last = err
	}
	if !errors.Is(last, audit.ErrTampered) {
		t.Errorf("making the index of an altered segment: %v, want ErrTampered", last)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	remove(t, dir, "00000001.seal")
	wantTampered(t, config(t, dir), "no seal")
}

// Seals and indexes are made from the log, and nothing that is wrong with them changes what it is.
func TestSealsAndIndexesAreMadeAgain(t *testing.T) {
	whole := t.TempDir()
	events := segmented(t, whole)
	held := contents(t, whole)
	seals, indexes := beside(t, whole, ".seal"), beside(t, whole, ".index")
	changes := map[string]func(dir string, names []string){
		"removed": func(dir string, names []string) { remove(t, dir, names[1]) },
		"all gone": func(dir string, names []string) {
			for _, name := range names {
				remove(t, dir, name)
			}
		},
		"emptied":   func(dir string, names []string) { write(t, dir, names[0], nil) },
		"of others": func(dir string, names []string) { write(t, dir, names[0], held[names[1]]) },
		"cut":       func(dir string, names []string) { write(t, dir, names[2], held[names[2]][:len(held[names[2]])/2]) },
		"one byte": func(dir string, names []string) {
			data := bytes.Clone(held[names[1]])
			data[len(data)/3] ^= 1
			write(t, dir, names[1], data)
		},
	}
	for kind, names := range map[string][]string{"seal": seals, "index": indexes} {
		for what, change := range changes {
			t.Run(kind+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				for name, data := range held {
					write(t, dir, name, data)
				}
				change(dir, names)
				log := open(t, dir)
				wantAnswers(t, log, events)
				if report := verify(t, dir); !report.Sound() {
					t.Errorf("findings %v", report.Findings)
				}
				for _, name := range names {
					if !bytes.Equal(contents(t, dir)[name], held[name]) {
						t.Errorf("%s is not as it was", name)
					}
				}
			})
		}
	}
}

// wantAnswers wants each question answered as a reading of all events answers it.
func wantAnswers(t *testing.T, log *audit.Log, events []audit.Event) {
	t.Helper()
	filters := []audit.Filter{
		{}, {Skip: 7}, {Skip: 50}, {Skip: uint64(len(events))}, {Run: "run-000003", Skip: 27}, {Secret: "ünïcode <&>", Skip: 33},
		{Run: "nobody"}, {Secret: "nobody"}, {Since: events[40].At}, {Until: events[41].At}, {Result: "held"},
		{Run: "run-000002", Secret: "mail-relay"},
	}
	for _, e := range events {
		filters = append(filters, audit.Filter{Run: e.Run}, audit.Filter{Secret: e.Secret})
	}
	for _, filter := range filters {
		var want []audit.Event
		for _, e := range events[filter.Skip:] {
			if filter.Match(e) {
				want = append(want, e)
			}
		}
		if diff := cmp.Diff(want, audittest.Collect(t, log, filter)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", filter, diff)
		}
	}
}

// A seal that was altered on purpose, with the right sum, does not hash to what was signed.
func TestSealOfAnotherLog(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	events := segmented(t, dir)
	log := open(t, other)
	for number, e := range events {
		if e.Result = "ok"; number < 5 {
			e.Result = "no"
		}
		if err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"00000001.seal", "00000001.index"} {
		write(t, dir, name, contents(t, other)[name])
	}
	log = open(t, dir)
	wantAnswers(t, log, events)
	for number := range 3 {
		if err := log.Append(t.Context(), audittest.Event(1000+number)); err != nil {
			t.Fatal(err)
		}
	}
	if report := verify(t, dir); !report.Sound() {
		t.Errorf("findings %v", report.Findings)
	}
}

func TestRepeatOfASealedEventAddsNothing(t *testing.T) {
	dir := t.TempDir()
	events := segmented(t, dir)
	log := open(t, dir)
	for _, e := range events {
		e.Detail = "again"
		if err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if got := log.Size(); got != uint64(len(events)) {
		t.Errorf("%d events, want %d", got, len(events))
	}
}

// Whoever can write the folder can keep an event from being found by its run. The event is still there, and Verify says so.
func TestIndexThatLeavesOutAnEvent(t *testing.T) {
	dir := t.TempDir()
	events := segmented(t, dir)
	write(t, dir, "00000002.index", audit.WithoutFirst(contents(t, dir)["00000002.index"]))
	report := verify(t, dir)
	if len(report.Findings) != 1 || report.Findings[0].Kind != audit.Misindexed || report.Findings[0].Where != "00000002.index" {
		t.Errorf("findings %v, want the index", report.Findings)
	}
	remove(t, dir, "00000002.index")
	log := open(t, dir)
	wantAnswers(t, log, events)
	if report := verify(t, dir); !report.Sound() {
		t.Errorf("findings %v once it was made anew", report.Findings)
	}
}

// An index that cannot be written keeps nobody from reading.
func TestIndexThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	events := segmented(t, dir)
	remove(t, dir, "00000001.index")
	if err := os.MkdirAll(dir+"/00000001.index/in-the-way", 0o700); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, open(t, dir), events)
}
