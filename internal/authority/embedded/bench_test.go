// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
)

// The benchmarks report x-bbolt: the time of a call over that of the same bytes through bbolt alone, on the same disk in
// the same run, so that a number can be compared between machines.

var benchText = string(bytes.Repeat([]byte("x"), 1024))

func rawDatabase(b *testing.B) *bolt.DB {
	b.Helper()
	db, err := bolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, &bolt.Options{PageSize: pageSize, FreelistType: bolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(valuesBucket); return err }); err != nil {
		b.Fatal(err)
	}
	return db
}

func rawPut(b *testing.B, db *bolt.DB, n int) {
	b.Helper()
	key := binary.BigEndian.AppendUint64(nil, uint64(n))
	if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket(valuesBucket).Put(key, []byte(benchText)) }); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	s, db, v := mustOpen(b, initialised(b)), rawDatabase(b), text(b, benchText)
	var ours, raw time.Duration
	for n := range b.N {
		start := time.Now()
		mustWrite(b, s, authority.Path(fmt.Sprintf("path/%d", n)), 0, v)
		middle := time.Now()
		rawPut(b, db, n)
		ours, raw = ours+middle.Sub(start), raw+time.Since(middle)
	}
	report(b, ours, raw)
}

func BenchmarkRead(b *testing.B) {
	s, db, v := mustOpen(b, initialised(b)), rawDatabase(b), text(b, benchText)
	const held = 200
	for n := range held {
		mustWrite(b, s, authority.Path(fmt.Sprintf("path/%d", n)), 0, v)
		rawPut(b, db, n)
	}
	b.ResetTimer()
	var ours, raw time.Duration
	for n := range b.N {
		start := time.Now()
		if _, err := s.Read(b.Context(), authority.Path(fmt.Sprintf("path/%d", n%held))); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		key := binary.BigEndian.AppendUint64(nil, uint64(n%held))
		_ = db.View(func(tx *bolt.Tx) error { _ = bytes.Clone(tx.Bucket(valuesBucket).Get(key)); return nil })
		ours, raw = ours+middle.Sub(start), raw+time.Since(middle)
	}
	report(b, ours, raw)
}

func report(b *testing.B, ours, raw time.Duration) {
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "ours-ns")
	b.ReportMetric(float64(raw.Nanoseconds())/float64(b.N), "raw-ns")
	b.ReportMetric(float64(ours)/float64(raw), "x-bbolt")
}

// BenchmarkOpen is dominated by the check of the whole file: 1,000 values of 1 KiB.
func BenchmarkOpen(b *testing.B) {
	config := initialised(b)
	s, v := mustOpen(b, config), text(b, benchText)
	s.db.NoSync = true
	for n := range 1000 {
		mustWrite(b, s, authority.Path(fmt.Sprintf("path/%d", n)), 0, v)
	}
	mustClose(b, s)
	b.ResetTimer()
	for range b.N {
		mustClose(b, mustOpen(b, config))
	}
}

// BenchmarkDestroy says what destroying a version costs over a write of as much, in a file that has many free pages: those of
// 2,000 destroyed values of 1 KiB.
func BenchmarkDestroy(b *testing.B) {
	s, db, v := mustOpen(b, initialised(b)), rawDatabase(b), text(b, benchText)
	const path = authority.Path("path/many")
	s.db.NoSync = true
	number := authority.Version(0)
	for range 2000 {
		mustWrite(b, s, path, number, v)
		number++
	}
	err := s.update(b.Context(), func(batch *batch) error { // the path's versions go, as nothing of the port lets them
		for gone := range number {
			if _, err := batch.remove(valuesBucket, valueKey(path, gone+1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	s.db.NoSync = false
	number = 0
	b.ResetTimer()
	var ours, raw time.Duration
	for n := range b.N {
		mustWrite(b, s, path, number, v)
		number++
		start := time.Now()
		if err := s.Destroy(b.Context(), path, number); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		rawPut(b, db, n)
		ours, raw = ours+middle.Sub(start), raw+time.Since(middle)
	}
	report(b, ours, raw)
}
