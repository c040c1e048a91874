// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
)

// BenchmarkAppend says what an append costs against the least that anything durable costs: one write and one fsync.
func BenchmarkAppend(b *testing.B) {
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
	least := time.Since(begin) / rounds
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

// large makes a log of n events without syncing each.
func large(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	lines := make([][]byte, 0, n)
	var all []byte
	file := 1
	flush := func() {
		write(b, dir, "0000000"+string(rune('0'+file))+".jsonl", all)
		file++
		all = all[:0]
	}
	for i := range n {
		line, err := audit.Encode(audittest.Event(i))
		if err != nil {
			b.Fatal(err)
		}
		lines = append(lines, line)
		if all = append(append(all, line...), '\n'); len(all) > 60<<20 {
			flush()
		}
	}
	flush()
	write(b, dir, "checkpoint", sign(b, lines))
	return dir
}

func BenchmarkOpenMillion(b *testing.B) {
	dir := large(b, 1_000_000)
	for b.Loop() {
		log, err := audit.Open(config(b, dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := log.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyMillion(b *testing.B) {
	dir := large(b, 1_000_000)
	for b.Loop() {
		if report := verify(b, dir); !report.Sound() || !bytes.Contains([]byte(report.Origin), []byte(origin)) {
			b.Fatal(report)
		}
	}
}
