// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/thorough"
)

// together appends the events numbered from..to-1 while an append of the one before them is held up, so that they are one group,
// and returns what each call returned. The held one is kept in its clock, which it asks with the log's lock.
func together(t *testing.T, cfg audit.Config, from, to int, during func()) (*audit.Log, []error) {
	t.Helper()
	begun, release := make(chan struct{}), make(chan struct{})
	cfg.Clock = func() time.Time { close(begun); <-release; return audittest.Event(from - 1).At }
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	ended := make([]chan error, to-from+1)
	for i := range ended {
		ended[i] = make(chan error, 1)
		e := audittest.Event(from - 1 + i)
		if i == 0 {
			e.At = time.Time{}
		}
		go func() { ended[i] <- log.Append(context.Background(), e) }()
		if i == 0 {
			<-begun
		}
		for audit.Waiting(log) < i { // the test's own deadline bounds it
			runtime.Gosched()
		}
	}
	if during != nil {
		during()
	}
	close(release)
	var errs []error
	for _, end := range ended {
		errs = append(errs, <-end)
	}
	return log, errs
}

func TestAppendsThatWaitShareTheirSyncs(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	cfg := config(t, dir)
	cfg.SegmentBytes = 1 << 20
	log, errs := together(t, cfg, 4, 12, nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, e := range audittest.Collect(t, log, audit.Filter{}) {
		if want := audittest.Event(i); e.Step != want.Step || e.Run != want.Run {
			t.Errorf("event %d is %s of %s: the order in which they came was not kept", i, e.Step, e.Run)
		}
	}
	// The group's own checkpoint covers all that waited: they were one write.
	if group := contents(t, dir)["group"]; !bytes.Contains(group, []byte("\n12\n")) || !bytes.Equal(group, log.Checkpoint()) {
		t.Errorf("the group that was written last is that of %q, want all 12 events", group)
	}
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.Size != 12 {
		t.Errorf("report %+v", report)
	}
}

// Of a group each call gets its own answer: what is invalid is refused, what is there is not added, what comes twice is added once.
func TestEachOfAGroupGetsItsOwnAnswer(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	var more []chan error
	var log *audit.Log
	cfg := config(t, dir)
	begun, release := make(chan struct{}), make(chan struct{})
	cfg.Clock = func() time.Time { close(begun); <-release; return audittest.Epoch }
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	held, invalid := audittest.Event(3), audittest.Event(5)
	held.At, invalid.Run = time.Time{}, ""
	for i, e := range []audit.Event{held, audittest.Event(4), invalid, audittest.Event(1), audittest.Event(4), audittest.Event(6)} {
		end := make(chan error, 1)
		more = append(more, end)
		go func() { end <- log.Append(context.Background(), e) }()
		if i == 0 {
			<-begun
		}
		for audit.Waiting(log) < i { // the test's own deadline bounds it
			runtime.Gosched()
		}
	}
	close(release)
	for i, end := range more {
		if err := <-end; errors.Is(err, audit.ErrInvalid) != (i == 2) || err != nil && i != 2 {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got := log.Size(); got != 6 {
		t.Errorf("%d events, want 6", got)
	}
}

// A group that does not fit the segment goes on in the next.
func TestGroupOverSegments(t *testing.T) {
	dir := t.TempDir()
	log, errs := together(t, config(t, dir), 1, 60, nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	beside(t, dir, ".seal")
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.Size != 60 {
		t.Errorf("report %+v", report)
	}
	for name, data := range contents(t, dir) {
		if len(data) > 4<<10 {
			t.Errorf("%s has %d bytes", name, len(data))
		}
	}
}

// Every state that a crash can leave while a group is written: any beginning of its lines, pages that read as zeros, with the
// checkpoint from before. From each the log opens with the group or without it, and goes on.
func TestAppendAfterEveryCrashOfAGroup(t *testing.T) {
	const n, size = 4, 5
	dir := t.TempDir()
	fill(t, dir, n)
	before := contents(t, dir)
	cfg := config(t, dir)
	cfg.SegmentBytes = 1 << 20
	log, errs := together(t, cfg, n+1, n+size, nil)
	if err := errors.Join(append(errs, log.Close())...); err != nil {
		t.Fatal(err)
	}
	after := contents(t, dir)
	// The first was appended alone; the checkpoint of that moment is made again.
	lines := linesOf(after)
	before["checkpoint"] = sign(t, lines[:n+1])
	tail := "00000001.jsonl"
	whole, begin := after[tail], 0
	for _, line := range lines[:n+1] {
		begin += len(line) + 1
	}
	crashed := func(what string, data []byte, want ...uint64) {
		t.Helper()
		state := maps.Clone(after)
		state["checkpoint"], state[tail] = before["checkpoint"], data
		groupRecovers(t, what, state, n+size, want)
	}
	step := thorough.Of(67, 13, 1)
	for written := begin; written < len(whole); written += step {
		crashed(fmt.Sprintf("%d bytes of the group", written-begin), whole[:written], n+1, n+2)
	}
	crashed("all of it", whole, n+size)
	for _, gap := range [][2]int{{0, 300}, {10, 500}, {400, 450}, {300, len(whole) - begin}} {
		data := bytes.Clone(whole)
		clear(data[begin+gap[0] : begin+gap[1]])
		crashed(fmt.Sprintf("zeros from %d to %d", gap[0], gap[1]), data, n+1, n+2)
	}
}

func groupRecovers(t *testing.T, what string, state map[string][]byte, all int, want []uint64) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range state {
		write(t, dir, name, data)
	}
	log, err := audit.Open(config(t, dir))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer log.Close()
	if !slices.Contains(want, log.Size()) {
		t.Errorf("%s: %d events after opening, want one of %v", what, log.Size(), want)
	}
	for number := range all + 1 {
		if err := log.Append(t.Context(), audittest.Event(number)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.Size != uint64(all+1) {
		t.Errorf("%s: %+v", what, report)
	}
}

// More than one event beyond the checkpoint is taken up only as the group that was signed before it was written: whoever can write
// the folder cannot put several events on record, be it while a group was being written.
func TestEventsThatNoGroupCoversAreFound(t *testing.T) {
	const n, size = 4, 4
	dir := t.TempDir()
	fill(t, dir, n)
	cfg := config(t, dir)
	cfg.SegmentBytes = 1 << 20
	log, errs := together(t, cfg, n+1, n+size, nil)
	if err := errors.Join(append(errs, log.Close())...); err != nil {
		t.Fatal(err)
	}
	held := contents(t, dir)
	lines := linesOf(held)
	foreign, err := audit.Encode(audittest.Event(900))
	if err != nil {
		t.Fatal(err)
	}
	older := held["group"]
	signed := sign(t, lines[:n+1])
	cases := map[string]struct {
		lines [][]byte
		group []byte
	}{
		"no group":          {lines, nil},
		"one of them other": {append(slices.Clone(lines[:n+size-1]), foreign), older},
		"one more":          {append(slices.Clone(lines), foreign), older},
		"a group of before": {lines, signed},
		"a group by others": {lines, []byte("rubbish")},
	}
	for what, c := range cases {
		dir := rewrite(t, c.lines, signed)
		if c.group != nil {
			write(t, dir, "group", c.group)
		}
		wantTampered(t, config(t, dir), what)
	}
	dir = rewrite(t, lines, signed)
	write(t, dir, "group", older)
	if got := open(t, dir).Size(); got != n+size {
		t.Errorf("%d events with the group as it was, want %d", got, n+size)
	}
}
