// SPDX-License-Identifier: Apache-2.0

package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/materialize/materializetest"
)

// BenchmarkDeliver says what a delivery of a new version costs, in a folder of few files and of many, against the least that a file
// replaced durably costs: one write, a sync of the file, a rename and a sync of the folder.
func BenchmarkDeliver(b *testing.B) {
	for _, files := range []int{1, 1000, 10000} {
		b.Run(fmt.Sprintf("of=%d", files), func(b *testing.B) {
			config := Config{
				Name: "app", Folder: b.TempDir(), Path: "app.env", Format: format.Env, Reader: format.Systemd, VersionKey: "APP_VERSION",
				UID: durable.Keep, GID: durable.Keep, Clock: time.Now,
			}
			for i := range files {
				if err := os.WriteFile(filepath.Join(config.Folder, fmt.Sprintf("app-%d.env", i)), []byte("KEY=value\n"), 0o600); err != nil {
					b.Fatal(err)
				}
			}
			least := replacing(b, config.Folder)
			c, err := New(config)
			if err != nil {
				b.Fatal(err)
			}
			number := authority.Version(0)
			for b.Loop() {
				number++
				if err := c.Deliver(b.Context(), materializetest.Version(b, "a", "r", number)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(least), "x-replace")
			b.ReportMetric(float64(least.Microseconds()), "µs/replace")
		})
	}
}

// replacing is what one durable replacement takes.
func replacing(b *testing.B, dir string) time.Duration {
	b.Helper()
	folder, err := durable.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	const rounds = 100
	began := time.Now()
	for range rounds {
		if err := folder.Replace("raw", []byte("KEY=value\n"), durable.Private); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) / rounds
}
