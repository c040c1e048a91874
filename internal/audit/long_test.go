// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"runtime"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/thorough"
)

// allocated is how many MiB do allocates, in all: it never holds more at once.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) >> 20
}

// Many events: in the long run ten million, which take 3.2 GB below TMPDIR and some minutes. What took how long is printed and not
// judged.
func TestManyEvents(t *testing.T) {
	size := thorough.Of(20_000, 100_000, 10_000_000) // of which verifying tells progress from the second on
	repeated := size / 8
	begin := time.Now()
	step := func(what string) { t.Logf("%-40s %s", what, time.Since(begin)); begin = time.Now() }
	dir := large(t, size)
	step("made")
	cfg := config(t, dir)
	cfg.SegmentBytes = 0
	var log *audit.Log
	memory := allocated(func() {
		var err error
		if log, err = audit.Open(cfg); err != nil {
			t.Fatal(err)
		}
	})
	defer log.Close()
	t.Logf("%d MiB allocated for opening", memory)
	step("opened")
	if memory > 500 {
		t.Errorf("opening allocated %d MiB", memory)
	}
	if got := audittest.Collect(t, log, audit.Filter{Run: audittest.Event(repeated).Run}); len(got) != 8 {
		t.Errorf("%d events of one run, want 8", len(got))
	}
	step("one run, its index read the first time")
	if got := audittest.Collect(t, log, audit.Filter{Run: audittest.Event(repeated).Run}); len(got) != 8 {
		t.Errorf("%d events of one run, want 8", len(got))
	}
	step("one run again")
	if got := audittest.Collect(t, log, audit.Filter{Secret: "nobody"}); len(got) != 0 {
		t.Errorf("%d events of nobody", len(got))
	}
	step("a secret that is not there")
	for _, number := range []int{repeated, size} {
		if err := log.Append(t.Context(), audittest.Event(number)); err != nil {
			t.Fatal(err)
		}
	}
	if got := log.Size(); got != uint64(size)+1 {
		t.Errorf("%d events, want %d", got, size+1)
	}
	step("a repeated event and a new one")
	held, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	told := int64(0)
	report, err := audit.Verify(t.Context(), audit.VerifyConfig{
		Folder: held, Verifier: signer(t).Verifier(), Checkpoints: [][]byte{log.Checkpoint()},
		Progress: func(read, of int64) {
			if read <= told || read > of {
				t.Errorf("progress went from %d to %d of %d bytes", told, read, of)
			}
			told = read
		},
	})
	if err != nil || !report.Sound() || report.OutsideSize != uint64(size)+1 || told == 0 && size >= 100_000 {
		t.Errorf("report %+v, %v, progress up to %d bytes", report, err, told)
	}
	step("verified")
}
