// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/thorough"
)

// BenchmarkAppend says what an append costs that shares nothing, against one write and one fsync.
func BenchmarkAppend(b *testing.B) {
	least := writeAndSync(b)
	cfg := config(b, b.TempDir())
	cfg.SegmentBytes = 0
	log, err := audit.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	number := 0
	for b.Loop() {
		if err := log.Append(b.Context(), audittest.Event(number)); err != nil {
			b.Fatal(err)
		}
		number++
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(least), "x-write+fsync")
	b.ReportMetric(float64(least.Microseconds()), "µs/write+fsync")
}

// writeAndSync is how long the least takes that anything durable costs.
func writeAndSync(b *testing.B) time.Duration {
	b.Helper()
	line, err := audit.Encode(audittest.Event(1))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	const rounds = 200
	begin := time.Now()
	for range rounds {
		if _, err := raw.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := raw.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / rounds
}

// numbered yields the first n events.
func numbered(n int) iter.Seq[audit.Event] {
	return func(yield func(audit.Event) bool) {
		for i := range n {
			if !yield(audittest.Event(i)) {
				return
			}
		}
	}
}

// large makes a log of n events without syncing each.
func large(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	cfg := config(t, dir)
	cfg.SegmentBytes = 0
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(audit.AppendMany(log, numbered(n)), log.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// BenchmarkAppendTogether is BenchmarkAppend with 16 callers at once, who share their syncs.
func BenchmarkAppendTogether(b *testing.B) {
	least := writeAndSync(b)
	cfg := config(b, b.TempDir())
	cfg.SegmentBytes = 0
	log, err := audit.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var number atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := log.Append(b.Context(), audittest.Event(int(number.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(least), "x-write+fsync")
	b.ReportMetric(float64(least.Microseconds()), "µs/write+fsync")
}

// BenchmarkRecord is what a record of many events costs to open, to ask by its index, and to verify, which alone reads all of it.
func BenchmarkRecord(b *testing.B) {
	count := thorough.Of(20_000, 1_000_000, 10_000_000)
	dir := large(b, count)
	open := func(b *testing.B) *audit.Log {
		b.Helper()
		log, err := audit.Open(config(b, dir))
		if err != nil {
			b.Fatal(err)
		}
		return log
	}
	b.Run(fmt.Sprintf("open of %d", count), func(b *testing.B) {
		for b.Loop() {
			if err := open(b).Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(fmt.Sprintf("one run of %d", count), func(b *testing.B) {
		log, asked := open(b), audit.Filter{Run: audittest.Event(count / 8).Run}
		defer log.Close()
		for b.Loop() {
			if got := audittest.Collect(b, log, asked); len(got) != 8 {
				b.Fatal(got)
			}
		}
	})
	b.Run(fmt.Sprintf("verify of %d", count), func(b *testing.B) {
		for b.Loop() {
			if report := verify(b, dir); !report.Sound() || !bytes.Contains([]byte(report.Origin), []byte(origin)) {
				b.Fatal(report)
			}
		}
	})
}
