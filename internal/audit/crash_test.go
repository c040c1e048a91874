// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/thorough"
)

// Every state that a crash can leave within one Append: any beginning of the line, with the old checkpoint, in the same
// file or a new one. From each the log opens, holds the event or not, takes it again once, and is sound.
func TestAppendAfterEveryCrash(t *testing.T) {
	last, step := thorough.Of(16, 16, 26), thorough.Of(151, 61, 23)
	base, turned := t.TempDir(), 0
	for n := range last {
		before := fillTo(t, base, n)
		after := fillTo(t, base, n+1)
		tail := newestFile(after)
		if len(before[tail]) == 0 && n > 0 {
			turned++
		}
		for written := len(before[tail]); written <= len(after[tail]); written++ {
			if whole := len(after[tail]); written > len(before[tail])+1 && written < whole-2 && (written-len(before[tail]))%step != 0 {
				continue
			}
			state := maps.Clone(after)
			state["checkpoint"] = before["checkpoint"]
			state[tail] = after[tail][:written]
			state[".checkpoint.0123456789abcdef.tmp"] = []byte("half of one")
			recovers(t, fmt.Sprintf("event %d, %d bytes of %s", n, written, tail), state, n, written == len(after[tail]))
		}
		// After a loss of power, pages that were never written read as zeros.
		state := maps.Clone(after)
		state["checkpoint"] = before["checkpoint"]
		state[tail] = append(bytes.Clone(before[tail]), make([]byte, len(after[tail])-len(before[tail]))...)
		recovers(t, fmt.Sprintf("event %d, zeros", n), state, n, false)
		state = maps.Clone(state)
		state[tail] = append(bytes.Clone(before[tail]), []byte("\x00\x00\x00\"result\":\"ok\"}\n")...)
		recovers(t, fmt.Sprintf("event %d, zeros and an end", n), state, n, false)
	}
	if turned == 0 {
		t.Error("no new file was begun: the test does not cover it")
	}
}

func fillTo(t *testing.T, dir string, n int) map[string][]byte {
	t.Helper()
	fill(t, dir, n)
	return contents(t, dir)
}

func newestFile(held map[string][]byte) string {
	names := slices.DeleteFunc(logFiles(held), func(name string) bool { return name == "checkpoint" })
	return names[len(names)-1]
}

func recovers(t *testing.T, what string, state map[string][]byte, n int, taken bool) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range state {
		write(t, dir, name, data)
	}
	log, err := audit.Open(config(t, dir))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer log.Close()
	want := uint64(n)
	if taken {
		want++
	}
	if got := log.Size(); got != want {
		t.Errorf("%s: %d events after opening, want %d", what, got, want)
	}
	for _, number := range []int{n, n, n + 1} {
		if err := log.Append(t.Context(), audittest.Event(number)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if got := log.Size(); got != uint64(n+2) {
		t.Errorf("%s: %d events in the end, want %d", what, got, n+2)
	}
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.OutsideSize != uint64(n+2) {
		t.Errorf("%s: %+v", what, report)
	}
	for name := range contents(t, dir) {
		if strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s: %s was left", what, name)
		}
	}
}

func TestOpenAgainKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 30)
	before := contents(t, dir)
	log := open(t, dir)
	var want []audit.Event
	for i := range 30 {
		want = append(want, audittest.Event(i))
	}
	if diff := cmp.Diff(want, audittest.Collect(t, log, audit.Filter{})); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if !maps.EqualFunc(before, contents(t, dir), bytes.Equal) {
		t.Error("opening an intact log changed it")
	}
	for name := range before {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, got)
		}
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	if _, err := audit.Open(config(t, dir)); !errors.Is(err, audit.ErrInUse) {
		t.Errorf("second opener: got %v, want ErrInUse", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := log.Append(t.Context(), audittest.Event(1)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("appending to a closed log: got %v, want ErrClosed", err)
	}
	if err := log.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	open(t, dir)
}

func TestClockThatJumpsBack(t *testing.T) {
	cfg := config(t, t.TempDir())
	now := audittest.Epoch
	cfg.Clock = func() time.Time { now = now.Add(-24 * time.Hour); return now }
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range 3 {
		e := audittest.Event(i)
		e.At = time.Time{}
		if err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range audittest.Collect(t, log, audit.Filter{}) {
		if e.Step != audittest.Event(i).Step || !e.At.Equal(audittest.Epoch.AddDate(0, 0, -i-1)) {
			t.Errorf("event %d is %s at %v", i, e.Step, e.At)
		}
	}
	if report := verify(t, cfg.Folder.Dir()); !report.Sound() || !report.Last.Before(report.First) {
		t.Errorf("report %+v", report)
	}
}

// An older program neither reads nor cuts what a newer one wrote.
func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2)
	lines := linesOf(contents(t, dir))
	newer := []byte(`{"schema":2,"run":"r","step":"s","workflow":"w","tenant":"t","result":"ok","at":"2030-01-02T03:04:05Z"}`)
	all := [][]byte{lines[0], lines[1], newer}
	for what, dir := range map[string]string{
		"covered":   rewrite(t, all, sign(t, all)),
		"uncovered": rewrite(t, all, sign(t, lines)),
	} {
		before := contents(t, dir)
		if log, err := audit.Open(config(t, dir)); !errors.Is(err, audit.ErrNewer) {
			t.Errorf("%s: opening gave %v, %v, want ErrNewer", what, log, err)
		}
		after := contents(t, dir)
		delete(after, "lock")
		if !maps.EqualFunc(before, after, bytes.Equal) {
			t.Errorf("%s: the log was changed", what)
		}
	}
}

// A checkpoint that could not be replaced leaves one event uncovered; the next call, of whatever event, covers it first.
func TestAppendWhenTheCheckpointCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	for i := range 3 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	path, kept := filepath.Join(dir, "checkpoint"), log.Checkpoint()
	remove(t, dir, "checkpoint")
	if err := os.MkdirAll(filepath.Join(path, "in-the-way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, number := range []int{3, 3, 4} {
		if err := log.Append(t.Context(), audittest.Event(number)); err == nil {
			t.Errorf("event %d: appended without a checkpoint", number)
		}
	}
	if got := len(audittest.Collect(t, log, audit.Filter{})); got != 3 || log.Size() != 3 {
		t.Errorf("%d events, size %d, want the 3 that are covered", got, log.Size())
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "checkpoint", kept)
	if got := verify(t, dir).Findings; len(got) != 1 || got[0].Kind != audit.Uncovered {
		t.Errorf("findings %v, want one uncovered event", got)
	}
	for _, number := range []int{4, 3} {
		if err := log.Append(t.Context(), audittest.Event(number)); err != nil {
			t.Fatal(err)
		}
	}
	if report := verify(t, dir); !report.Sound() || report.Size != 5 {
		t.Errorf("report %+v, want 5 events", report)
	}
}

func TestFolderWithALinkInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(dir, "00000001.jsonl")); err != nil {
		t.Fatal(err)
	}
	if log, err := audit.Open(config(t, dir)); err == nil {
		_ = log.Close()
		t.Error("a log was opened through a symbolic link")
	}
}

func TestEndedContextStopsVerify(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := audit.Verify(ctx, audit.VerifyConfig{Folder: folder(t, dir), Verifier: signer(t).Verifier()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := audit.Verify(t.Context(), audit.VerifyConfig{Folder: folder(t, dir), Verifier: "nonsense"}); err == nil {
		t.Error("a malformed public key was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); errors.Is(err, fs.ErrNotExist) {
		t.Error("the log had no lock file")
	}
}
